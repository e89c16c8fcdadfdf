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
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rolecall.errors import StateError

if TYPE_CHECKING:
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations

T = TypeVar("T")
_Write = tuple["Callable[[Database], Any]", "Future[Any]"]

_BUSY_TIMEOUT_S = 30.0
_PAUSE_S = 0.01


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

        Writes that wait at the same time share one transaction. Each has a savepoint: one that
        raises leaves nothing behind and does not disturb the others. ``work`` must not begin or
        end transactions itself.

        Raises:
            StateError: the file cannot be written; nothing of ``work`` was kept.
        """
        return await asyncio.wrap_future(self.submit_write(work))

    def submit_write(self, work: Callable[[Database], T]) -> Future[T]:
        """Queue a write; the future is done once it is committed."""
        outcome: Future[T] = Future()
        self._writes.append((work, outcome))
        self._thread.submit(self._commit_queued)
        return outcome

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
        batch: list[_Write] = []
        while self._writes:
            work, outcome = self._writes.popleft()
            if outcome.set_running_or_notify_cancel():
                batch.append((work, outcome))
        if not batch:
            return  # an earlier batch took it along
        results: list[tuple[Any, BaseException | None]] = []
        try:
            self._guarded(lambda db: _write_all(db, [work for work, _ in batch], results))
        except BaseException as error:  # nothing was committed
            results = [(None, error)] * len(batch)
        for (_, outcome), (result, problem) in zip(batch, results, strict=True):
            if problem is None:
                outcome.set_result(result)
            else:
                outcome.set_exception(self._named(problem))

    def _named(self, error: BaseException) -> BaseException:
        return state_error(self.path, error) if isinstance(error, sqlite3.Error) else error

    def _open(self) -> Database:
        if self._database is None:
            from sqlite_utils import Database

            connection = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S)
            database = Database(connection)
            try:
                _enable_wal(database)
                connection.execute("PRAGMA synchronous=NORMAL")
                if self._migrations.pending(database):
                    with writing(database):  # one process migrates, the others then find it done
                        self._migrations.apply(database)
            except BaseException:
                connection.close()
                raise
            self._database = database
        return self._database

    def _close_here(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def _write_all(
    database: Database,
    works: list[Callable[[Database], Any]],
    results: list[tuple[Any, BaseException | None]],
) -> None:
    with writing(database):
        for work in works:
            database.execute("SAVEPOINT one_write")
            try:
                results.append((work(database), None))
            except Exception as error:
                if not database.conn.in_transaction:  # SQLite gave the whole transaction up
                    raise
                database.execute("ROLLBACK TO one_write")
                results.append((None, error))
            database.execute("RELEASE one_write")


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
            f"it is damaged. Move {path.name} (and {path.name}-wal, -shm) away to start afresh; "
            f"sqlite3 {path.name} .recover may bring the content back"
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
