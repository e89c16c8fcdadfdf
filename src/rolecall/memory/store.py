"""What models wrote of turns that left the window: table ``summaries`` of ``threads.db``."""

from __future__ import annotations

import time

from rolecall.database import DatabaseFile
from rolecall.sqlite import Database


class SummaryStore:
    """One row per thread: the prose, and the turn that it covers up to."""

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file

    async def get(self, thread_id: str, covers: str) -> str | None:
        """The prose of a thread, if it covers exactly the turns up to the message ``covers``."""
        sql = "SELECT prose FROM summaries WHERE thread_id = ? AND covers = ?"

        def read(db: Database) -> str | None:
            row = db.execute(sql, [thread_id, covers]).fetchone()
            return None if row is None else str(row[0])

        return await self._file.read(read)

    async def save(self, thread_id: str, covers: str, turns: int, prose: str) -> None:
        """Keep the prose of a thread's first ``turns`` turns, unless there is some of more.

        Nothing is kept of a thread that was deleted meanwhile.
        """
        sql = (
            "INSERT INTO summaries (thread_id, covers, turns, prose, created_at) "
            "SELECT thread_id, ?, ?, ?, ? FROM threads WHERE thread_id = ? "
            "ON CONFLICT (thread_id) DO UPDATE SET covers = excluded.covers, "
            "turns = excluded.turns, prose = excluded.prose, created_at = excluded.created_at "
            "WHERE excluded.turns >= summaries.turns"
        )
        values = [covers, turns, prose, time.time(), thread_id]

        def write(db: Database) -> None:
            db.execute(sql, values)

        await self._file.commit(write)


def copy_prose(db: Database, source: str, target: str, before: str) -> None:
    """Give a fork its source's prose, if that tells only of turns before the turn ``before``.

    Args:
        db: the database, in the caller's transaction.
        source: the thread that was copied.
        target: the copy.
        before: the turn at which it was forked; what followed there the fork must not know.
    """
    db.execute(
        "INSERT INTO summaries (thread_id, covers, turns, prose, created_at) "
        "SELECT ?1, s.covers, s.turns, s.prose, s.created_at FROM summaries s "
        "JOIN turns last ON last.thread_id = s.thread_id AND (last.turn_id = ?3 "
        "OR substr(last.turn_id, 1, length(?3) + 1) = ?3 || '.') "
        "JOIN turns t ON t.thread_id = s.thread_id AND t.number < last.number "
        "AND ('question-' || t.turn_id = s.covers "
        "OR substr('question-' || t.turn_id, 1, length(s.covers) + 1) = s.covers || '.') "
        "WHERE s.thread_id = ?2 LIMIT 1",
        [target, source, before],
    )
