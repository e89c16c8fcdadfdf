"""``replays.db``: runs over many threads, one row per turn. What is there is on disk."""

from __future__ import annotations

import json
import time
from contextlib import AbstractContextManager
from typing import Any

from rolecall.database import DatabaseFile
from rolecall.errors import RolecallError, UsageError
from rolecall.exclusive import exclusive, is_done_now
from rolecall.home import folder
from rolecall.replay.comparison import UNREACHABLE, Comparison
from rolecall.sqlite import Database, Migrations

migrations = Migrations("rolecall.replays")

_NAME = "replay"

Place = tuple[str, int]
"""A turn: its thread's id and its number there."""


@migrations()
def m001_runs_and_results(db: Database) -> None:
    """Runs, and their results: a comparison, or why there is none."""
    db.table("runs").create(
        {
            "id": int,
            "digest": str,
            "stack": str,
            "started_at": float,
            "finished_at": float,
            "status": str,
            "plan": str,
        },
        pk="id",
    )
    db.table("results").create(
        {
            "run": int,
            "thread_id": str,
            "turn": int,
            "status": str,
            "why": str,
            "body": str,
            "at": float,
        },
        pk=("run", "thread_id", "turn"),
    )


class ReplayBusy(RolecallError):
    """Threads of this home are being replayed: both would fill one run."""

    exit_code = 6


def alone() -> AbstractContextManager[None]:
    """Keep other replays of all threads of this home out.

    Raises:
        ReplayBusy: one is running; when entered.
    """
    busy = "another replay of all threads is running; when it has ended, the same command goes on"
    return exclusive(_NAME, ReplayBusy(busy))


class ReplayStore:
    """Runs and their results.

    ``status`` of a run: ``running``, ``stopped`` on the way (the same command goes on with it, when
    no newer run has it), ``partial`` (an endpoint failed; likewise) or ``done``. Of a result:
    ``ok``, ``failed`` (it was asked, and has no answer), ``error`` (no model was reached: asked
    again when the run goes on) or ``left_out``.
    """

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file

    async def unfinished(self, digest: str) -> tuple[int, dict[str, Any]] | None:
        """The newest run of a command, with its plan, unless it was finished."""
        sql = "SELECT id, plan, status FROM runs WHERE digest = ? ORDER BY id DESC LIMIT 1"
        row = await self._file.run(lambda db: db.execute(sql, [digest]).fetchone())
        return None if row is None or row[2] == "done" else (int(row[0]), json.loads(row[1]))

    async def begin(self, digest: str, stack: str, plan: dict[str, Any]) -> int:
        """A new run; to be called within :func:`alone`."""
        stopped = "UPDATE runs SET status = 'stopped' WHERE status = 'running'"
        sql = "INSERT INTO runs (digest, stack, started_at, status, plan) VALUES (?, ?, ?, ?, ?)"
        values = [digest, stack, time.time(), "running", json.dumps(plan)]

        def write(db: Database) -> int:
            db.execute(stopped)
            return int(db.execute(sql, values).lastrowid or 0)

        return await self._file.commit(write)

    async def done(self, run: int) -> set[Place]:
        """The turns of a run that are not to be asked again."""
        sql = "SELECT thread_id, turn FROM results WHERE run = ? AND status != 'error'"
        rows = await self._file.run(lambda db: db.execute(sql, [run]).fetchall())
        return {(thread_id, number) for thread_id, number in rows}

    async def keep(self, run: int, comparison: Comparison) -> None:
        """Keep a comparison."""
        status = _status(comparison.replay.exit_code)
        body = json.dumps(comparison.as_json(), default=str)
        place = (comparison.thread, comparison.turn)
        await self._put(run, place, status, comparison.replay.error, body)

    async def fail(self, run: int, place: Place, why: str, exit_code: int) -> None:
        """Note an error in whose place there is no comparison."""
        await self._put(run, place, _status(exit_code), why, None)

    async def leave_out(self, run: int, place: Place, why: str) -> None:
        """Note why there is no comparison of a turn."""
        await self._put(run, place, "left_out", why, None)

    async def _put(
        self, run: int, place: Place, status: str, why: str | None, body: str | None
    ) -> None:
        sql = (
            "INSERT OR REPLACE INTO results (run, thread_id, turn, status, why, body, at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)"
        )
        values = [run, *place, status, why, body, time.time()]

        def write(db: Database) -> None:
            db.execute(sql, values)

        await self._file.commit(write)

    async def end(self, run: int, status: str) -> None:
        """Note how a run ended, or that it goes on."""
        sql = "UPDATE runs SET status = ?, finished_at = ? WHERE id = ?"
        values = [status, None if status == "running" else time.time(), run]

        def write(db: Database) -> None:
            db.execute(sql, values)

        await self._file.commit(write)

    async def run(self, run: int) -> dict[str, Any]:
        """A run: its stack, status, plan, comparisons, and what was left out.

        Raises:
            UsageError: there is no such run.
        """

        def read(db: Database) -> dict[str, Any] | None:
            row = next(iter(db.query("SELECT * FROM runs WHERE id = ?", [run])), None)
            if row is not None:
                sql = "SELECT * FROM results WHERE run = ? ORDER BY rowid"
                row["results"] = list(db.query(sql, [run]))
            return row

        found = await self._file.run(read)
        if found is None:
            raise UsageError(f"there is no run {run}; rolecall replay --runs lists them")
        return _told(found)

    async def runs(self, limit: int = 20) -> list[dict[str, Any]]:
        """The newest runs first, with how many turns each has replayed."""
        sql = (
            "SELECT id, stack, started_at, finished_at, status, plan, "
            "(SELECT count(*) FROM results WHERE run = runs.id AND status = 'ok') AS replayed "
            "FROM runs ORDER BY id DESC LIMIT ?"
        )
        rows = await self._file.run(lambda db: list(db.query(sql, [limit])))
        return [_told({**row, "turns": len(json.loads(row.pop("plan"))["turns"])}) for row in rows]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _told(row: dict[str, Any]) -> dict[str, Any]:
    killed = row["status"] == "running" and not is_done_now(_NAME)  # it could not say so
    return {**row, "status": "stopped"} if killed else row


def _status(exit_code: int) -> str:
    if exit_code == UNREACHABLE:
        return "error"
    return "failed" if exit_code else "ok"


def open_store() -> ReplayStore:
    """The store of this home."""
    return ReplayStore(DatabaseFile(folder() / "replays.db", migrations))
