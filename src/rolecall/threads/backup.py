"""Copies of a database: made while it is in use, put back while nobody uses it.

Method: SQLite's online backup API. A copy is one file, complete and checked before it gets its
name.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rolecall.database_errors import file_error, state_error
from rolecall.errors import StateError, UsageError
from rolecall.schema_version import check_version

if TYPE_CHECKING:
    from rolecall.sqlite import Migrations

_WAIT_S = 30.0
_CLAIM_S = 1.0
_BESIDE = ("-wal", "-shm", "-journal")


def back_up(source: Path, target: Path, *, replace: bool = False) -> int:
    """Copy a database to a file, as it is at one moment. Others may read and write meanwhile.

    Returns:
        The copy's size in bytes.

    Raises:
        UsageError: there is no database, or ``target`` exists and is not to be replaced.
        StateError: the database cannot be read, or the copy not be written.
    """
    if not source.exists():
        raise UsageError(f"there is nothing to back up: {source} does not exist")
    if target.exists() and (not replace or target.samefile(source)):
        raise UsageError(f"{target} exists already; choose another name, or add --force")
    part = _copied(source, target)
    try:
        os.replace(part, target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise file_error("write", target, error) from error
    return target.stat().st_size


def restore(source: Path, target: Path, migrations: Migrations, table: str) -> Path | None:
    """Put a copy in the place of a database, after it was checked. The present one is kept.

    Args:
        source: the copy.
        target: the database.
        migrations: what this program knows of such a database.
        table: a table that such a database has.

    Returns:
        Where the present database was moved; ``None`` if there was none.

    Raises:
        UsageError: there is no such copy.
        NewerState, StateError: it is damaged, of another kind or newer, or the present database
            is in use; nothing was changed.
    """
    if not source.is_file():
        raise UsageError(f"there is no file {source}")
    _check_copy(source, migrations, table)
    part = _copied(source, target)
    try:
        moved = set_aside(target, "before-restore")
        os.replace(part, target)
    except OSError as error:
        raise file_error("write", target, error) from error
    finally:
        part.unlink(missing_ok=True)
    return moved


def set_aside(path: Path, why: str) -> Path | None:
    """Move a database that nobody uses to ``NAME.WHY-TIME``, with the files that belong to it.

    Raises:
        StateError: another process uses it.
    """
    if not path.exists():
        return None
    claim(path)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    moved, number = path.with_name(f"{path.name}.{why}-{stamp}"), 1
    while moved.exists():
        number += 1
        moved = path.with_name(f"{path.name}.{why}-{stamp}-{number}")
    try:
        for suffix in _BESIDE:
            with suppress(FileNotFoundError):
                os.rename(f"{path}{suffix}", f"{moved}{suffix}")
        os.rename(path, moved)
    except OSError as error:
        raise file_error("move", path, error) from error
    return moved


def claim(path: Path) -> None:
    """Make sure that nobody else has a database open, and bring it into one file.

    Raises:
        StateError: another process has it open.
    """
    try:
        with closing(sqlite3.connect(path, timeout=_CLAIM_S)) as connection:
            # leaving write-ahead logging needs the file for oneself alone
            connection.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise StateError(
                f"{path} is in use by another process. Stop it (rolecall chat, a server, a "
                "notebook), then try again. Nothing was changed."
            ) from error
    except sqlite3.DatabaseError:
        pass  # damaged: it is moved as it is


def _copied(source: Path, target: Path) -> Path:
    """A complete and sound copy beside ``target``, under a name of its own."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        with (
            closing(sqlite3.connect(source, timeout=_WAIT_S)) as reading,
            closing(sqlite3.connect(part)) as writing,
        ):
            reading.backup(writing)
            writing.execute("PRAGMA journal_mode=DELETE")
            problems = integrity(writing)
            if problems:
                raise StateError(
                    f"{source} is damaged: {problems[0]}. rolecall threads check --repair saves "
                    "what can be read"
                )
        with part.open("rb") as written:
            os.fsync(written.fileno())
    except sqlite3.Error as error:
        part.unlink(missing_ok=True)
        raise state_error(source, error) from error
    except OSError as error:
        part.unlink(missing_ok=True)
        raise file_error("write", target, error) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part


def _check_copy(source: Path, migrations: Migrations, table: str) -> None:
    from rolecall.sqlite import Database

    try:
        with closing(sqlite3.connect(source, timeout=_WAIT_S)) as connection:
            database = Database(connection)
            check_version(database, source, migrations)
            if not database.table(table).exists():
                raise StateError(f"{source} is no copy of such a database: it has no {table}")
    except sqlite3.Error as error:
        raise state_error(source, error) from error


def integrity(connection: sqlite3.Connection, limit: int = 20) -> list[str]:
    """What SQLite finds wrong in a whole database; empty when it is sound."""
    rows = connection.execute(f"PRAGMA integrity_check({limit})").fetchall()
    return [str(text) for (text,) in rows if text != "ok"]
