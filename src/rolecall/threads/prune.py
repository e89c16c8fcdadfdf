"""Pruning of the assistant's threads, in bites, when an answer has been given."""

from __future__ import annotations

from rolecall.database import DatabaseFile
from rolecall.sqlite import Database
from rolecall.threads.journal import forget_turns_before
from rolecall.threads.saver import ThreadSaver
from rolecall.threads.saver.pruning import Pruned, has_more_turns, prune_turns

_STEPS = 64
_BITES = 8
_SLACK_TURNS = 4
_FREE_PAGES = 64
"""Free pages that a file may keep for what comes next; also how many are given back at once."""


async def prune_thread(
    file: DatabaseFile, saver: ThreadSaver, thread_id: str, keep_turns: int
) -> int:
    """Remove what resume, fork and time travel do not need any more; a bounded piece of it.

    All steps of the last ``keep_turns`` turns stay, one of each turn before, and steps that a
    fork was made at or that wait for something. It is begun when a few turns more than those
    have all their steps. Readers and writers beside it are not disturbed.

    Returns:
        How many steps were removed.

    Raises:
        StateError: the file cannot be written; nothing is lost.
    """
    keep_turns = max(keep_turns, 1)

    def look(db: Database) -> tuple[bool, int]:
        more = has_more_turns(db, thread_id, keep_turns + _SLACK_TURNS)
        return more, int(db.execute("PRAGMA freelist_count").fetchone()[0])

    def prune(db: Database) -> Pruned:
        forked_at = _forked_at(db, thread_id)
        pruned = prune_turns(db, saver.serde, thread_id, keep_turns, forked_at, _STEPS)
        if pruned.removed:
            _forget_journal(db, thread_id, keep_turns)
        return pruned

    removed = 0
    more, free = await file.read(look)
    for _ in range(_BITES if more else 0):
        pruned = await file.commit(prune)
        removed += pruned.removed
        if not pruned.more:
            break
    if free > 2 * _FREE_PAGES:
        await file.run(_give_space_back)
    await saver.aconvert_some()
    return removed


def _forked_at(db: Database, thread_id: str) -> set[str]:
    rows = db.execute(
        "SELECT forked_at FROM threads WHERE forked_from = ? AND forked_at IS NOT NULL",
        [thread_id],
    ).fetchall()
    return {str(row[0]) for row in rows}


def _forget_journal(db: Database, thread_id: str, keep_turns: int) -> None:
    (number,) = db.execute(
        "SELECT max(number) FROM turns WHERE thread_id = ?", [thread_id]
    ).fetchone()
    if number is not None and number > keep_turns:
        forget_turns_before(db, thread_id, number - keep_turns + 1)


def _give_space_back(db: Database) -> None:
    """Shorten the file by a few pages."""
    # execute() would take one step of it, which is one page
    db.conn.executescript(f"PRAGMA incremental_vacuum({_FREE_PAGES})")
