"""Saves what can be read of a damaged database into a new one, row by row."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rolecall.errors import StateError

if TYPE_CHECKING:
    from rolecall.sqlite import Migrations

_LAST_ROWID = 2**62
_WITHOUT_ROWID = re.compile(r"WITHOUT\s+ROWID\s*;?\s*$", re.IGNORECASE)
_VIRTUAL = re.compile(r"\s*CREATE\s+VIRTUAL\s+TABLE", re.IGNORECASE)


@dataclass(frozen=True)
class Salvaged:
    """What was saved of one table.

    Attributes:
        gaps: stretches of rows that could not be read; how many rows lay in them is unknown.
    """

    table: str
    rows: int
    gaps: int


def salvage(damaged: Path, target: Path, migrations: Migrations) -> list[Salvaged]:
    """Copy tables, rows, indexes and triggers that can be read into a new file.

    Only ``target`` is written. Full-text indexes are built anew. Tables whose very definition
    is lost are made empty, as ``migrations`` make them.

    Raises:
        StateError: not even the list of tables can be read.
    """
    with closing(sqlite3.connect(damaged)) as old, closing(sqlite3.connect(target)) as new:
        old.text_factory = lambda raw: raw.decode(errors="replace")
        schema = _schema(damaged, old)
        names = {name for _, name, _ in schema}
        ours = {name: (kind, name, sql) for kind, name, sql in _made_by(migrations)}
        schema = [ours.get(i[1], i) if not _can_be_read(i[2]) else i for i in schema]
        schema += [item for name, item in ours.items() if name not in names]
        virtual = [name for kind, name, sql in schema if kind == "table" and _VIRTUAL.match(sql)]
        plain = [
            (name, sql)
            for kind, name, sql in schema
            if kind == "table"
            and name not in virtual
            and not name.startswith(("sqlite_", *(f"{v}_" for v in virtual)))
        ]
        done = []
        for name, sql in plain:
            new.execute(sql)
            found = name in names
            keyed = bool(_WITHOUT_ROWID.search(sql))
            done.append(_copy(old, new, name, keyed) if found else Salvaged(name, 0, 1))
        for kind, name, sql in schema:
            if name in virtual:
                new.execute(sql)
                new.execute(f'INSERT INTO "{name}" ("{name}") VALUES (\'rebuild\')')  # noqa: S608
            elif kind == "index":
                _index(new, sql)
        for kind, _, sql in schema:
            if kind in {"trigger", "view"}:
                new.execute(sql)
        for pragma in ("application_id", "user_version"):
            (value,) = old.execute(f"PRAGMA {pragma}").fetchone()
            new.execute(f"PRAGMA {pragma} = {value}")
        new.commit()
    return done


def _can_be_read(sql: str) -> bool:
    """Whether a definition is SQL, whatever it refers to."""
    with closing(sqlite3.connect(":memory:")) as nowhere:
        try:
            nowhere.execute(sql)
        except sqlite3.OperationalError as error:
            return "no such table" in str(error)
    return True


def _schema(damaged: Path, old: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """What can be read of the definitions: kind, name, SQL."""
    old.execute("PRAGMA writable_schema=ON")  # also opens a file that was cut off
    for _ in range(2):  # the first statement fails at what is lost; the next takes the rest
        try:
            old.execute("SELECT count(*) FROM sqlite_master")
            break
        except sqlite3.DatabaseError:
            continue
    rows = [row for row in _numbered(old, "sqlite_master", "type, name, sql") if row]
    if not rows:
        raise StateError(
            f"nothing can be read of {damaged}. Put a copy back with: rolecall threads restore FILE"
        )
    return [(kind, name, sql) for kind, name, sql in rows if sql]


def _made_by(migrations: Migrations) -> list[tuple[str, str, str]]:
    from rolecall.sqlite import Database

    fresh = Database(memory=True)
    migrations.apply(fresh)
    return fresh.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
    ).fetchall()


def _copy(
    old: sqlite3.Connection, new: sqlite3.Connection, table: str, without_rowid: bool
) -> Salvaged:
    rows = gaps = 0
    source = _keyed(old, table) if without_rowid else _numbered(old, table)
    for row in source:
        if row is None:
            gaps += 1
            continue
        marks = ", ".join("?" * len(row))
        done = new.execute(f'INSERT OR IGNORE INTO "{table}" VALUES ({marks})', row)  # noqa: S608
        rows += done.rowcount
    return Salvaged(table, rows, gaps)


def _numbered(
    old: sqlite3.Connection, table: str, columns: str = "*"
) -> Iterator[tuple[Any, ...] | None]:
    """Rows by rowid; ``None`` for each stretch that cannot be read."""
    after = -_LAST_ROWID
    sql = f'SELECT rowid, {columns} FROM "{table}" WHERE rowid'  # noqa: S608 - from its own schema
    while True:
        try:
            for rowid, *row in old.execute(f"{sql} >= ? ORDER BY rowid", [after + 1]):
                if rowid <= after:
                    raise sqlite3.DatabaseError("rows are not in order")
                after = rowid
                yield tuple(row)
            return
        except sqlite3.DatabaseError:
            with suppress(sqlite3.DatabaseError):  # Python reads ahead: the last row is not lost
                last = old.execute(f"{sql} >= ? ORDER BY rowid LIMIT 1", [after + 1]).fetchone()
                if last is not None and last[0] > after:
                    after = last[0]
                    yield tuple(last[1:])
            yield None
        found = _next_readable(old, table, after)
        if found is None:
            return
        after = found - 1


def _next_readable(old: sqlite3.Connection, table: str, after: int) -> int | None:
    """The first row beyond a stretch that cannot be read: galloping, then halving."""

    def whole(start: int) -> int | None:
        """The row at or after a rowid, if it can be read; -1 if none follows."""
        sql = f'SELECT rowid, * FROM "{table}" WHERE rowid >= ? ORDER BY rowid LIMIT 1'  # noqa: S608
        try:
            row = old.execute(sql, [start]).fetchone()
        except sqlite3.DatabaseError:
            return None
        if row is None:
            return -1
        return int(row[0]) if row[0] >= start else None  # a damaged page leads anywhere

    after = max(after, 0)
    low, high = after + 1, after + 2
    while (found := whole(high)) is None:
        low, high = high, after + 2 * (high - after)
        if high > _LAST_ROWID:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        nearer = whole(middle)
        if nearer is None or nearer == -1:
            low = middle
        else:
            high, found = middle, nearer
    return None if found == -1 else found


def _keyed(old: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...] | None]:
    """Rows of a table without rowids: from both ends up to what cannot be read."""
    key = [
        row[1]
        for row in sorted(old.execute(f'PRAGMA table_info("{table}")'), key=lambda row: row[5])
        if row[5]
    ]
    for direction in ("ASC", "DESC"):
        order = ", ".join(f'"{column}" {direction}' for column in key)
        try:
            yield from old.execute(f'SELECT * FROM "{table}" ORDER BY {order}')  # noqa: S608
            return
        except sqlite3.DatabaseError:
            if direction == "ASC":
                yield None


def _index(new: sqlite3.Connection, sql: str) -> None:
    try:
        new.execute(sql)
    except sqlite3.IntegrityError:  # rows that contradict each other: found again by the check
        new.execute(re.sub(r"\bUNIQUE\s+", "", sql, count=1, flags=re.IGNORECASE))
