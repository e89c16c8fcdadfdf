"""The transcript: every turn of every thread, whole, outside the graph's bounded state."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from rolecall.database import DatabaseFile
from rolecall.errors import UsageError
from rolecall.threads import copies
from rolecall.threads.accepting import Accepted, TurnStatus, accept, as_accepted, finish
from rolecall.threads.search import search
from rolecall.threads.thread_id import SCRATCH_REPLAY, check_thread_id, unknown_thread

__all__ = ["Accepted", "Transcript", "TurnStatus", "check_thread_id", "unknown_thread"]

_PAGE = 100


class Transcript:
    """Reads and writes the turns of ``threads.db``. All methods are safe between processes.

    Turns are ordered by their number and threads by a count of uses, so a clock that jumps back
    changes no order.
    """

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
        """Write down a question before anything is done about it.

        Raises:
            StateError: it cannot be written; then it was not accepted.
        """

        given = (thread_id, turn_id, trace_id, question, requested_role)
        return await self._file.commit_soon(lambda db: accept(db, *given))

    async def finish(self, turn_id: str, status: TurnStatus, changes: Mapping[str, Any]) -> None:
        """Record how a turn ended. A turn that is done stays so, whatever comes after."""
        await self._file.commit_soon(lambda db: finish(db, turn_id, status, changes))

    async def unfinished(self, thread_id: str) -> Accepted | None:
        """The last turn of a thread, when it has no answer yet."""
        sql = "SELECT * FROM turns WHERE thread_id = ? ORDER BY number DESC LIMIT 1"
        row = await self._file.run(lambda db: next(iter(db.query(sql, [thread_id])), None))
        if row is None or row["status"] == "done":
            return None
        return as_accepted(row)

    async def turn_before(self, thread_id: str, turn_id: str) -> tuple[Accepted, str | None] | None:
        """A turn of a thread, also by the id it was copied from, and the id of the one before."""
        sql = (
            "SELECT turns.*, (SELECT turn_id FROM turns AS earlier "  # noqa: S608 - our own names
            "WHERE thread_id = ?1 "
            "AND earlier.number < turns.number ORDER BY number DESC LIMIT 1) AS before "
            f"FROM turns WHERE thread_id = ?1 AND {copies.IS_TURN}"
        )
        values = [thread_id, turn_id]
        row = await self._file.run(lambda db: next(iter(db.query(sql, values)), None))
        return None if row is None else (as_accepted(row), row["before"])

    # --- threads ----------------------------------------------------------------------------

    async def exists(self, thread_id: str) -> bool:
        """Whether a thread has any turn or was forked."""
        sql = "SELECT 1 FROM threads WHERE thread_id = ?"
        return await self._file.run(lambda db: db.execute(sql, [thread_id]).fetchone() is not None)

    async def thread(self, thread_id: str) -> dict[str, Any]:
        """A thread's own row: title, times, what it was forked from.

        Raises:
            UnknownThread: there is no such thread.
        """
        sql = "SELECT * FROM threads WHERE thread_id = ?"
        row = await self._file.run(lambda db: next(iter(db.query(sql, [thread_id])), None))
        if row is None:
            raise unknown_thread(thread_id)
        return row

    async def threads(self, limit: int = 20, offset: int = 0) -> list[dict[str, Any]]:
        """Threads, last used first, with the number of turns and the status of the last one.

        What is there only while a turn is replayed is left out.
        """
        rows = await self._file.run(lambda db: list(db.query(_THREADS, [limit, offset])))
        for row in rows:
            del row["last_used"]
        return rows

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
        return [_read(row) for row in rows[::-1]]

    async def each_turn(self, thread_id: str, after: int = 0) -> AsyncIterator[dict[str, Any]]:
        """All turns of a thread in order, those after turn ``after``; read page by page."""
        sql = "SELECT * FROM turns WHERE thread_id = ? AND number > ? ORDER BY number LIMIT ?"
        while True:
            values = [thread_id, after, _PAGE]
            rows = await self._file.run(lambda db, v=values: list(db.query(sql, v)))  # type: ignore[misc]
            for row in rows:
                after = row["number"]
                yield _read(row)
            if len(rows) < _PAGE:
                return

    async def each_thread(self) -> AsyncIterator[str]:
        """The ids of all threads in alphabetical order, read page by page."""
        sql = "SELECT thread_id FROM threads WHERE thread_id > ? ORDER BY thread_id LIMIT ?"
        after = ""
        while True:
            values = [after, _PAGE]
            rows = await self._file.run(lambda db, v=values: db.execute(sql, v).fetchall())  # type: ignore[misc]
            for (after,) in rows:
                yield after
            if len(rows) < _PAGE:
                return

    async def search(
        self, text: str, limit: int = 20, *, thread: str | None = None, offset: int = 0
    ) -> list[dict[str, Any]]:
        """Turns whose question or answer has all the words of ``text``, best match first.

        ``word*`` stands for all words that begin so. Of more than 2,000 matches the newest are
        ranked.
        """
        return await self._file.run(lambda db: search(db, text, thread, limit, offset))

    async def turn(self, thread_id: str, number: int) -> dict[str, Any]:
        """One turn of a thread.

        Raises:
            UnknownThread, UsageError: there is no such thread or turn.
        """
        found = await self.turns(thread_id, 1, number + 1)
        if not found or found[0]["number"] != number:
            raise UsageError(f"thread {thread_id} has no turn {number}")
        return found[0]

    async def fork(
        self,
        source: str,
        target: str,
        step: str | None,
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
        await self._file.commit(
            lambda db: copies.copy_turns(
                db, source, target, step, turn_id, trace_id, unanswered=unanswered
            )
        )

    async def delete(self, thread_id: str) -> None:
        """Forget a thread: its turns, and what else is kept under its id."""
        await self._file.commit(lambda db: copies.forget_thread(db, thread_id))


_THREADS = (
    "SELECT page.*, (SELECT count(*) FROM turns WHERE thread_id = page.thread_id) AS turns, "  # noqa: S608 - our own names
    "(SELECT status FROM turns WHERE thread_id = page.thread_id "
    " ORDER BY number DESC LIMIT 1) AS status "
    "FROM (SELECT * FROM threads "
    f"WHERE forked_from IS NULL OR thread_id NOT GLOB '{SCRATCH_REPLAY}*' "
    "ORDER BY last_used DESC LIMIT ? OFFSET ?) AS page"
)


def _read(row: dict[str, Any]) -> dict[str, Any]:
    row["decision"] = json.loads(row["decision"]) if row["decision"] else None
    return row
