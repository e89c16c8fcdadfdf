"""Takes threads in from an archive. The file is read twice: checked whole, then written."""

from __future__ import annotations

import asyncio
import base64
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig

from rolecall.database import DatabaseFile
from rolecall.errors import StateError, UsageError
from rolecall.schema_version import newer_state
from rolecall.sqlite import Database
from rolecall.threads.archive import OWN_RECORDS, Record, unpacked
from rolecall.threads.archive_file import of_thread, records, wrong
from rolecall.threads.copies import forget_thread, tables_of_threads
from rolecall.threads.lock import thread_lock
from rolecall.threads.saver import ThreadSaver
from rolecall.threads.thread_id import check_thread_id

_STATUSES = frozenset({"running", "done", "failed", "interrupted"})
_COUNTED = {"turn": "turns", "step": "steps", "row": "rows"}


@dataclass(frozen=True)
class Imported:
    """A thread that was taken in, under the name that it has here."""

    thread_id: str
    turns: int
    steps: int


class Importer:
    """Writes threads from an archive.

    Args:
        file: the database.
        saver: its steps.
        locks: the folder of lock files.
    """

    def __init__(self, file: DatabaseFile, saver: ThreadSaver, locks: Path) -> None:
        self._file = file
        self._saver = saver
        self._locks = locks

    async def take_in(self, path: Path, name: str | None = None) -> list[Imported]:
        """Import all threads of a file, or none.

        Args:
            path: the file.
            name: the thread's id here; the file must hold one thread then.

        Raises:
            UsageError: an id is in use, or ``name`` is given for several threads.
            NewerState: a newer Rolecall wrote the file.
            StateError: the file is damaged, incomplete or something else; nothing was written.
        """
        found = await asyncio.to_thread(lambda: [*self._checked(path)])
        if name is not None and len(found) != 1:
            raise UsageError(f"{path} holds {len(found)} threads; --as names only one")
        done: list[Imported] = []
        try:
            for entry in found:
                target = check_thread_id(name or entry.thread_id)
                async with thread_lock(self._locks, target, 0.0):
                    await self._write(path, entry.thread_id, target)
                done.append(Imported(target, entry.turns, entry.steps))
        except BaseException:
            for entry in done:
                await self._undo(entry.thread_id)
            raise
        return done

    # --- first reading ------------------------------------------------------------------------

    def _checked(self, path: Path) -> Iterator[Imported]:
        thread: str | None = None
        counts: dict[str, int] = {}
        threads, ended, seen = 0, False, set()
        number = 0
        for number, record in records(path):
            kind = record.get("kind")
            if ended:
                raise wrong(path, number, "there is more after its end")
            if kind == "thread" and thread is None and isinstance(record.get("thread_id"), str):
                thread, counts = record["thread_id"], dict.fromkeys(_COUNTED.values(), 0)
                if thread in seen:
                    raise wrong(path, number, f"thread {thread} stands in it twice")
                seen.add(thread)
            elif kind in _COUNTED and thread is not None:
                counts[_COUNTED[str(kind)]] += 1
                self._check_record(path, number, record)
            elif kind == "end_of_thread" and thread is not None:
                if any(record.get(name) != count for name, count in counts.items()):
                    raise wrong(path, number, f"records of thread {thread} are missing")
                yield Imported(thread, counts["turns"], counts["steps"])
                thread, threads = None, threads + 1
            elif kind == "end" and thread is None:
                ended = record.get("threads") == threads
            else:
                raise wrong(path, number, f"{kind!r} is no record that belongs here")
        if not ended:
            raise wrong(path, number, "it ends too early")

    def _check_record(self, path: Path, number: int, record: Record) -> None:
        try:
            if record["kind"] == "turn":
                whole = (
                    isinstance(record["number"], int)
                    and isinstance(record["turn_id"], str)
                    and isinstance(record["question"], str)
                    and record["status"] in _STATUSES
                )
                if not whole:
                    raise ValueError("this is no turn")
            elif record["kind"] == "step":
                if not isinstance(record["metadata"], dict):
                    raise ValueError("the step has no metadata")
                step = unpacked(self._saver.serde, record["checkpoint"])
                if step["id"] != record["checkpoint_id"]:
                    raise ValueError("the step has another id")
                for _, _, value in record["writes"]:
                    unpacked(self._saver.serde, value)
        except (KeyError, ValueError, TypeError, zlib.error) as error:
            raise wrong(path, number, f"{type(error).__name__}: {error}") from error

    # --- second reading -----------------------------------------------------------------------

    async def _write(self, path: Path, source: str, target: str) -> None:
        """Steps first; the turns make the thread visible, in one transaction."""
        await self._file.run(lambda db: _check_free(db, target))
        try:
            for record in of_thread(path, source):
                if record["kind"] == "step":
                    await self._put(record, target)
            await self._file.commit(lambda db: _insert(db, path, source, target))
        except BaseException as error:
            await self._saver.adelete_thread(target)
            if isinstance(error, KeyError | TypeError | ValueError | ArithmeticError):
                raise StateError(
                    f"{path}: thread {source} has a record that is not as it should be "
                    f"({type(error).__name__}: {error}). Nothing was imported."
                ) from error
            raise

    async def _put(self, record: Record, target: str) -> None:
        where: RunnableConfig = {
            "configurable": {"thread_id": target, "checkpoint_ns": record["ns"]}
        }
        if record["parent_id"]:
            where["configurable"]["checkpoint_id"] = record["parent_id"]
        checkpoint = unpacked(self._saver.serde, record["checkpoint"])
        at = await self._saver.aput(
            where, checkpoint, record["metadata"], checkpoint["channel_versions"]
        )
        pending: dict[str, list[tuple[str, Any]]] = {}
        for task_id, channel, value in record["writes"]:
            pending.setdefault(task_id, []).append((channel, unpacked(self._saver.serde, value)))
        for task_id, writes in pending.items():
            await self._saver.aput_writes(at, writes, task_id)

    async def _undo(self, thread_id: str) -> None:
        await self._saver.adelete_thread(thread_id)
        await self._file.commit(lambda db: forget_thread(db, thread_id))


def _check_free(db: Database, target: str) -> None:
    for table in ("threads", "turns", "saver_lines"):
        if db.execute(f"SELECT 1 FROM {table} WHERE thread_id = ?", [target]).fetchone():  # noqa: S608
            raise UsageError(
                f"thread {target} exists already; import it under another name with --as ID"
            )


def _insert(db: Database, path: Path, source: str, target: str) -> None:
    """The thread's row, its turns and further rows; within one transaction."""
    tables = set(tables_of_threads(db)) - OWN_RECORDS
    suffix = ""
    for record in of_thread(path, source):
        kind = record.pop("kind")
        if kind == "thread":
            used = db.execute("SELECT 1 + coalesce(max(last_used), 0) FROM threads").fetchone()[0]
            _put_row(db, path, "threads", {**record, "thread_id": target, "last_used": used})
        elif kind == "turn":
            if not suffix and _taken(db, record["turn_id"]):
                suffix = f".{target}"  # as in a fork: the steps' turn is the original
            decision = record.get("decision")
            if isinstance(decision, dict):
                record["decision"] = json.dumps(decision, ensure_ascii=False)
            if record["status"] == "running":
                record["status"] = "interrupted"
            record["turn_id"] += suffix
            _put_row(db, path, "turns", {**record, "thread_id": target})
        elif kind == "row":
            if record["table"] not in tables:
                raise newer_state(f"{path} has rows of a table {record['table']}")
            row = {name: _bytes(value) for name, value in record["row"].items()}
            if isinstance(row.get("turn_id"), str):
                row["turn_id"] += suffix
            _put_row(db, path, record["table"], {**row, "thread_id": target})


def _taken(db: Database, turn_id: str) -> bool:
    return db.execute("SELECT 1 FROM turns WHERE turn_id = ?", [turn_id]).fetchone() is not None


def _put_row(db: Database, path: Path, table: str, row: dict[str, Any]) -> None:
    known = {column.name for column in db.table(table).columns}
    if unknown := set(row) - known:
        raise newer_state(f"{path} has {', '.join(sorted(unknown))} in {table}")
    columns, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(row))
    sql = f'INSERT INTO "{table}" ({columns}) VALUES ({marks})'  # noqa: S608 - known names
    db.execute(sql, list(row.values()))


def _bytes(value: Any) -> Any:
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else value
