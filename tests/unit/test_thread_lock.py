"""One turn at a time per thread: between tasks, threads and processes, dead ones excepted."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rolecall.errors import StateError, ThreadBusy
from rolecall.threads.lock import thread_lock

HOLDER = """
import asyncio, sys
from pathlib import Path
from rolecall.threads.lock import thread_lock

async def main():
    async with thread_lock(Path(sys.argv[1]), "t", 0.0):
        print("held", flush=True)
        await asyncio.sleep(float(sys.argv[2]))

asyncio.run(main())
"""


@contextmanager
def holder(folder: Path, seconds: float = 30) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the thread ``t``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def test_a_second_task_is_refused(tmp_path: Path) -> None:
    async with thread_lock(tmp_path, "t", 0.0):
        with pytest.raises(ThreadBusy, match=f"process {os.getpid()}"):
            async with thread_lock(tmp_path, "t", 0.0):
                pass
        async with thread_lock(tmp_path, "other", 0.0):
            pass
    async with thread_lock(tmp_path, "t", 0.0):
        pass


async def test_a_second_system_thread_is_refused(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    async def take() -> None:
        async with thread_lock(tmp_path, "t", 0.0):
            pass

    def other() -> None:
        try:
            asyncio.run(take())
        except ThreadBusy as error:
            failures.append(error)

    async with thread_lock(tmp_path, "t", 0.0):
        thread = threading.Thread(target=other)
        thread.start()
        await asyncio.to_thread(thread.join)
    assert [type(f) for f in failures] == [ThreadBusy]


async def test_another_process_is_named_with_its_pid_and_since_when(tmp_path: Path) -> None:
    with holder(tmp_path) as process, pytest.raises(ThreadBusy) as busy:
        async with thread_lock(tmp_path, "t", 0.0):
            pass
    message = str(busy.value)
    assert f"process {process.pid} since " in message
    assert re.search(r"since \d\d:\d\d:\d\d", message)
    assert "--thread" in message
    assert busy.value.exit_code == 6


async def test_a_killed_holder_frees_the_thread(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        async with thread_lock(tmp_path, "t", 0.0):
            holder_file = (tmp_path / "t.holder").read_text()
    assert json.loads(holder_file)["pid"] == os.getpid()


async def test_waiting_gets_the_thread_when_the_holder_ends(tmp_path: Path) -> None:
    with holder(tmp_path, 0.5):
        started = time.monotonic()
        async with thread_lock(tmp_path, "t", 20.0):
            assert time.monotonic() - started > 0.2


async def test_waiting_has_an_end(tmp_path: Path) -> None:
    async with thread_lock(tmp_path, "t", 0.0):
        started = time.monotonic()
        with pytest.raises(ThreadBusy):
            async with thread_lock(tmp_path, "t", 0.3):
                pass
        assert 0.25 < time.monotonic() - started < 3


async def test_waiting_does_not_block_the_event_loop(tmp_path: Path) -> None:
    ticks = 0
    async with thread_lock(tmp_path, "t", 0.0):
        waiting = asyncio.create_task(anext_enter(tmp_path))
        for _ in range(10):
            await asyncio.sleep(0.02)
            ticks += 1
        assert not waiting.done()
    await waiting
    assert ticks == 10


async def anext_enter(folder: Path) -> None:
    async with thread_lock(folder, "t", 5.0):
        pass


async def test_only_one_of_many_holds_it_at_a_time(tmp_path: Path) -> None:
    inside = 0
    most = 0

    async def take() -> None:
        nonlocal inside, most
        async with thread_lock(tmp_path, "t", 30.0):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1

    await asyncio.gather(*(take() for _ in range(8)))
    assert most == 1


async def test_a_failure_or_a_cancel_inside_gives_it_back(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        async with thread_lock(tmp_path, "t", 0.0):
            raise KeyError
    task = asyncio.create_task(anext_enter(tmp_path))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with thread_lock(tmp_path, "t", 0.0):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"pid": 1, "since": "x"}'])
async def test_a_damaged_holder_file_does_not_hide_the_message(
    tmp_path: Path, content: str
) -> None:
    async with thread_lock(tmp_path, "t", 0.0):
        (tmp_path / "t.holder").write_text(content)
        with pytest.raises(ThreadBusy, match="by another process"):
            async with thread_lock(tmp_path, "t", 0.0):
                pass


async def test_a_folder_that_cannot_hold_locks_is_a_state_error(tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("a file, not a folder")
    with pytest.raises(StateError, match="cannot lock"):
        async with thread_lock(tmp_path / "locks", "t", 0.0):
            pass
