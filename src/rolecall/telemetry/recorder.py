"""Records traces. Rows are queued off the turn's path and written by one thread in batches.

A batch is what came within a fifth of a second: a thread that wrote each row at once would take
the interpreter away from the turn that it describes.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from itertools import groupby
from typing import Any, Protocol

from rolecall.database import DatabaseFile
from rolecall.errors import StateError
from rolecall.sqlite import storable

_MAX_BATCH = 2000
_GATHER_S = 0.2
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)

_Row = tuple[str, dict[str, Any]]


class Recorder(Protocol):
    """Takes telemetry rows; nodes know nothing else of telemetry."""

    def add(self, table: str, row: dict[str, Any]) -> None:
        """Add a row. Returns at once, never raises."""
        ...


class NoRecorder:
    """Keeps nothing."""

    def add(self, table: str, row: dict[str, Any]) -> None:
        """Drop the row."""


class SqliteRecorder:
    """Writes rows into ``telemetry.db``.

    Args:
        file: the database.
        store_texts: whether questions, answers, tool arguments and results are kept.

    A database that cannot be written never fails a turn: the first problem is kept in
    ``problem`` for the command line to show.
    """

    def __init__(self, file: DatabaseFile, *, store_texts: bool = True) -> None:
        self._file = file
        self._store_texts = store_texts
        self._queue: queue.SimpleQueue[_Row | threading.Event | None] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._write, name="rolecall-telemetry", daemon=True)
        self._thread.start()
        self.problem: StateError | None = None

    def add(self, table: str, row: dict[str, Any]) -> None:
        """Queue a row; a second row of a turn with the same trace_id updates the first."""
        self._queue.put((table, row))

    def flush(self) -> None:
        """Wait until what was added so far is written."""
        written = threading.Event()
        self._queue.put(written)
        self._hurry.set()
        written.wait()

    def close(self) -> None:
        """Write what is queued, then close the database."""
        self._queue.put(None)
        self._hurry.set()
        self._thread.join()
        self._file.close()

    def _write(self) -> None:
        ended = False
        while not ended:
            batch = [self._queue.get()]
            self._hurry.wait(_GATHER_S)
            self._hurry.clear()
            while len(batch) < _MAX_BATCH:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            if len(batch) == _MAX_BATCH:
                self._hurry.set()  # there is more
            rows = [item for item in batch if isinstance(item, tuple)]
            if rows:
                self._insert(rows)
            for item in batch:
                if isinstance(item, threading.Event):
                    item.set()
            ended = None in batch

    def _insert(self, rows: list[_Row]) -> None:
        def write(db: Any) -> None:
            for sql, values in self._statements(rows):
                db.conn.executemany(sql, values)

        try:
            self._file.submit_write(write).result()
        except StateError as error:
            self.problem = self.problem or error
        except Exception as error:  # SQLite cannot hold a value: only its own row is lost
            if len(rows) > 1:
                for row in rows:
                    self._insert([row])
            else:
                problem = StateError(f"a telemetry row of {rows[0][0]} was lost: {error}")
                self.problem = self.problem or problem

    def _statements(self, rows: list[_Row]) -> Iterator[tuple[str, list[list[Any]]]]:
        """What writes the rows: in order within a table, one row per turn."""
        tables: dict[str, list[dict[str, Any]]] = {}
        turns: dict[Any, dict[str, Any]] = {}
        for table, row in rows:
            if table == "turns" and (known := turns.get(row["trace_id"])) is not None:
                known.update(row)
                continue
            own = dict(row)
            tables.setdefault(table, []).append(own)
            if table == "turns":
                turns[own["trace_id"]] = own
        for table, found in tables.items():
            for columns, alike in groupby(found, key=tuple):
                yield _sql(table, columns), [list(self._prepared(row).values()) for row in alike]

    def _prepared(self, row: dict[str, Any]) -> dict[str, Any]:
        prepared: dict[str, Any] = {}
        for key, value in row.items():
            if key in _TEXTS and not self._store_texts:
                prepared[key] = None
            else:
                prepared[key] = _storable(value)
        return prepared


def _storable(value: Any) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    if not isinstance(value, str):
        value = _ENCODER.encode(value)
    return storable(value)


_TEXTS = frozenset({"question", "answer", "arguments", "result"})


def _sql(table: str, columns: tuple[str, ...]) -> str:
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    sql = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - our own names
    if table == "turns":
        changes = ", ".join(f"{c} = excluded.{c}" for c in columns if c != "trace_id")
        sql += f" ON CONFLICT (trace_id) DO UPDATE SET {changes}"
    return sql
