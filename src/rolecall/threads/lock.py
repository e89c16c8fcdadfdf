"""One turn at a time per thread, across tasks, system threads and processes.

First come, first served, also between processes. A process that dies, holding or waiting, is out
of the line at once: the operating system drops its locks. Needs a file system of this machine.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from rolecall.database_errors import file_error
from rolecall.errors import ThreadBusy
from rolecall.threads.lock_file import Holder, LockFile
from rolecall.threads.waiting_line import Line, Waiter

FILE = "threads"

_mutex = threading.Lock()
_files: dict[Path, tuple[LockFile, int]] = {}  # with the number of lines that use it
_lines: dict[tuple[Path, str], Line] = {}


@asynccontextmanager
async def thread_lock(folder: Path, thread_id: str, wait_s: float) -> AsyncIterator[None]:
    """Hold a thread while one turn runs.

    Args:
        folder: where the lock file is kept.
        thread_id: the thread.
        wait_s: how long to wait in line, in seconds.

    Raises:
        ThreadBusy: another turn holds the thread; says which process, since when.
        StateError: the lock file cannot be used.
    """
    with _line(folder, thread_id) as line:
        free = line.take()
        if not free and wait_s <= 0:
            raise _busy(line, thread_id)
        waiter = None if free else line.join()
    if waiter is not None:
        await _wait_in_line(folder, thread_id, waiter, time.monotonic() + wait_s)
    try:
        yield
    finally:
        with _line(folder, thread_id) as line:
            line.release()


def holder_of(folder: Path, thread_id: str) -> str | None:
    """Who runs a turn on a thread now, in words; ``None`` if nobody does. Disturbs nobody.

    Raises:
        StateError: the lock file cannot be used.
    """
    if not (folder / FILE).exists():
        return None
    with _line(folder, thread_id) as line:
        return _who(line.holder) if line.busy else None


async def _wait_in_line(folder: Path, thread_id: str, waiter: Waiter, until: float) -> None:
    try:
        while True:
            with _line(folder, thread_id) as line:
                ahead = line.advance(waiter)
                if waiter.granted:
                    return
                if time.monotonic() >= until:
                    raise _busy(line, thread_id)
            await waiter.wait(ahead, until)
    except BaseException:
        with _line(folder, thread_id) as line:
            line.leave(waiter)
        raise


@contextmanager
def _line(folder: Path, thread_id: str) -> Iterator[Line]:
    """This process's line for a thread, kept for as long as somebody is in it."""
    with _mutex:
        try:
            line = _lines.get((folder, thread_id))
            if line is None:
                file, users = _files.get(folder) or (LockFile(folder / FILE), 0)
                _files[folder] = (file, users + 1)
                line = _lines[folder, thread_id] = Line(file, thread_id)
            try:
                yield line
            finally:
                if line.empty:
                    _forget(folder, thread_id)
        except OSError as error:
            raise file_error("lock", folder / FILE, error) from error


def _forget(folder: Path, thread_id: str) -> None:
    del _lines[folder, thread_id]
    file, users = _files.pop(folder)
    if users > 1:
        _files[folder] = (file, users - 1)
    else:
        file.close()


def _busy(line: Line, thread_id: str) -> ThreadBusy:
    return ThreadBusy(
        f"thread {thread_id} is busy: a turn is being answered {_who(line.holder)}. "
        "Wait for it, or ask on another thread with --thread."
    )


def _who(holder: Holder | None) -> str:
    if holder is None:
        return "by another process"
    with suppress(ValueError, OverflowError, OSError):  # a time that no calendar has
        since = time.localtime(holder.since)
        today = since[:3] == time.localtime()[:3]
        at = time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", since)
        return f"by process {holder.pid} ({holder.program}) since {at}"
    return f"by process {holder.pid} ({holder.program})"


def _forget_parents() -> None:
    """A forked process holds nothing: what it inherits is its parent's."""
    global _mutex
    _mutex = threading.Lock()
    for file, _ in _files.values():
        with suppress(OSError):
            file.close()
    _files.clear()
    _lines.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents)
