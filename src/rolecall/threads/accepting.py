"""A question accepted, a turn ended: statements for the caller's transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlite_utils import Database

from rolecall.threads.copies import title_of
from rolecall.threads.journal import forget_answers

TurnStatus = Literal["running", "done", "failed", "interrupted"]

_USED = (
    "INSERT INTO threads (thread_id, title, created_at, updated_at, last_used) "
    "VALUES (?, ?, ?, ?, 1 + (SELECT coalesce(max(last_used), 0) FROM threads)) "
    "ON CONFLICT (thread_id) DO UPDATE SET "
    "updated_at = excluded.updated_at, last_used = excluded.last_used"
)
_NEXT_NUMBER = "SELECT 1 + coalesce(max(number), 0) FROM turns WHERE thread_id = ?"
_ACCEPTED = (
    "INSERT INTO turns (turn_id, thread_id, number, trace_id, question, requested_role, status, "
    "created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True)
class Accepted:
    """A turn that was accepted: it will be answered, or can be resumed."""

    turn_id: str
    thread_id: str
    trace_id: str
    number: int
    question: str
    requested_role: str | None = None


def accept(
    db: Database,
    thread_id: str,
    turn_id: str,
    trace_id: str,
    question: str,
    requested_role: str | None,
) -> Accepted:
    """Write a question down as the next turn of a thread, which is made if it is new."""
    now = time.time()
    db.execute(_USED, [thread_id, title_of(question), now, now])
    (number,) = db.execute(_NEXT_NUMBER, [thread_id]).fetchone()
    turn = [turn_id, thread_id, number, trace_id, question, requested_role, "running", now]
    db.execute(_ACCEPTED, turn)
    return Accepted(turn_id, thread_id, trace_id, number, question, requested_role)


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
