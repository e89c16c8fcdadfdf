"""A question accepted, a turn ended: statements for the caller's transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from rolecall.sqlite import Database
from rolecall.threads.copies import title_of
from rolecall.threads.journal import forget_answers

TurnStatus = Literal["running", "done", "failed", "interrupted"]

_USED = (
    "INSERT INTO threads (thread_id, title, created_at, updated_at, last_used) "
    "VALUES (?, ?, ?, ?, 1 + (SELECT coalesce(max(last_used), 0) FROM threads)) "
    "ON CONFLICT (thread_id) DO UPDATE SET "
    "updated_at = excluded.updated_at, last_used = excluded.last_used"
)
_LAST = "SELECT number, status FROM turns WHERE thread_id = ? ORDER BY number DESC LIMIT 1"
_LEFT = (
    "UPDATE turns SET status = 'interrupted', finished_at = ?, "
    "error = 'the process that answered it has ended' WHERE thread_id = ? AND number = ?"
)
_ACCEPTED = (
    "INSERT INTO turns (turn_id, thread_id, number, trace_id, question, requested_role, status, "
    "created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True)
class Accepted:
    """A turn that was accepted: it will be answered, or can be resumed.

    Attributes:
        leaves: the number of the turn before, when that has no answer: it cannot be resumed now.
    """

    turn_id: str
    thread_id: str
    trace_id: str
    number: int
    question: str
    requested_role: str | None = None
    leaves: int | None = None


def accept(
    db: Database,
    thread_id: str,
    turn_id: str,
    trace_id: str,
    question: str,
    requested_role: str | None,
) -> Accepted:
    """Write a question down as the next turn of a thread, which is made if it is new.

    The caller holds the thread: a turn that is still marked as running has died.
    """
    now = time.time()
    db.execute(_USED, [thread_id, title_of(question), now, now])
    last, status = db.execute(_LAST, [thread_id]).fetchone() or (0, "done")
    if status == "running":
        db.execute(_LEFT, [now, thread_id, last])
    number = last + 1
    turn = [turn_id, thread_id, number, trace_id, question, requested_role, "running", now]
    db.execute(_ACCEPTED, turn)
    leaves = None if status == "done" else last
    return Accepted(turn_id, thread_id, trace_id, number, question, requested_role, leaves)


def finish(db: Database, turn_id: str, status: TurnStatus, changes: Mapping[str, Any]) -> None:
    """Record how a turn ended; one that is done stays so."""
    row = {"error": None, **changes}
    if isinstance(row.get("decision"), dict):
        row["decision"] = json.dumps(row["decision"], ensure_ascii=False)
    row |= {"status": status, "finished_at": time.time()}
    sets = ", ".join(f"{column} = ?" for column in row)
    sql = f"UPDATE turns SET {sets} WHERE turn_id = ?"  # noqa: S608 - our own names
    if status != "done":
        sql += " AND status != 'done'"
    db.execute(sql, [*row.values(), turn_id])
    if status == "done":
        forget_answers(db, turn_id)


def as_accepted(row: Mapping[str, Any]) -> Accepted:
    """A row of ``turns`` as what was accepted."""
    return Accepted(
        row["turn_id"],
        row["thread_id"],
        row["trace_id"],
        row["number"],
        row["question"],
        row["requested_role"],
    )
