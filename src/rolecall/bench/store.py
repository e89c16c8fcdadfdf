"""``bench.db``: the runs and one row per case asked. A result is on disk once it is there."""

from __future__ import annotations

import json
import time
from typing import Any

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from rolecall.database import DatabaseFile
from rolecall.errors import UsageError
from rolecall.home import folder

migrations = Migrations("rolecall.bench")


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


class BenchStore:
    """Runs and results of benchmarks.

    ``status`` of a run: ``running`` (or stopped on the way: the same plan goes on with it),
    ``partial`` (an endpoint failed; likewise) or ``done``.
    """

    def __init__(self, file: DatabaseFile) -> None:
        self._file = file

    async def begin(self, digest: str, plan: dict[str, Any], *, fresh: bool) -> tuple[int, bool]:
        """The run to fill, and whether it goes on with one that was not finished."""

        def work(db: Database) -> tuple[int, bool]:
            sql = "SELECT id FROM runs WHERE digest = ? AND status != 'done' ORDER BY id DESC"
            found = None if fresh else next(db.query(sql, [digest]), None)
            if found is not None:
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

    async def end(self, run: int, status: str) -> None:
        """Note how a run ended."""
        sql = "UPDATE runs SET status = ?, finished_at = ? WHERE id = ?"
        await self._file.commit(lambda db: db.execute(sql, [status, time.time(), run]))

    def runs(self, limit: int = 20) -> list[dict[str, Any]]:
        """The newest runs first, with how many cases each has answered."""
        sql = (
            "SELECT runs.*, (SELECT count(*) FROM results WHERE run = runs.id) AS answered "
            "FROM runs ORDER BY id DESC LIMIT ?"
        )
        found = self._file.submit(lambda db: list(db.query(sql, [limit]))).result()
        return [{**row, "plan": json.loads(row["plan"])} for row in found]

    def results(self, run: int) -> list[dict[str, Any]]:
        """The rows of a run in the order in which they were asked.

        Raises:
            UsageError: there is no such run.
        """

        def work(db: Database) -> list[dict[str, Any]] | None:
            if not list(db.query("SELECT 1 FROM runs WHERE id = ?", [run])):
                return None
            return list(db.query("SELECT * FROM results WHERE run = ? ORDER BY rowid", [run]))

        rows = self._file.submit(work).result()
        if rows is None:
            raise UsageError(f"there is no run {run}; rolecall bench list shows the runs")
        return rows

    def close(self) -> None:
        """Close the file."""
        self._file.close()
