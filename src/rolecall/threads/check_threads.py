"""Checks and mends what stands in ``threads.db``: turns, steps, index, journal."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from rolecall.database import DatabaseFile
from rolecall.sqlite import Database
from rolecall.threads.check import Finding
from rolecall.threads.check_rules import RULES, Rule
from rolecall.threads.lock import holder_of, thread_lock
from rolecall.threads.saver.inspection import inspect
from rolecall.threads.saver.removal import delete_steps, parts_of
from rolecall.threads.saver.saver import ThreadSaver
from rolecall.threads.thread_id import unknown_thread

_INDEX_IN_STEP = "INSERT INTO turns_fts (turns_fts, rank) VALUES ('integrity-check', 1)"
_INDEX_ANEW = "INSERT INTO turns_fts (turns_fts) VALUES ('rebuild')"


class ThreadCheck:
    """The checks over one sound database.

    Args:
        file: the database.
        locks: the folder of lock files, which tell what is running.
    """

    def __init__(self, file: DatabaseFile, locks: Path) -> None:
        self._file = file
        self._locks = locks
        self._saver = ThreadSaver(file)

    async def find(self, thread: str | None = None) -> list[Finding]:
        """All that is wrong, or what is wrong with one thread.

        Raises:
            UnknownThread: nothing is kept under that id.
        """
        if thread is not None and not await self._file.run(lambda db: _known(db, thread)):
            raise unknown_thread(thread)
        while thread is None and await self._saver.aconvert_some():
            pass  # what an older version wrote is no loss
        findings = [] if thread else await self._file.run(_index)
        findings += await self._file.run(lambda db: _broken_rules(db, thread))
        findings += [
            Finding(
                "running turns",
                "weak",
                f"turn {number} is marked as running, but no process answers it",
                owner,
                mendable=True,
                remedy=f"rolecall resume {owner}",
            )
            for _, owner, number in await self._abandoned(thread)
        ]
        return findings + [
            Finding("steps", "unfit", why, owner, mendable=True)
            for owner, _, why in await self._undecodable(thread)
        ]

    async def mend(self, thread: str | None = None) -> list[str]:
        """Mend what can be mended; says what was done."""
        done = [] if thread else await self._file.commit(_mend_index)
        done += await self._file.commit(lambda db: _mend_rules(db, thread))
        for turn_id, owner, number in await self._abandoned(thread):
            async with thread_lock(self._locks, owner, 0.0):
                await self._file.commit(lambda db, t=turn_id: _interrupted(db, t))  # type: ignore[misc]
            done.append(
                f"thread {owner}: turn {number} is marked as interrupted; if it is the last one: "
                f"rolecall resume {owner}"
            )
        for owner, step, why in await self._undecodable(thread):
            async with thread_lock(self._locks, owner, 0.0):
                await self._file.commit(
                    lambda db, where=(owner, step, why): self._put_aside(db, *where)  # type: ignore[misc]
                )
            done.append(f"thread {owner}: a step that cannot be read back was put aside")
        return done

    async def _abandoned(self, thread: str | None) -> list[tuple[str, str, int]]:
        """Turns marked as running that nobody holds: id, thread, number."""
        sql = (
            "SELECT turn_id, thread_id, number FROM turns WHERE status = 'running' "
            "AND (? IS NULL OR thread_id = ?)"
        )
        rows = await self._file.run(lambda db: db.execute(sql, [thread, thread]).fetchall())
        return [
            row
            for row in rows
            if not self._locks.is_dir() or holder_of(self._locks, row[1]) is None
        ]

    async def _undecodable(self, thread: str | None) -> list[tuple[str, str, str]]:
        """Steps that cannot be read back: thread, checkpoint, why."""
        found: list[tuple[str, str, str]] = []
        for owner in [thread] if thread else await self._file.run(_with_steps):
            await self._saver.asteps(owner, limit=1)  # converts what an older version wrote
            seen = await self._file.run(lambda db, t=owner: inspect(db, self._saver.serde, t))  # type: ignore[misc]
            found += [(owner, step, why) for step, why in seen.undecodable.items()]
        return found

    def _put_aside(self, db: Database, thread: str, step: str, problem: str) -> None:
        """Move a step into ``undecodable``, with the parts that it refers to."""
        row = next(
            iter(
                db.query(
                    "SELECT * FROM saver_steps JOIN saver_lines USING (line_id) "
                    "WHERE thread_id = ? AND checkpoint_id = ?",
                    [thread, step],
                )
            ),
            None,
        )
        if row is None:
            return
        rows = [("step", row["kind"], row["body"])]
        base = row["line_id"] << 32
        for number in sorted(parts_of(self._saver.serde, row["kind"], row["body"])):
            rows += [
                (f"part {number}", kind, body)
                for kind, body in db.execute(
                    "SELECT kind, body FROM saver_parts WHERE part_id = ?", [base + number]
                )
            ]
        for what, kind, body in rows:
            db.execute(
                "INSERT INTO undecodable (thread_id, ns, checkpoint_id, what, kind, body, "
                "metadata, problem, moved_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    *(row[name] for name in ("thread_id", "ns", "checkpoint_id")),
                    *(what, kind, body, row["metadata"], problem, time.time()),
                ],
            )
        delete_steps(db, self._saver.serde, row["line_id"], [row["step_id"]])


def _with_steps(db: Database) -> list[str]:
    rows = db.execute("SELECT DISTINCT thread_id FROM saver_lines ORDER BY thread_id")
    return [thread_id for (thread_id,) in rows.fetchall()]


def _known(db: Database, thread: str) -> bool:
    names = set(db.table_names())
    return any(
        db.execute(f"SELECT 1 FROM {table} WHERE thread_id = ? LIMIT 1", [thread]).fetchone()  # noqa: S608
        for table in ("threads", "turns", "saver_lines")
        if table in names
    )


def _index(db: Database) -> list[Finding]:
    try:
        db.execute(_INDEX_IN_STEP)
    except sqlite3.DatabaseError as error:
        problem = f"it does not show what the turns hold ({error})"
        return [Finding("search index", "weak", problem, mendable=True)]
    finally:
        db.conn.rollback()
    return []


def _mend_index(db: Database) -> list[str]:
    try:
        db.execute(_INDEX_IN_STEP)
    except sqlite3.DatabaseError:
        db.execute(_INDEX_ANEW)
        return ["the search index was built anew"]
    return []


def _rules(db: Database) -> list[Rule]:
    names = set(db.table_names())
    return [rule for rule in RULES if names.issuperset(rule.tables)]


def _broken_rules(db: Database, thread: str | None) -> list[Finding]:
    return [
        Finding(
            rule.name,
            "weak",
            rule.problem.format(n=count),
            owner or None,
            mendable=bool(rule.mend),
            remedy=rule.remedy.format(thread=owner),
        )
        for rule in _rules(db)
        for owner, count in db.execute(rule.find, {"thread": thread}).fetchall()
    ]


def _mend_rules(db: Database, thread: str | None) -> list[str]:
    done: list[str] = []
    for rule in _rules(db):
        given: Any = {"thread": thread}
        broken = db.execute(rule.find, given).fetchall()
        if not broken or not rule.mend:
            continue
        for statement in rule.mend:
            db.execute(statement, given)
        done += [
            f"{f'thread {owner}: ' if owner else ''}{rule.name}: mended" for owner, _ in broken
        ]
    return done


def _interrupted(db: Database, turn_id: str) -> None:
    db.execute(
        "UPDATE turns SET status = 'interrupted', finished_at = ?, "
        "error = 'the process that answered it has ended' "
        "WHERE turn_id = ? AND status = 'running'",
        [time.time(), turn_id],
    )
