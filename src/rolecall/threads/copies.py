"""Turns copied into a fork, and a thread forgotten; statements for the caller's transaction."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rolecall.memory.store import copy_prose
from rolecall.sqlite import Database
from rolecall.threads.journal import copy_calls

_TITLE_CHARS = 60

IS_TURN = "(turn_id = ?2 OR substr(turn_id, 1, length(?2) + 1) = ?2 || '.')"
"""SQL: a row is the turn with the id ``?2``, or was copied from it."""


def title_of(question: str) -> str:
    """A thread's title: the beginning of its first question, on one line."""
    line = " ".join(question.split())
    return line if len(line) <= _TITLE_CHARS else line[: _TITLE_CHARS - 1] + "…"


def copy_turns(
    db: Database,
    source: str,
    target: str,
    step: str | None,
    turn_id: str | None,
    trace_id: str,
    *,
    unanswered: bool,
) -> None:
    """Make a thread of another's turns up to one; see ``Transcript.fork``."""
    up_to = f"(SELECT max(number) FROM turns WHERE thread_id = ?1 AND {IS_TURN})"  # noqa: S608
    given = [source, turn_id]
    first = db.execute(
        "SELECT question FROM turns WHERE thread_id = ? ORDER BY number LIMIT 1", [source]
    ).fetchone()
    now = time.time()
    db.execute(
        "INSERT INTO threads (thread_id, title, created_at, updated_at, forked_from, forked_at, "
        "last_used) VALUES (?, ?, ?, ?, ?, ?, "
        "1 + (SELECT coalesce(max(last_used), 0) FROM threads))",
        [
            target,
            title_of(first[0]) if first and turn_id else f"fork of {source}",
            now,
            now,
            source,
            step,
        ],
    )
    if turn_id is None:
        return
    columns = [column.name for column in db.table("turns").columns]
    taken = [
        "?3" if c == "thread_id" else "turn_id || '.' || ?3" if c == "turn_id" else c
        for c in columns
    ]
    db.execute(
        f"INSERT INTO turns ({', '.join(columns)}) SELECT {', '.join(taken)} FROM turns "  # noqa: S608
        f"WHERE thread_id = ?1 AND number <= {up_to} ORDER BY number",
        [*given, target],
    )
    copy_prose(db, source, target, turn_id)
    if unanswered:
        last = db.execute(
            "SELECT turn_id FROM turns WHERE thread_id = ? ORDER BY number DESC LIMIT 1", [target]
        ).fetchone()
        if last is not None:
            changes = {"trace_id": trace_id, **_UNANSWERED}
            sets = ", ".join(f"{column} = ?" for column in changes)
            db.execute(
                f"UPDATE turns SET {sets} WHERE turn_id = ?",  # noqa: S608 - our own names
                [*changes.values(), last[0]],
            )
            copy_calls(db, (source, last[0].removesuffix(f".{target}")), (target, last[0]))


def forget_thread(db: Database, thread_id: str) -> None:
    """Delete the rows of a thread in every table that names threads."""
    for table in tables_of_threads(db):
        db.execute(f'DELETE FROM "{table}" WHERE thread_id = ?', [thread_id])  # noqa: S608


def tables_of_threads(db: Database) -> list[str]:
    """The tables with a column ``thread_id``, but those of the saver, which has its own ways."""
    return [
        table.name
        for table in db.tables
        if not table.name.startswith("saver_")
        and any(column.name == "thread_id" for column in table.columns)
    ]


_UNANSWERED: Mapping[str, Any] = {"status": "interrupted"} | dict.fromkeys(
    (
        "answer",
        "reasoning",
        "role",
        "decision",
        "strategy",
        "finish_reason",
        "error",
        "finished_at",
    )
)
