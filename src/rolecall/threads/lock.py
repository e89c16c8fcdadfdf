"""One turn at a time per thread, across tasks and processes.

The operating system drops a dead holder's file lock, so a killed process never blocks a thread.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from rolecall.database import file_error
from rolecall.errors import ThreadBusy

_POLL_S = 0.05


@asynccontextmanager
async def thread_lock(folder: Path, thread_id: str, wait_s: float) -> AsyncIterator[None]:
    """Hold a thread while one turn runs.

    Args:
        folder: where lock files are kept.
        thread_id: the thread.
        wait_s: how long to wait for a running turn to end.

    Raises:
        ThreadBusy: another turn holds the thread; says which process, since when.
        StateError: the lock file cannot be written.
    """
    lock = FileLock(folder / f"{thread_id}.lock", thread_local=False)
    holder = folder / f"{thread_id}.holder"
    until = time.monotonic() + wait_s
    while True:
        try:
            lock.acquire(blocking=False)
            break
        except Timeout:
            if time.monotonic() >= until:
                raise ThreadBusy(_busy(thread_id, holder)) from None
            await asyncio.sleep(_POLL_S)
        except OSError as error:
            raise file_error("lock", Path(lock.lock_file), error) from error
    try:
        _write_holder(holder)
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _write_holder(holder: Path) -> None:
    try:
        holder.write_text(json.dumps({"pid": os.getpid(), "since": time.time()}))
    except OSError as error:
        raise file_error("write", holder, error) from error


def _busy(thread_id: str, holder: Path) -> str:
    try:
        info = json.loads(holder.read_text())
        since = time.strftime("%H:%M:%S", time.localtime(info["since"]))
        who = f"by process {info['pid']} since {since}"
    except (OSError, ValueError, KeyError, TypeError):
        who = "by another process"
    return (
        f"thread {thread_id} is busy: a turn is being answered {who}. "
        "Wait for it, or ask on another thread with --thread."
    )
