"""One turn at a time per thread, across tasks, system threads and processes.

First come, first served, also between processes. A process that dies, holding or waiting, is out
of the line at once: the operating system drops its locks. Needs a file system of this machine.

A coroutine whose event loop is gone leaves when it is garbage collected, which may happen in the
midst of anything this system thread does here: what it leaves is then left when that is done.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from rolecall.database_errors import file_error
from rolecall.errors import StateError, ThreadBusy
from rolecall.threads.lock_file import Holder, LockFile
from rolecall.threads.waiting_line import Line, Waiter

FILE = "threads"

_mutex = threading.RLock()
_in_a_line = False  # whether a line is being changed, by who holds the mutex
_files: dict[Path, tuple[LockFile, int]] = {}  # with the number of lines that use it
_lines: dict[tuple[Path, str], Line] = {}
_leaving: deque[tuple[Path, str, Line, Waiter | None]] = deque()


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
        await _wait_in_line(folder, thread_id, line, waiter, time.monotonic() + wait_s)
    try:
        yield
    finally:
        _leave(folder, thread_id, line, None)


def holder_of(folder: Path, thread_id: str) -> str | None:
    """Who runs a turn on a thread now, in words; ``None`` if nobody does. Disturbs nobody.

    Raises:
        StateError: the lock file cannot be used.
    """
    if not (folder / FILE).exists():
        return None
    with _line(folder, thread_id) as line:
        return _who(line.holder) if line.busy else None


async def _wait_in_line(
    folder: Path, thread_id: str, line: Line, waiter: Waiter, until: float
) -> None:
    try:
        while True:
            with _line(folder, thread_id):
                ahead = line.advance(waiter)
                if waiter.granted:
                    return
                if time.monotonic() >= until:
                    raise _busy(line, thread_id)
            await waiter.wait(ahead, until)
    except BaseException:
        _leave(folder, thread_id, line, waiter)
        raise


def _leave(folder: Path, thread_id: str, line: Line, waiter: Waiter | None) -> None:
    """Give up waiting; or, without a waiter, give the thread back."""
    with _mutex:
        if _in_a_line:
            _leaving.append((folder, thread_id, line, waiter))
        elif _lines.get((folder, thread_id)) is line:  # or it was passed over, or is a parent's
            with _line(folder, thread_id):
                line.release() if waiter is None else line.leave(waiter)


@contextmanager
def _line(folder: Path, thread_id: str) -> Iterator[Line]:
    """This process's line for a thread, kept for as long as somebody is in it."""
    global _in_a_line
    with _mutex:
        _in_a_line = True
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
        finally:
            _in_a_line = False
            while _leaving:
                with suppress(StateError):  # of somebody else's
                    _leave(*_leaving.popleft())


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
    global _mutex, _in_a_line
    _mutex, _in_a_line = threading.RLock(), False
    _leaving.clear()
    for file, _ in _files.values():
        with suppress(OSError):
            file.close()
    _files.clear()
    _lines.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parents)
