"""One SQLite file, reached through sqlite-utils over one connection.

SQLite calls block, and several writers in one process collide ("database is locked"): a file has
one connection and one system thread, where long work is done. Brief work is done on the event
loop that asks for it when the connection is free, because a change of threads takes longer than
a small write; when another process writes, it is left to the thread, which can wait. Writes that
wait together are committed together.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rolecall.database_errors import file_error, state_error
from rolecall.errors import StateError
from rolecall.schema_version import check_version, stamp_version
from rolecall.write_queue import BulkWriter, Write, WriteQueue, write_all

if TYPE_CHECKING:
    from rolecall.sqlite import Database, Migrations

T = TypeVar("T")

_BUSY_TIMEOUT_MS = 30_000
_PAUSE_S = 0.01
_WAL_BYTES = 4 * 1024 * 1024
_COMMITS_PER_CHECKPOINT = 100


class TakesLong(Exception):
    """Brief work found more to do than an event loop has time for: it is left to the thread."""


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
        self._free = threading.Lock()  # held by who uses the connection
        self._database: Database | None = None
        self._patience_ms = _BUSY_TIMEOUT_MS
        self._writes = WriteQueue()
        self._woken = False
        self._called: asyncio.AbstractEventLoop | None = None
        self._uncopied = 0
        self._closed = threading.Event()
        self._process = os.getpid()
        self.rollbacks = 0
        """How many transactions of this connection were given up."""
        self.on_loop = False
        """Whether the work that runs is done on an event loop; it may raise ``TakesLong``."""

    # --- on the file's thread ------------------------------------------------------------------

    async def run(self, work: Callable[[Database], T]) -> T:
        """Await ``work(database)`` on the file's thread.

        Raises:
            StateError: the file cannot be read or written.
        """
        return await asyncio.wrap_future(self.submit(work))

    def submit(self, work: Callable[[Database], T]) -> Future[T]:
        """Queue ``work(database)``; statements run in the order in which they were queued."""
        self._must_be_ours()
        return self._thread.submit(self._run_here, work)

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
        self._must_be_ours()
        outcome: Future[T] = Future()
        self._writes.add(Write(work, outcome=outcome))
        self._wake()
        return outcome

    def submit_item(self, bulk: BulkWriter, item: Any) -> Future[None]:
        """Queue an item; those that wait for the same bulk writer are handed to it together."""
        self._must_be_ours()
        outcome: Future[None] = Future()
        self._writes.add(Write(bulk=bulk, item=item, outcome=outcome))
        self._wake()
        return outcome

    # --- brief: on the event loop where the connection is free -----------------------------------

    async def read(self, work: Callable[[Database], T]) -> T:
        """:meth:`run` for work that takes well under a millisecond."""
        if self._database is not None and self._free.acquire(blocking=False):
            try:
                if not self._writes or (self._writes.brief and self._commit_queued(on_loop=True)):
                    return self._guarded(work, on_loop=True)
            except (TakesLong, StateError):
                pass  # the thread can wait, and says what is wrong
            finally:
                self._free.release()
        return await self.run(work)

    def commit_soon(self, work: Callable[[Database], T]) -> asyncio.Future[T]:
        """:meth:`commit` for work that takes well under a millisecond; from an event loop.

        It is queued when this returns, and committed when the future is done.
        """
        return self._soon(Write(work, brief=True))

    async def add(self, bulk: BulkWriter, item: Any, patience_s: float = 0.0) -> None:
        """Await that an item is committed; those that wait for one bulk writer go together.

        Args:
            bulk: writes it, briefly.
            item: what to write.
            patience_s: how long it waits for a next write that commits it along, in seconds.
        """
        if patience_s <= 0.0:
            await self._soon(Write(bulk=bulk, item=item, brief=True))
            return
        outcome = self._queued(Write(bulk=bulk, item=item, brief=True))
        timer = outcome.get_loop().call_later(patience_s, self._commit_on_loop)
        try:
            await outcome
        finally:
            timer.cancel()

    def _queued(self, write: Write) -> asyncio.Future[Any]:
        self._must_be_open()
        write.outcome = outcome = asyncio.get_running_loop().create_future()
        self._writes.add(write)
        return outcome

    def _soon(self, write: Write) -> asyncio.Future[Any]:
        outcome = self._queued(write)
        loop = outcome.get_loop()
        if self._called is not loop:  # what else is queued until then goes along
            self._called = loop
            loop.call_soon(self._commit_on_loop)
        return outcome

    def _must_be_open(self) -> None:
        self._must_be_ours()
        if self._closed.is_set():
            raise RuntimeError(f"{self.path.name} was closed")

    def _must_be_ours(self) -> None:
        if os.getpid() != self._process:  # its thread is not in a forked process
            raise RuntimeError(f"a forked process opens {self.path.name} itself")

    def _commit_on_loop(self) -> None:
        self._called = None  # first: what is queued from here on calls again
        if not self._writes:
            return
        usable = self._database is not None and self._writes.brief
        if not usable or not self._free.acquire(blocking=False):
            self._wake()
            return
        try:
            done = self._commit_queued(on_loop=True)
        finally:
            self._free.release()
        if not done:
            self._wake()

    # --- work ------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Commit what waits on the thread; one waking serves all queued before it is heard."""
        if not self._woken:
            self._woken = True
            self._thread.submit(self._commit_here)

    def _commit_here(self) -> None:
        self._woken = False  # first: what is queued from here on wakes again
        with self._free:
            self._commit_queued()

    def _run_here(self, work: Callable[[Database], T]) -> T:
        with self._free:
            if self._writes:
                self._commit_queued()
            return self._guarded(work)

    def _commit_queued(self, *, on_loop: bool = False) -> bool:
        """Commit what waits; ``False``: the thread has to do it."""
        batch = self._writes.take()
        if not batch:
            return True  # an earlier batch took it along
        problem = self._committed(batch, on_loop=on_loop)
        if problem is not None and on_loop:
            self._writes.put_back(batch)
            return False
        alone = problem is not None and len(batch) > 1
        for write in batch:
            write.settle(self._committed([write]) if alone else problem)
        return True

    def _committed(self, batch: list[Write], *, on_loop: bool = False) -> BaseException | None:
        """Write a batch in one transaction; what went wrong, if anything did."""

        def write(database: Database) -> None:
            with writing(database):
                write_all(database, batch)

        try:
            self._guarded(write, on_loop=on_loop)
        except BaseException as error:
            self.rollbacks += 1
            return error
        self._uncopied += 1
        if self._uncopied >= _COMMITS_PER_CHECKPOINT and not self._closed.is_set():
            self._uncopied = 0
            self._thread.submit(self._run_here, _copy_log)
        return None

    def _guarded(self, work: Callable[[Database], T], *, on_loop: bool = False) -> T:
        self.on_loop = on_loop
        try:
            return work(self._open(0 if on_loop else _BUSY_TIMEOUT_MS))
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise state_error(self.path, error) from error
        except OSError as error:
            raise file_error("use", self.path, error) from error

    # --- opening and closing ---------------------------------------------------------------------

    def close(self) -> None:
        """Finish what is queued and close the file. May be called twice."""
        if self._closed.is_set() or os.getpid() != self._process:
            return
        self._closed.set()
        self._thread.submit(self._close_here).result()
        self._thread.shutdown(wait=True)

    def _close_here(self) -> None:
        with self._free:
            self._commit_queued()
            if self._database is not None:
                self._database.close()
                self._database = None

    def _open(self, patience_ms: int) -> Database:
        if self._database is None:
            from rolecall.sqlite import Database

            connection = sqlite3.connect(self.path, check_same_thread=False)
            _wait_up_to(connection, _BUSY_TIMEOUT_MS)
            database = Database(connection)
            try:
                check_version(database, self.path, self._migrations)
                _give_space_back(connection)
                _enable_wal(database)
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.execute("PRAGMA wal_autocheckpoint=0")  # it would stop an event loop
                connection.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
                if self._migrations.pending(database):
                    with writing(database):  # one process migrates, the others then find it done
                        self._migrations.apply(database)
                        stamp_version(database, self._migrations)
            except BaseException:
                connection.close()
                raise
            self._database = database
        if patience_ms != self._patience_ms:
            _wait_up_to(self._database.conn, patience_ms)
            self._patience_ms = patience_ms
        return self._database


@contextmanager
def writing(database: Database) -> Iterator[None]:
    """A transaction that may write, from its first statement on.

    A transaction that reads first and then writes fails at once when another process wrote in
    between; this one waits for its turn.
    """
    execute = database.conn.execute
    execute("BEGIN IMMEDIATE")
    try:
        yield
        execute("COMMIT")
    except BaseException:
        database.rollback()
        raise


def _wait_up_to(connection: sqlite3.Connection, patience_ms: int) -> None:
    connection.execute(f"PRAGMA busy_timeout={patience_ms}")


def _copy_log(database: Database) -> None:
    """Copy what the write-ahead log holds into the database; readers and writers go on."""
    database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


def _give_space_back(connection: sqlite3.Connection) -> None:
    """Let a new file shrink again; for one that has tables it is too late."""
    if connection.execute("PRAGMA page_count").fetchone() == (0,):
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")


def _enable_wal(database: Database) -> None:
    # SQLite does not wait when two connections switch a new file at once
    until = time.monotonic() + _BUSY_TIMEOUT_MS / 1000.0
    while True:
        try:
            return database.enable_wal()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(_PAUSE_S)
