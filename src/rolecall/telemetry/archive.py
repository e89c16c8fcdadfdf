"""Traces as JSON lines: a first line that says what the file is, then one trace per line.

A trace's line holds its ``turn`` and the rows of ``decisions``, ``model_calls``, ``tool_calls``
and ``errors``, as the columns of ``telemetry.db`` name them, times in milliseconds, ``…_at`` in
Unix seconds.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rolecall.database import DatabaseFile
from rolecall.errors import StateError, UsageError

if TYPE_CHECKING:
    from rolecall.sqlite import Database

FORMAT, VERSION = "rolecall.traces", 1
_PARTS = ("decisions", "model_calls", "tool_calls", "errors")
_TEXTS = ("question", "answer", "arguments", "result")
_PAGE = 200
# what some readers of lines take for the end of one
_BREAKS = {ord(sign): f"\\u{ord(sign):04x}" for sign in "\x85\u2028\u2029"}
_MAX_LINE = 64 * 1024 * 1024
_NUMBERS = {"INTEGER": int, "FLOAT": float, "REAL": float}


@dataclass(frozen=True)
class Imported:
    """How many traces were added or completed, and how many skipped: their ids were in use."""

    added: int
    skipped: int


def write_traces(
    file: DatabaseFile, out: IO[str], *, since: str | None = None, texts: bool = True
) -> int:
    """Write the traces in the order in which they were recorded, and return how many.

    Args:
        file: ``telemetry.db``.
        out: takes the lines.
        since: the first day, ``YYYY-MM-DD`` (UTC).
        texts: also questions, answers, tool arguments and results, where they were kept.
    """
    out.write(_line({"format": FORMAT, "version": VERSION}))
    start = None if since is None else datetime.fromisoformat(since).replace(tzinfo=UTC).timestamp()
    after, written = 0, 0
    while True:
        last, page = file.submit(partial(_page, after=after, start=start)).result()
        for trace in page:
            if not texts:
                _drop_texts(trace)
            out.write(_line(trace))
        written += len(page)
        if last == after:
            return written
        after = last


def read_traces(file: DatabaseFile, path: Path) -> Imported:
    """Add a file's traces: all whose ids are free, or none when any line is wrong.

    A trace that was exported before its turn was done is completed by one exported after that.

    Raises:
        UsageError: the file is not one of traces, is a newer version's, or a line is wrong.
        StateError: ``telemetry.db`` cannot be written.
    """
    columns = file.submit(_columns).result()
    with tempfile.TemporaryFile() as checked:  # others write while the file is read
        for number, trace in _lines(path):
            rows = _rows(trace, columns, f"{path}: line {number}")
            try:
                checked.write(json.dumps(rows).encode() + b"\n")
            except OSError as error:
                raise StateError(f"no room to import {path}: {error.strerror or error}") from error
        return file.submit_write(lambda db: _add(db, checked)).result()


def _page(db: Database, *, after: int, start: float | None) -> tuple[int, list[dict[str, Any]]]:
    """The traces of the turns behind a row, and the last row that was looked at."""
    turns = list(
        db.query(
            "SELECT rowid AS place, * FROM turns WHERE rowid > ? ORDER BY rowid LIMIT ?",
            [after, _PAGE],
        )
    )
    last = turns[-1]["place"] if turns else after
    for turn in turns:
        del turn["place"]
    if start is not None:
        turns = [turn for turn in turns if (turn["started_at"] or 0.0) >= start]
    traces: dict[str, dict[str, Any]] = {turn["trace_id"]: {"turn": turn} for turn in turns}
    marks = ", ".join("?" * len(traces))
    for table in _PARTS:
        for trace in traces.values():
            trace[table] = []
        sql = f"SELECT * FROM {table} WHERE trace_id IN ({marks}) ORDER BY id"  # noqa: S608
        for row in db.query(sql, list(traces)):
            traces[row.pop("trace_id")][table].append(row)
            del row["id"]
    return last, list(traces.values())


def _drop_texts(trace: dict[str, Any]) -> None:
    for row in (trace["turn"], *trace["tool_calls"]):
        row.update({name: None for name in _TEXTS if name in row})


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False).translate(_BREAKS) + "\n"


def _columns(db: Database) -> dict[str, dict[str, str]]:
    return {
        table: {column.name: column.type for column in db.table(table).columns}
        for table in ("turns", *_PARTS)
    }


def _add(db: Database, checked: IO[bytes]) -> Imported:
    added = skipped = 0
    checked.seek(0)
    for line in checked:
        (_, turn), *parts = json.loads(line)
        trace_id = turn["trace_id"]
        sql = "SELECT status FROM turns WHERE trace_id = ?"
        stored = db.execute(sql, [trace_id]).fetchone()
        if stored is None:
            _insert(db, "turns", turn)
        elif turn.get("status") == "done" != stored[0]:
            changes = {name: value for name, value in turn.items() if value is not None}
            sets = ", ".join(f"{name} = ?" for name in changes)
            sql = f"UPDATE turns SET {sets} WHERE trace_id = ?"  # noqa: S608 - known columns
            db.execute(sql, [*changes.values(), trace_id])
            parts = _new(db, trace_id, parts)
        else:
            skipped += 1
            continue
        for table, row in parts:
            _insert(db, table, row)
        added += 1
    return Imported(added, skipped)


def _insert(db: Database, table: str, row: dict[str, Any]) -> None:
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - known columns
    db.execute(sql, list(row.values()))


def _new(
    db: Database, trace_id: str, parts: list[tuple[str, dict[str, Any]]]
) -> list[tuple[str, dict[str, Any]]]:
    """The rows that are not there yet: a row that is there is counted in the sums already."""
    there: dict[str, list[dict[str, Any]]] = {}
    for table in _PARTS:
        sql = f"SELECT * FROM {table} WHERE trace_id = ?"  # noqa: S608 - our own names
        there[table] = [_told(row) for row in db.query(sql, [trace_id])]
    found = []
    for table, row in parts:
        if _told(row) in there[table]:
            there[table].remove(_told(row))
        else:
            found.append((table, row))
    return found


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """What tells rows apart, whether or not texts went along."""
    left = {"id", *_TEXTS}
    return {name: value for name, value in row.items() if name not in left and value is not None}


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open("rb") as source:
            _check_first(path, source.readline(_MAX_LINE))
            number = 1
            while line := source.readline(_MAX_LINE):
                number += 1
                if line.strip():
                    yield number, _parsed(line, f"{path}: line {number}")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error


def _check_first(path: Path, line: bytes) -> None:
    try:
        first = json.loads(line)
    except (ValueError, RecursionError):
        first = None
    if not isinstance(first, dict) or first.get("format") != FORMAT:
        raise UsageError(
            f"{path} is no file of traces: its first line is not that of rolecall trace export"
        )
    version = first.get("version")
    if version != VERSION or isinstance(version, bool):
        raise UsageError(
            f"{path} is of version {version!r}; this Rolecall reads version {VERSION}. "
            "Nothing was imported. A newer one may read it: pip install --upgrade rolecall"
        )


def _parsed(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise _wrong(where, f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise _wrong(where, "expected an object")
    return value


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _rows(
    trace: dict[str, Any], columns: dict[str, dict[str, str]], where: str
) -> list[tuple[str, dict[str, Any]]]:
    """A line's rows by table, the turn's first, each value of its column's type."""
    unknown = set(trace) - {"turn", *_PARTS}
    if unknown:
        raise _wrong(where, f"unknown key {sorted(unknown)[0]!r}")
    turn = _row(trace.get("turn"), columns["turns"], f"{where}: turn")
    trace_id = turn.get("trace_id")
    if not trace_id:
        raise _wrong(where, "turn has no trace_id")
    rows = [("turns", turn)]
    for table in _PARTS:
        parts = trace.get(table, [])
        if not isinstance(parts, list):
            raise _wrong(where, f"{table}: expected a list")
        known = {name: kind for name, kind in columns[table].items() if name not in _OWN}
        rows += [
            (table, {"trace_id": trace_id, **_row(part, known, f"{where}: {table}")})
            for part in parts
        ]
    return rows


_OWN = frozenset({"id", "trace_id"})


def _row(value: Any, columns: dict[str, str], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(where, "expected an object")
    for name, item in value.items():
        kind = columns.get(name)
        if kind is None:
            raise _wrong(where, f"unknown key {name!r}")
        wanted = (int, float) if kind in _NUMBERS else (str,)
        if item is not None and (isinstance(item, bool) or not isinstance(item, wanted)):
            expected = "a number" if kind in _NUMBERS else "a text"
            raise _wrong(where, f"{name}: expected {expected}, got {type(item).__name__}")
        if isinstance(item, int) and abs(item) >= 2**63:
            raise _wrong(where, f"{name}: the number is too large")
        if isinstance(item, str):
            _check_text(item, name, where)
    return value


def _check_text(text: str, name: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _wrong(where, f"{name}: not valid UTF-8 text") from error


def _wrong(where: str, problem: str) -> UsageError:
    return UsageError(f"{where}: {problem}. Nothing was imported.")
