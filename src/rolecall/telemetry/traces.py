"""Reads traces back: a list of turns, and all that happened in one."""

from __future__ import annotations

import json
from typing import Any

from rolecall.database import DatabaseFile
from rolecall.errors import UsageError
from rolecall.sqlite import Database
from rolecall.telemetry.stats import By, first_day, stats


class Traces:
    """Queries over ``telemetry.db``."""

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file

    def latest(
        self, limit: int = 20, thread_id: str | None = None, before: str | None = None
    ) -> list[dict[str, Any]]:
        """The turns recorded last, newest first, at most ``limit``.

        Args:
            limit: how many at most.
            thread_id: only those of this thread.
            before: a trace id, or a unique beginning of one: only those recorded before it.

        Raises:
            UsageError: no trace, or several, begin as ``before``.
        """
        sql = (
            "SELECT * FROM turns WHERE (?1 IS NULL OR thread_id = ?1) AND rowid < ?2 "
            "ORDER BY rowid DESC LIMIT ?3"
        )
        if thread_id is not None:  # lets the index on threads be used
            sql = sql.replace("(?1 IS NULL OR thread_id = ?1)", "thread_id = ?1")

        def read(db: Database) -> list[dict[str, Any]]:
            end = 2**62
            if before is not None:
                own = _show(db, before)["turn"]["trace_id"]
                row = db.execute("SELECT rowid FROM turns WHERE trace_id = ?", [own]).fetchone()
                end = row[0]
            return list(db.query(sql, [thread_id, end, limit]))

        return self._file.submit(read).result()

    def show(self, trace_id: str) -> dict[str, Any]:
        """One trace; a unique beginning of its id is enough, or a thread's id: its last turn.

        Raises:
            UsageError: no trace, or several, begin so.
        """
        return self._file.submit(lambda db: _show(db, trace_id)).result()

    def stats(
        self, since: str | None = None, by: By | None = None, largest: str | None = None
    ) -> dict[str, Any]:
        """What the calls add up to; see :func:`rolecall.telemetry.stats.stats`.

        Raises:
            UsageError: ``since`` is neither like ``7d`` nor a date.
        """
        day = first_day(since)
        return self._file.submit(lambda db: stats(db, day, by, largest)).result()

    def questions_before(self, trace_id: str, limit: int) -> list[str]:
        """The user's earlier messages on a trace's thread, oldest first, at most ``limit``."""
        sql = (
            "SELECT earlier.question FROM turns AS earlier JOIN turns AS own "
            "ON own.trace_id = ? AND earlier.thread_id = own.thread_id "
            "AND earlier.rowid < own.rowid "
            "WHERE earlier.question IS NOT NULL ORDER BY earlier.rowid DESC LIMIT ?"
        )
        values = [trace_id, limit]
        rows = self._file.submit(lambda db: list(db.query(sql, values))).result()
        return [row["question"] for row in reversed(rows)]

    def encoder_confidences(self, limit: int) -> list[float]:
        """How sure the encoder was in its latest decisions, newest first."""
        sql = (
            "SELECT encoder_confidence AS value FROM decisions "
            "WHERE encoder_confidence IS NOT NULL ORDER BY id DESC LIMIT ?"
        )
        rows = self._file.submit(lambda db: list(db.query(sql, [limit]))).result()
        return [row["value"] for row in rows]


def _show(db: Database, trace_id: str) -> dict[str, Any]:
    found = list(
        db.query(
            "SELECT * FROM turns WHERE trace_id >= ? AND trace_id < ? LIMIT 2",
            [trace_id, trace_id + "\uffff"],
        )
    )
    if not found:
        found = list(
            db.query(
                "SELECT * FROM turns WHERE thread_id = ? ORDER BY rowid DESC LIMIT 1",
                [trace_id],
            )
        )
    exact = [turn for turn in found if turn["trace_id"] == trace_id] or found
    if len(exact) != 1:
        problem = "several traces begin with" if exact else "there is no trace"
        raise UsageError(f"{problem} {trace_id!r}; rolecall trace list shows the latest")
    turn = exact[0]
    trace: dict[str, Any] = {"turn": turn}
    for table, order in _PARTS.items():
        sql = f"SELECT * FROM {table} WHERE trace_id = ? ORDER BY {order}, id"  # noqa: S608
        trace[table] = list(db.query(sql, [turn["trace_id"]]))
    for decision in trace["decisions"]:
        decision["probabilities"] = json.loads(decision["probabilities"] or "{}")
    for call in trace["tool_calls"]:
        call["arguments"] = json.loads(call["arguments"] or "null")
    return trace


_PARTS = {
    "decisions": "at",
    "model_calls": "started_at",
    "tool_calls": "started_at",
    "errors": "at",
}
