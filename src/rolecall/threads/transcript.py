"""The transcript: every turn of every thread, whole, outside the graph's bounded state."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlite_utils import Database

from rolecall.database import DatabaseFile, writing
from rolecall.errors import UnknownThread, UsageError

TurnStatus = Literal["running", "done", "failed", "interrupted"]

_TITLE_CHARS = 60
_THREAD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_thread_id(thread_id: str) -> str:
    """The id itself, when it can name a thread.

    Raises:
        UsageError: it holds more than letters, digits, ``.``, ``_`` and ``-``, or is too long.
    """
    if not _THREAD_ID.fullmatch(thread_id):
        raise UsageError(
            f"{thread_id!r} cannot name a thread: use 1 to 64 letters, digits, '.', '_' or '-'"
        )
    return thread_id


@dataclass(frozen=True)
class Accepted:
    """A turn that was accepted: it will be answered, or can be resumed."""

    turn_id: str
    thread_id: str
    trace_id: str
    number: int
    question: str
    requested_role: str | None = None


class Transcript:
    """Reads and writes the turns of ``threads.db``. All methods are safe between processes."""

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file
        self.path = file.path

    # --- one turn ---------------------------------------------------------------------------

    async def accept(
        self,
        thread_id: str,
        turn_id: str,
        trace_id: str,
        question: str,
        requested_role: str | None = None,
    ) -> Accepted:
        """Write down a question before anything is done about it."""

        def write(db: Database) -> Accepted:
            now = time.time()
            with writing(db):
                db.execute(
                    "INSERT INTO threads (thread_id, title, created_at, updated_at) "
                    "VALUES (?, ?, ?, ?) "
                    "ON CONFLICT (thread_id) DO UPDATE SET updated_at = excluded.updated_at",
                    [thread_id, _title(question), now, now],
                )
                number = 1 + _one(
                    db, "SELECT coalesce(max(number), 0) FROM turns WHERE thread_id = ?", thread_id
                )
                db.table("turns").insert(
                    {
                        "turn_id": turn_id,
                        "thread_id": thread_id,
                        "number": number,
                        "trace_id": trace_id,
                        "question": question,
                        "requested_role": requested_role,
                        "status": "running",
                        "created_at": now,
                    }
                )
            return Accepted(turn_id, thread_id, trace_id, number, question, requested_role)

        return await self._file.run(write)

    async def finish(self, turn_id: str, status: TurnStatus, changes: Mapping[str, Any]) -> None:
        """Record how a turn ended. A turn that is done stays so, whatever comes after."""
        row = {"error": None, **changes}
        if isinstance(row.get("decision"), dict):
            row["decision"] = json.dumps(row["decision"], ensure_ascii=False)
        row |= {"status": status, "finished_at": time.time()}
        sets = ", ".join(f"{column} = ?" for column in row)
        sql = f"UPDATE turns SET {sets} WHERE turn_id = ?"  # noqa: S608 - our own names
        if status != "done":
            sql += " AND status != 'done'"

        def write(db: Database) -> None:
            with writing(db):
                db.execute(sql, [*row.values(), turn_id])

        await self._file.run(write)

    async def unfinished(self, thread_id: str) -> Accepted | None:
        """The last turn of a thread, when it has no answer yet."""

        def read(db: Database) -> Accepted | None:
            rows = list(
                db.query(
                    "SELECT * FROM turns WHERE thread_id = ? ORDER BY number DESC LIMIT 1",
                    [thread_id],
                )
            )
            if not rows or rows[0]["status"] == "done":
                return None
            row = rows[0]
            return Accepted(
                row["turn_id"],
                thread_id,
                row["trace_id"],
                row["number"],
                row["question"],
                row["requested_role"],
            )

        return await self._file.run(read)

    # --- threads ----------------------------------------------------------------------------

    async def exists(self, thread_id: str) -> bool:
        """Whether a thread has any turn or was forked."""
        return await self._file.run(
            lambda db: _one(db, "SELECT count(*) FROM threads WHERE thread_id = ?", thread_id) > 0
        )

    async def threads(self, limit: int = 20, offset: int = 0) -> list[dict[str, Any]]:
        """Threads, last used first, with the number of turns and the status of the last one."""
        sql = (
            "SELECT t.*, count(n.turn_id) AS turns, "
            "(SELECT status FROM turns WHERE thread_id = t.thread_id "
            " ORDER BY number DESC LIMIT 1) AS status "
            "FROM threads t LEFT JOIN turns n ON n.thread_id = t.thread_id "
            "GROUP BY t.thread_id ORDER BY t.updated_at DESC LIMIT ? OFFSET ?"
        )
        return await self._file.run(lambda db: list(db.query(sql, [limit, offset])))

    async def turns(
        self, thread_id: str, limit: int = 20, before: int | None = None
    ) -> list[dict[str, Any]]:
        """The last ``limit`` turns of a thread in order, those before turn ``before`` if given.

        Raises:
            UnknownThread: there is no such thread.
        """
        if not await self.exists(thread_id):
            raise unknown_thread(thread_id)
        sql = "SELECT * FROM turns WHERE thread_id = ? AND number < ? ORDER BY number DESC LIMIT ?"
        values = [thread_id, before if before is not None else 2**62, limit]
        rows = await self._file.run(lambda db: list(db.query(sql, values)))
        for row in rows:
            row["decision"] = json.loads(row["decision"]) if row["decision"] else None
        return rows[::-1]

    async def search(self, text: str, limit: int = 20) -> list[dict[str, Any]]:
        """Turns whose question or answer has all the words of ``text``, best match first."""
        plain = text.replace("\x00", " ").encode(errors="replace").decode()
        words = " ".join('"' + word.replace('"', '""') + '"' for word in plain.split())
        if not words:
            return []
        sql = (
            "SELECT turns.thread_id, turns.number, turns.created_at, turns.question, "
            "snippet(turns_fts, -1, '[', ']', '…', 16) AS snippet "
            "FROM turns_fts JOIN turns ON turns.rowid = turns_fts.rowid "
            "WHERE turns_fts MATCH ? ORDER BY bm25(turns_fts) LIMIT ?"
        )
        return await self._file.run(lambda db: list(db.query(sql, [words, limit])))

    async def fork(
        self,
        source: str,
        target: str,
        step: str,
        turn_id: str | None,
        trace_id: str,
        *,
        unanswered: bool = False,
    ) -> None:
        """Copy a thread's turns up to the one with ``turn_id``.

        A copied turn is named after the turn it was copied from: ``ORIGINAL.THREAD``.

        Args:
            source: the thread to copy from.
            target: the new thread.
            step: the checkpoint it was forked at.
            turn_id: the last turn to copy; ``None`` copies none.
            trace_id: the trace of that turn, if it has to run on.
            unanswered: the step lies inside that turn, which can be resumed in the copy.
        """

        def write(db: Database) -> None:
            now = time.time()
            with writing(db):
                rows = list(
                    db.query(
                        "SELECT * FROM turns WHERE thread_id = ? AND number <= "
                        "(SELECT number FROM turns WHERE thread_id = ? AND "
                        "(turn_id = ? OR turn_id LIKE ? || '.%')) ORDER BY number",
                        [source, source, turn_id, turn_id],
                    )
                )
                title = _title(rows[0]["question"]) if rows else f"fork of {source}"
                db.table("threads").insert(
                    {
                        "thread_id": target,
                        "title": title,
                        "created_at": now,
                        "updated_at": now,
                        "forked_from": source,
                        "forked_at": step,
                    }
                )
                for row in rows:
                    copy = {**row, "thread_id": target, "turn_id": f"{row['turn_id']}.{target}"}
                    if row is rows[-1] and unanswered:
                        copy |= {"trace_id": trace_id, **_UNANSWERED}
                    db.table("turns").insert(copy)

        await self._file.run(write)

    async def delete(self, thread_id: str) -> None:
        """Forget a thread's turns."""

        def write(db: Database) -> None:
            with writing(db):
                db.execute("DELETE FROM turns WHERE thread_id = ?", [thread_id])
                db.execute("DELETE FROM threads WHERE thread_id = ?", [thread_id])

        await self._file.run(write)


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


def unknown_thread(thread_id: str) -> UnknownThread:
    """The error for a thread that is not there."""
    return UnknownThread(f"there is no thread {thread_id!r}; rolecall threads list shows them")


def _one(db: Database, sql: str, *values: Any) -> int:
    return int(db.execute(sql, list(values)).fetchone()[0])


def _title(question: str) -> str:
    line = " ".join(question.split())
    return line if len(line) <= _TITLE_CHARS else line[: _TITLE_CHARS - 1] + "…"
