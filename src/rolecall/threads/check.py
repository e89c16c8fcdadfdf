"""Verifies the databases of a home, and mends what can be mended."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rolecall.database import DatabaseFile
from rolecall.database_errors import state_error
from rolecall.errors import StateError
from rolecall.schema_version import NewerState, check_version
from rolecall.threads.backup import back_up, claim, integrity, set_aside
from rolecall.threads.salvage import salvage

if TYPE_CHECKING:
    from rolecall.sqlite import Migrations

Verdict = Literal["ok", "weak", "unfit"]
_ORDER: list[Verdict] = ["ok", "weak", "unfit"]
_NO_TEXT = "Could not decode"
_LONGEST_PROBLEM = 200


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        check: what was checked.
        verdict: ``weak``: usable; ``unfit``: something cannot be read.
        problem: what is wrong.
        thread: the thread that it is about.
        mendable: ``--repair`` mends it.
        remedy: what else helps.
    """

    check: str
    verdict: Verdict
    problem: str
    thread: str | None = None
    mendable: bool = False
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        """The object that ``threads check --json`` lists."""
        return dict(vars(self))


@dataclass
class Report:
    """What a check found, and what was done about it.

    Attributes:
        findings: what is wrong (after a repair: still).
        repaired: what was mended.
        kept: where the state before a repair was put.
    """

    findings: list[Finding] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """The worst of the findings."""
        return max((f.verdict for f in self.findings), key=_ORDER.index, default="ok")


def check_file(path: Path, migrations: Migrations) -> list[Finding]:
    """Whether a database is sound as a file; one that does not exist is."""
    from rolecall.sqlite import Database

    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(path, timeout=30.0)) as connection:
            check_version(Database(connection), path, migrations)
            problems = integrity(connection) or _texts_not_utf8(connection)
    except NewerState as error:
        return [Finding("version", "unfit", str(error))]
    except UnicodeDecodeError as error:
        problems = [f"a definition is not UTF-8 ({error})"]
    except sqlite3.DatabaseError as error:
        if not any(word in str(error) for word in ("malformed", "not a database", _NO_TEXT)):
            raise state_error(path, error) from error
        problems = [str(error)[:_LONGEST_PROBLEM]]
    shown = "; ".join(problems[:3]) + (" …" if len(problems) > 3 else "")
    remedy = f"rolecall threads restore FILE, or move {path.name} away to start afresh"
    damaged = Finding("integrity", "unfit", f"{path}: {shown}", mendable=True, remedy=remedy)
    return [damaged] if problems else []


def _texts_not_utf8(connection: sqlite3.Connection) -> list[str]:
    """Tables with text that cannot be read: SQLite itself does not look into texts."""
    found = []
    for name, sql in connection.execute("SELECT name, sql FROM sqlite_master").fetchall():
        if not str(sql).startswith("CREATE TABLE"):
            continue
        try:
            for _ in connection.execute(f'SELECT * FROM "{name}"'):  # noqa: S608 - its own names
                pass
        except sqlite3.OperationalError as error:
            if _NO_TEXT not in str(error):
                raise
            found.append(f"{name} holds text that is not UTF-8")
    return found


def mend_file(path: Path, migrations: Migrations, report: Report) -> None:
    """Save what can be read of a damaged database into a new one; the old one is moved aside.

    Raises:
        StateError: nothing can be read, or another process uses it; nothing was changed.
    """
    claim(path)
    new = path.with_name(f".{path.name}.salvaged")
    new.unlink(missing_ok=True)
    try:
        tables = salvage(path, new, migrations)
        with closing(sqlite3.connect(new)) as connection:
            if problems := integrity(connection):
                raise StateError(f"{path} cannot be mended: {problems[0]}")
        report.kept.append(str(set_aside(path, "damaged")))
        new.rename(path)
    finally:
        new.unlink(missing_ok=True)
    read = ", ".join(f"{t.rows} of {t.table}" for t in tables if t.rows)
    report.repaired.append(f"{path.name}: rows saved: {read or 'none'}")
    for table in tables:
        if table.gaps:
            report.repaired.append(f"{path.name}: part of {table.table} could not be read: lost")


async def check_home(
    home: Path, files: Mapping[str, Migrations], thread: str | None = None, *, repair: bool = False
) -> Report:
    """Check a home's databases, or one thread.

    Args:
        home: the folder.
        files: names of databases and their migrations, ``threads.db`` first.
        thread: only this thread.
        repair: mend what can be; a copy of the state before it is kept.

    Raises:
        UnknownThread: there is no such thread.
        StateError: a database is in use or cannot be written.
    """
    from rolecall.threads.check_threads import ThreadCheck

    report = Report()
    for name, migrations in files.items():
        path = home / name
        found = await asyncio.to_thread(check_file, path, migrations)
        if repair and any(f.mendable for f in found):
            await asyncio.to_thread(mend_file, path, migrations, report)
            found = await asyncio.to_thread(check_file, path, migrations)
        report.findings += found
    path = home / next(iter(files))
    if not path.exists() or any(str(path) in finding.problem for finding in report.findings):
        return report
    database = DatabaseFile(path, next(iter(files.values())))
    try:
        checks = ThreadCheck(database, home / "locks")
        found = await checks.find(thread)
        if repair and any(f.mendable for f in found):
            kept = path.with_name(f"{path.name}.before-repair")
            await asyncio.to_thread(back_up, path, kept, replace=True)
            report.kept.append(str(kept))
            report.repaired += await checks.mend(thread)
            found = await checks.find(thread)
        report.findings += found
    finally:
        await asyncio.to_thread(database.close)
    return report
