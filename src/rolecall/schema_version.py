"""Which program a database file belongs to, and of which version it is.

A file of ours carries an application id and, as ``user_version``, the number of migrations that
made it. A file with migrations this program does not know is a newer program's: it is refused
before anything is written to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rolecall.errors import StateError

if TYPE_CHECKING:
    from rolecall.sqlite import Database, Migrations

APPLICATION_ID = 0x526F6C65
"""``Role`` in ASCII, in the header of each database file."""

_OURS = "rolecall."


class NewerState(StateError):
    """State was saved by a newer Rolecall than this one; nothing was changed."""


def check_version(database: Database, path: Path, migrations: Migrations) -> None:
    """Refuse a file that is another program's or a newer one's. Only reads.

    Raises:
        NewerState: a newer Rolecall made it.
        StateError: it is the database of another program.
    """
    owner = _number(database, "application_id")
    if owner not in {0, APPLICATION_ID}:
        raise StateError(
            f"{path} is the database of another program (application id {owner:#x}). "
            "Move it away, or set ROLECALL_HOME elsewhere"
        )
    known = _known(migrations)
    unknown = [m.name for m in migrations.applied(database) if m.name not in known]
    if unknown or _number(database, "user_version") > len(known):
        what = f"has {', '.join(unknown)}" if unknown else "is of a later version"
        raise newer_state(f"{path} {what}, which this Rolecall does not know")


def stamp_version(database: Database, migrations: Migrations) -> None:
    """Write the application id and the version into the header, where they are not there yet."""
    if not migrations.name.startswith(_OURS):
        return
    for name, value in (
        ("application_id", APPLICATION_ID),
        ("user_version", len(_known(migrations))),
    ):
        if _number(database, name) != value:
            database.execute(f"PRAGMA {name} = {value}")


def newer_state(problem: str) -> NewerState:
    """The error for state of a newer program."""
    return NewerState(
        f"{problem}: a newer one made it. Nothing was changed. Update Rolecall "  # noqa: S608
        "(pip install --upgrade rolecall), or set ROLECALL_HOME elsewhere"
    )


def _known(migrations: Migrations) -> list[str]:
    from rolecall.sqlite import Database

    return [migration.name for migration in migrations.pending(Database(memory=True))]


def _number(database: Database, pragma: str) -> int:
    return int(database.execute(f"PRAGMA {pragma}").fetchone()[0])
