"""The journal: what a turn paid for or did, written down before anything else is done with it.

A saved step is not run again. Between a model's answer or a tool's effect and the saved step there
is a moment in which the process can die; the journal covers that moment. A model call is one row
with its answer; a tool call one row that is ``begun`` and then ``done``.
"""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from rolecall.database import DatabaseFile
from rolecall.sqlite import Database

TurnKey = tuple[str, str]
"""A turn: its thread's id and its own."""

BEGUN, WAITING, DONE = "begun", "waiting", "done"


@dataclass(frozen=True)
class JournaledCall:
    """A tool call as it stands in the journal.

    Attributes:
        key: names the call in its turn.
        status: ``begun``, ``waiting`` (for an answer of the user, before it goes on) or ``done``.
        began_at: when it was begun last, Unix seconds.
        outcome: once done: ``success``, ``error``, ``skipped`` or ``unknown``.
        result: once done: what the model is told.
    """

    key: str
    name: str
    arguments: dict[str, Any]
    status: str
    began_at: float
    outcome: str | None = None
    result: str | None = None


class Journal:
    """Reads and writes the journal of ``threads.db``.

    What writes is queued at once, from any thread, and durable when its future is done.
    """

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file

    # --- model calls --------------------------------------------------------------------------

    async def answer(self, turn: TurnKey, key: str, asked: str) -> dict[str, Any] | None:
        """The answer to a model call that was made already, if the same was asked.

        Raises:
            StateError: the journal cannot be read.
        """
        sql = (
            "SELECT content FROM journal "
            "WHERE thread_id = ? AND turn_id = ? AND key = ? AND request = ?"
        )

        def read(db: Database) -> dict[str, Any] | None:
            row = db.execute(sql, [*turn, key, asked]).fetchone()
            return json.loads(row[0]) if row is not None else None

        return await self._file.read(read)

    def keep_answer(
        self, turn: TurnKey, key: str, asked: str, answer: dict[str, Any]
    ) -> asyncio.Future[None]:
        """Write an answer down.

        Args:
            turn: whose call it was.
            key: names the call in the turn.
            asked: a digest of what was asked.
            answer: plain JSON values.
        """
        row = {"kind": "answer", "status": DONE, "request": asked, "content": _json(answer)}
        return self._file.commit_soon(lambda db: _put(db, turn, key, row))

    # --- tool calls ---------------------------------------------------------------------------

    async def call(self, turn: TurnKey, key: str) -> JournaledCall | None:
        """A tool call as it was left.

        Raises:
            StateError: the journal cannot be read.
        """
        sql = "SELECT * FROM journal WHERE thread_id = ? AND turn_id = ? AND key = ?"

        def read(db: Database) -> JournaledCall | None:
            return next((_call(row) for row in db.query(sql, [*turn, key])), None)

        return await self._file.read(read)

    async def calls_of(self, thread_id: str, message_id: str) -> list[JournaledCall]:
        """The tool calls that one message of a thread asked for, in order, as they were left.

        Raises:
            StateError: the journal cannot be read.
        """
        sql = (
            "SELECT * FROM journal WHERE thread_id = ? AND kind = 'tool' "
            "AND substr(key, 1, ?) = ? ORDER BY began_at, key"
        )
        beginning = f"{message_id}/"
        values = [thread_id, len(beginning), beginning]
        return await self._file.run(lambda db: [_call(row) for row in db.query(sql, values)])

    async def calls_of_turn(self, turn: TurnKey) -> list[JournaledCall]:
        """All tool calls of a turn in the order in which they were begun, as they were left.

        Raises:
            StateError: the journal cannot be read.
        """
        sql = (
            "SELECT * FROM journal WHERE thread_id = ? AND turn_id = ? AND kind = 'tool' "
            "ORDER BY began_at, key"
        )
        return await self._file.run(lambda db: [_call(row) for row in db.query(sql, list(turn))])

    def begin_call(
        self, turn: TurnKey, key: str, name: str, arguments: dict[str, Any], at: float
    ) -> asyncio.Future[None]:
        """Write down that a tool is about to run, ``at`` Unix seconds."""
        row = {
            "kind": "tool",
            "status": BEGUN,
            "name": name,
            "request": _json(arguments),
            "began_at": at,
        }
        return self._file.commit_soon(lambda db: _put(db, turn, key, row))

    def end_call(
        self, turn: TurnKey, key: str, at: float, outcome: str, result: str
    ) -> Future[None]:
        """Write down how the call that was begun ``at`` ended.

        The first end counts: a later one changes nothing.
        """
        sql = (
            "UPDATE journal SET status = ?, outcome = ?, content = ?, ended_at = ? "
            "WHERE thread_id = ? AND turn_id = ? AND key = ? AND status = ? AND began_at = ?"
        )
        values = [DONE, outcome, _json(result), time.time(), *turn, key, BEGUN, at]
        return self._file.submit_write(lambda db: _run(db, sql, values))

    def let_wait(self, turn: TurnKey, key: str) -> asyncio.Future[None]:
        """Write down that a call waits for the user: when it goes on, nothing is asked first."""
        sql = (
            "UPDATE journal SET status = ? "
            "WHERE thread_id = ? AND turn_id = ? AND key = ? AND status = ?"
        )
        return self._file.commit_soon(lambda db: _run(db, sql, [WAITING, *turn, key, BEGUN]))


def forget_answers(db: Database, turn_id: str) -> None:
    """Drop the model calls of a turn that is done; its tool calls stay with its steps.

    For a transaction that records the end of the turn.
    """
    db.execute(
        "DELETE FROM journal WHERE kind = 'answer' AND turn_id = ? AND thread_id = "
        "(SELECT thread_id FROM turns WHERE turn_id = ?)",
        [turn_id, turn_id],
    )


def forget_turns_before(db: Database, thread_id: str, number: int) -> None:
    """Drop all that turns before turn ``number`` left; for a transaction that drops their steps."""
    db.execute(
        "DELETE FROM journal WHERE thread_id = ? AND turn_id IN "
        "(SELECT turn_id FROM turns WHERE thread_id = ? AND number < ?)",
        [thread_id, thread_id, number],
    )


def copy_calls(db: Database, source: TurnKey, target: TurnKey) -> None:
    """Give a forked turn the tool calls of the turn it was copied from.

    What was done is not done again when the copy runs on from there, and what was half done is
    asked about. Answers are not copied: a fork asks its models anew.
    """
    db.execute(
        "INSERT OR IGNORE INTO journal (thread_id, turn_id, key, kind, status, name, request, "
        "outcome, content, began_at, ended_at) "
        "SELECT ?, ?, key, kind, status, name, request, outcome, content, began_at, ended_at "
        "FROM journal WHERE thread_id = ? AND turn_id = ? AND kind = 'tool'",
        [*target, *source],
    )


def _put(db: Database, turn: TurnKey, key: str, row: dict[str, Any]) -> None:
    row = {"thread_id": turn[0], "turn_id": turn[1], "key": key, "began_at": time.time(), **row}
    columns, places = ", ".join(row), ", ".join("?" * len(row))
    sql = f"INSERT OR REPLACE INTO journal ({columns}) VALUES ({places})"  # noqa: S608 - our names
    db.execute(sql, list(row.values()))


def _run(db: Database, sql: str, values: list[Any]) -> None:
    db.execute(sql, values)


def _call(row: dict[str, Any]) -> JournaledCall:
    content = row["content"]
    return JournaledCall(
        key=row["key"],
        name=row["name"],
        arguments=json.loads(row["request"]),
        status=row["status"],
        began_at=row["began_at"],
        outcome=row["outcome"],
        result=None if content is None else json.loads(content),
    )


def _json(value: Any) -> str:
    # ASCII only: a model's text may hold halves of surrogate pairs, which SQLite cannot store
    return json.dumps(value, default=repr)
