"""``bench.db``: the runs and one row per case asked. A result is on disk once it is there."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from rolecall.database import DatabaseFile
from rolecall.errors import RolecallError, UsageError
from rolecall.exclusive import exclusive, is_done_now
from rolecall.home import folder, home
from rolecall.sqlite import Database, Migrations

migrations = Migrations("rolecall.bench")

_NAME = "bench"


@migrations()
def m001_runs_and_results(db: Database) -> None:
    """Runs, and their results: one for each case and subject of a run."""
    db.table("runs").create(
        {
            "id": int,
            "digest": str,
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
            "subject": str,
            "suite": str,
            "case_digest": str,
            "stack": str,
            "role": str,
            "model": str,
            "endpoint": str,
            "quantization": str,
            "arm": str,
            "case_id": str,
            "about": str,
            "status": str,
            "score": float,
            "why": str,
            "answer": str,
            "input_tokens": int,
            "output_tokens": int,
            "calls": int,
            "seconds": float,
            "ttft_ms": float,
            "tokens_per_s": float,
            "memory_bytes": int,
            "at": float,
        },
        pk=("run", "subject", "suite", "case_digest"),
    )


def open_store() -> BenchStore:
    """The store of this home."""
    return BenchStore(DatabaseFile(folder() / "bench.db", migrations))


@migrations()
def m002_problems(db: Database) -> None:
    """What failed in a run, so that it can still be told later."""
    db.table("runs").add_column("problems", str)


class BenchBusy(RolecallError):
    """Another benchmark runs in this home: both would measure each other."""

    exit_code = 6


def alone() -> AbstractContextManager[None]:
    """Keep other benchmarks of this home out.

    Raises:
        BenchBusy: one is running; when entered.
    """
    busy = BenchBusy("another benchmark is running; times taken now would be wrong")
    return exclusive(_NAME, busy)


def is_running() -> bool:
    """Whether a benchmark is running now."""
    return is_done_now(_NAME)


def open_store_if_any() -> BenchStore | None:
    """The store, where something was kept; makes no file."""
    return open_store() if (home() / "bench.db").is_file() else None


class BenchStore:
    """Runs and results of benchmarks.

    ``status`` of a run: ``running``, ``stopped`` on the way (the same plan goes on with it, when no
    newer run has it), ``partial`` (an endpoint failed; likewise) or ``done``.
    """

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file

    async def begin(self, digest: str, plan: dict[str, Any], *, fresh: bool) -> tuple[int, bool]:
        """The run to fill, and whether it goes on with one that was not finished.

        To be called within :func:`alone`.
        """

        def work(db: Database) -> tuple[int, bool]:
            # whoever holds the lock knows that no other runs
            db.execute("UPDATE runs SET status = 'stopped' WHERE status = 'running'")
            sql = "SELECT id, status FROM runs WHERE digest = ? ORDER BY id DESC LIMIT 1"
            found = None if fresh else next(db.query(sql, [digest]), None)
            if found is not None and found["status"] != "done":
                db.execute("UPDATE runs SET status = 'running' WHERE id = ?", [found["id"]])
                return int(found["id"]), True
            row = {
                "digest": digest,
                "started_at": time.time(),
                "status": "running",
                "plan": json.dumps(plan),
            }
            db.table("runs").insert(row)
            return int(next(db.query("SELECT max(id) AS id FROM runs"))["id"]), False

        return await self._file.commit(work)

    async def done(self, run: int) -> set[tuple[str, str, str]]:
        """What of a run is answered: ``(subject, suite, case digest)``. Errors are asked again."""
        sql = "SELECT subject, suite, case_digest FROM results WHERE run = ? AND status != 'error'"

        def work(db: Database) -> set[tuple[str, str, str]]:
            return {
                (row["subject"], row["suite"], row["case_digest"]) for row in db.query(sql, [run])
            }

        return await self._file.run(work)

    async def keep(self, row: dict[str, Any]) -> None:
        """Keep one result."""
        await self._file.commit(lambda db: db.table("results").upsert(row))

    async def end(self, run: int, status: str, problems: Sequence[str] = ()) -> None:
        """Note how a run ended, and what failed in it."""
        sql = "UPDATE runs SET status = ?, problems = ?, finished_at = ? WHERE id = ?"
        values = [status, json.dumps(list(problems)), time.time(), run]
        await self._file.commit(lambda db: db.execute(sql, values))

    def run(self, run: int) -> dict[str, Any]:
        """One run, with its plan.

        Raises:
            UsageError: there is no such run.
        """
        sql = "SELECT * FROM runs WHERE id = ?"
        row = self._file.submit(lambda db: next(db.query(sql, [run]), None)).result()
        if row is None:
            raise UsageError(f"there is no run {run}; rolecall bench list shows the runs")
        return _told(row)

    def runs(self, limit: int = 20) -> list[dict[str, Any]]:
        """The newest runs first, with how many cases each has answered."""
        sql = (
            "SELECT runs.*, (SELECT count(*) FROM results WHERE run = runs.id) AS answered "
            "FROM runs ORDER BY id DESC LIMIT ?"
        )
        found = self._file.submit(lambda db: list(db.query(sql, [limit]))).result()
        return [_told(row) for row in found]

    def same_plan_before(self, run: int) -> int | None:
        """The newest finished run before this one that asked the same of the same models."""
        sql = (
            "SELECT max(id) AS id FROM runs WHERE status = 'done' AND id < ? "
            "AND digest = (SELECT digest FROM runs WHERE id = ?)"
        )
        found = self._file.submit(lambda db: next(db.query(sql, [run, run]))["id"]).result()
        return None if found is None else int(found)

    def named(self, name: str) -> int | None:
        """The run that a user names by its number or as ``last``; ``None`` where it is neither.

        There need not be a run of that number; it is one that SQLite can hold.
        """
        if name == "last":
            newest = self.runs(1)
            return int(newest[0]["id"]) if newest else None
        return int(name) if name.isascii() and name.isdigit() and len(name) < 19 else None

    def latest_of(self, stack: str) -> int | None:
        """The newest run that has answers of a stack."""
        sql = "SELECT max(run) AS run FROM results WHERE stack = ? AND status != 'error'"
        found = self._file.submit(lambda db: next(db.query(sql, [stack]))["run"]).result()
        return None if found is None else int(found)

    def totals(self) -> list[dict[str, Any]]:
        """What each suite of each run comes to, per subject that went through Rolecall.

        Returns:
            ``run, subject, role, endpoint, model, quantization, suite, scored, total`` (sum of
            scores) and ``at``; runs with more cases later, of equal ones the newer.
        """
        sql = (
            "SELECT run, subject, role, endpoint, model, quantization, suite, "
            "count(score) AS scored, sum(score) AS total, max(at) AS at "
            "FROM results WHERE arm = 'rolecall' AND status != 'error' "
            "GROUP BY run, subject, role, endpoint, model, quantization, suite "
            "ORDER BY count(*), run"
        )
        return self._file.submit(lambda db: list(db.query(sql))).result()

    def results(self, run: int) -> list[dict[str, Any]]:
        """The rows of a run in the order in which they were asked; none where there is none."""
        sql = "SELECT * FROM results WHERE run = ? ORDER BY rowid"
        return self._file.submit(lambda db: list(db.query(sql, [run]))).result()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _told(row: dict[str, Any]) -> dict[str, Any]:
    killed = row["status"] == "running" and not is_running()  # it could not say so
    return {
        **row,
        "status": "stopped" if killed else row["status"],
        "plan": json.loads(row["plan"]),
        "problems": json.loads(row["problems"] or "[]"),
    }
