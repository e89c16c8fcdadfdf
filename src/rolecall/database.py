"""One SQLite file, reached through sqlite-utils from one thread of its own.

SQLite calls block, and several writers in one process collide ("database is locked"): every
statement of a file runs on that file's thread, and the event loop only awaits it. Writes that
wait together are committed together.
"""

from __future__ import annotations

import asyncio
import errno
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rolecall.errors import StateError
from rolecall.schema_version import check_version, stamp_version

if TYPE_CHECKING:
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations

T = TypeVar("T")

_BUSY_TIMEOUT_S = 30.0
_PAUSE_S = 0.01
_WAL_BYTES = 4 * 1024 * 1024


class BulkWriter(Protocol):
    """Writes many items with few statements."""

    def write(self, db: Database, items: Sequence[Any]) -> None:
        """Write all items, within a transaction; it may be called again after a rollback."""
        ...


@dataclass
class _Write:
    """A write that waits: ``work``, or an item for a bulk writer."""

    work: Callable[[Database], Any] | None = None
    bulk: BulkWriter | None = None
    item: Any = None
    outcome: Future[Any] = field(default_factory=Future)
    result: Any = None


class DatabaseFile:
    """A database file, opened and migrated on first use.

    Args:
        path: the file; its folder must exist.
        migrations: applied before the first statement, in one transaction each.
    """

    def __init__(self, path: Path, migrations: Migrations) -> None:
        self.path = path
        self._migrations = migrations
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=path.stem)
        self._database: Database | None = None
        self._writes: deque[_Write] = deque()
        self._woken = False
        self.rollbacks = 0
        """How many transactions of this connection were given up."""
        self._closed = threading.Event()

    async def run(self, work: Callable[[Database], T]) -> T:
        """Await ``work(database)`` on the file's thread.

        Raises:
            StateError: the file cannot be read or written.
        """
        return await asyncio.wrap_future(self.submit(work))

    def submit(self, work: Callable[[Database], T]) -> Future[T]:
        """Queue ``work(database)``; statements run in the order in which they were queued."""
        return self._thread.submit(self._guarded, work)

    async def commit(self, work: Callable[[Database], T]) -> T:
        """Await ``work(database)`` in a transaction; it is committed when this returns.

        Writes that wait at the same time share one transaction. When one of them raises, that
        transaction is rolled back and each is tried in one of its own: ``work`` may run twice,
        and must not begin or end transactions itself.

        Raises:
            StateError: the file cannot be written; nothing of ``work`` was kept.
        """
        return await asyncio.wrap_future(self.submit_write(work))

    def submit_write(self, work: Callable[[Database], T]) -> Future[T]:
        """Queue a write; the future is done once it is committed."""
        return self._queued(_Write(work=work), wake=True)

    def submit_item(self, bulk: BulkWriter, item: Any, *, wake: bool = True) -> Future[None]:
        """Queue an item; those that wait for the same bulk writer are handed to it together.

        Args:
            bulk: writes it.
            item: what to write.
            wake: ``False`` leaves it to the next write, or to :meth:`wake`, to commit it.
        """
        return self._queued(_Write(bulk=bulk, item=item), wake=wake)

    def wake(self) -> None:
        """Commit what waits; one waking serves all that is queued before it is heard."""
        if not self._woken:
            self._woken = True
            self._thread.submit(self._commit_queued)

    def _queued(self, write: _Write, *, wake: bool) -> Future[Any]:
        self._writes.append(write)
        if wake:
            self.wake()
        return write.outcome

    def close(self) -> None:
        """Finish what is queued and close the file. May be called twice."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._thread.submit(self._close_here).result()
        self._thread.shutdown(wait=True)

    def _guarded(self, work: Callable[[Database], T]) -> T:
        try:
            return work(self._open())
        except sqlite3.Error as error:
            raise state_error(self.path, error) from error
        except OSError as error:
            raise file_error("use", self.path, error) from error

    def _commit_queued(self) -> None:
        self._woken = False  # first: what is queued from here on wakes again
        batch: list[_Write] = []
        while self._writes:
            write = self._writes.popleft()
            if write.outcome.set_running_or_notify_cancel():
                batch.append(write)
        if not batch:
            return  # an earlier batch took it along
        problem = self._committed(batch)
        if problem is None:
            for write in batch:
                write.outcome.set_result(write.result)
        elif len(batch) == 1:
            batch[0].outcome.set_exception(problem)
        else:
            for write in batch:
                if (alone := self._committed([write])) is None:
                    write.outcome.set_result(write.result)
                else:
                    write.outcome.set_exception(alone)

    def _committed(self, batch: list[_Write]) -> BaseException | None:
        """Write a batch in one transaction; what went wrong, if anything did."""
        try:
            self._guarded(lambda db: _write_all(db, batch))
        except BaseException as error:
            self.rollbacks += 1
            return error
        return None

    def _open(self) -> Database:
        if self._database is None:
            from sqlite_utils import Database

            connection = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S)
            database = Database(connection)
            try:
                check_version(database, self.path, self._migrations)
                _give_space_back(connection)
                _enable_wal(database)
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
                if self._migrations.pending(database):
                    with writing(database):  # one process migrates, the others then find it done
                        self._migrations.apply(database)
                        stamp_version(database, self._migrations)
            except BaseException:
                connection.close()
                raise
            self._database = database
        return self._database

    def _close_here(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def _write_all(database: Database, batch: list[_Write]) -> None:
    bulks: dict[int, tuple[BulkWriter, list[Any]]] = {}
    with writing(database):
        for write in batch:
            if write.work is not None:
                write.result = write.work(database)
            elif write.bulk is not None:
                bulks.setdefault(id(write.bulk), (write.bulk, []))[1].append(write.item)
        for bulk, items in bulks.values():
            bulk.write(database, items)


@contextmanager
def writing(database: Database) -> Iterator[None]:
    """A transaction that may write, from its first statement on.

    A transaction that reads first and then writes fails at once when another process wrote in
    between; this one waits for its turn.
    """
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        database.rollback()
        raise


def _give_space_back(connection: sqlite3.Connection) -> None:
    """Let a new file shrink again; for one that has tables it is too late."""
    if connection.execute("PRAGMA page_count").fetchone() == (0,):
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")


def _enable_wal(database: Database) -> None:
    # SQLite does not wait when two connections switch a new file at once
    until = time.monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            return database.enable_wal()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(_PAUSE_S)


def state_error(path: Path, error: sqlite3.Error) -> StateError:
    """What a database error means to the user, and what to do about it."""
    text = str(error)
    if "malformed" in text or "not a database" in text:
        remedy = (
            "it is damaged. rolecall threads check --repair saves what can be read of threads and "
            f"traces. Move {path.name} (and {path.name}-wal, -shm) away to start afresh"
        )
    elif "readonly" in text or "read-only" in text:
        remedy = "it is read-only. Give it write permission, or set ROLECALL_HOME elsewhere"
    elif "full" in text:
        remedy = "the disk is full. Free some space and run: rolecall resume"
    elif "unable to open" in text:
        remedy = "it cannot be opened. Check that the folder exists and is writable"
    elif "I/O error" in text:
        remedy = "the disk does not read or write it. Check the disk and its free space"
    elif "locked" in text:
        remedy = "another process holds it. Wait for it, or stop it"
    else:
        return StateError(f"{path}: {text}")
    return StateError(f"{path}: {remedy} ({text})")


def file_error(verb: str, path: Path, error: OSError) -> StateError:
    """What a failing file means to the user, and what to do about it."""
    if error.errno == errno.ENOSPC:
        remedy = "Free some space, then try again"
    else:
        remedy = "Check that you can write there, or set ROLECALL_HOME elsewhere"
    return StateError(f"cannot {verb} {path}: {error.strerror or error}. {remedy}.")
