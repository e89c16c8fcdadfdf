"""Versions of the router below ``ROLECALL_HOME/router``: kept, chosen, rolled back.

router/current               the name of the version in use; without it the shipped one is
router/versions/NAME/        router.json, examples.npz, CARD.md of a version trained here
router/corrections.jsonl     decisions that the user corrected
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from rolecall.errors import ArtefactDamaged, StateError, UsageError
from rolecall.home import folder, home
from rolecall.routing.encoder.artefact import ROUTER, SHIPPED, Artefact, load_artefact, sha256

SHIPPED_NAME = "shipped"


@dataclass(frozen=True)
class Version:
    """One version: its name, its folder, and whether it is the one in use."""

    name: str
    folder: Path
    current: bool


def versions() -> list[Version]:
    """All versions, the shipped one first, then those trained here, oldest first."""
    using = current_name()
    own = sorted(
        path for path in (home() / "router" / "versions").glob("*") if (path / ROUTER).is_file()
    )
    found = [(SHIPPED_NAME, SHIPPED), *((path.name, path) for path in own)]
    return [Version(name, path, name == using) for name, path in found]


def current_name() -> str:
    """The name of the version in use."""
    try:
        return (home() / "router" / "current").read_text(encoding="utf-8").strip() or SHIPPED_NAME
    except (OSError, UnicodeDecodeError):
        return SHIPPED_NAME


def current_mark() -> str:
    """Tells versions apart by content: the checksum of the one in use; empty if it is damaged."""
    try:
        return sha256(_folder_of(current_name()) / ROUTER)
    except (ArtefactDamaged, ValueError):  # what stands in "current" may be no name at all
        return ""


def use(name: str) -> Version:
    """Put a version in use.

    Raises:
        UsageError: there is no such version.
        ArtefactDamaged: it cannot be loaded; the one in use stays.
        StateError: the choice cannot be saved.
    """
    found = next((version for version in versions() if version.name == name), None)
    if found is None:
        known = ", ".join(version.name for version in versions())
        raise UsageError(f"there is no router version {name!r}; there are: {known}")
    load_artefact(found.folder)
    target = folder("router") / "current"
    fresh = target.with_suffix(f".{os.getpid()}.tmp")
    try:
        fresh.write_text(name + "\n", encoding="utf-8")
        fresh.replace(target)
    except OSError as error:
        raise StateError(f"cannot write {target}: {error.strerror or error}") from error
    return Version(found.name, found.folder, current=True)


def previous() -> str:
    """The version before the one in use.

    Raises:
        UsageError: there is none.
    """
    names = [version.name for version in versions()]
    using = current_name()
    position = names.index(using) if using in names else len(names)
    if position == 0:
        raise UsageError("the shipped router is in use; there is no version before it")
    return names[position - 1]


def new_folder() -> Path:
    """A folder for the next version: ``0001``, ``0002``, … Not created here."""
    numbers = [int(version.name) for version in versions() if version.name.isdecimal()]
    return folder("router", "versions") / f"{max(numbers, default=0) + 1:04}"


def current_artefact() -> Artefact:
    """The version in use, loaded once for each state of its files.

    Raises:
        ArtefactDamaged: it cannot be used.
    """
    where = _folder_of(current_name())
    try:
        stamp = (where / ROUTER).stat().st_mtime_ns
    except (OSError, ValueError):  # what stands in "current" may be no name at all
        stamp = 0
    return _loaded(where, stamp)


def _folder_of(name: str) -> Path:
    return SHIPPED if name == SHIPPED_NAME else home() / "router" / "versions" / name


@lru_cache(maxsize=2)
def _loaded(where: Path, stamp: int) -> Artefact:
    return load_artefact(where)
