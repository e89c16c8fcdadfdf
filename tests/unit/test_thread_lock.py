"""One turn at a time per thread: between tasks, threads and processes, first come, first served."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from rolecall.errors import StateError, ThreadBusy
from rolecall.threads import lock, waiting_line
from rolecall.threads.lock import holder_of, thread_lock
from rolecall.threads.lock_file import LockFile, range_of
from rolecall.threads.waiting_line import Line

TAKER = """
import asyncio, sys
from pathlib import Path
from rolecall.threads.lock import thread_lock

async def main():
    folder, name, wait_s, seconds = Path(sys.argv[1]), *sys.argv[2:5]
    print("starts", flush=True)
    async with thread_lock(folder, "t", float(wait_s)):
        print("held", flush=True)
        with (folder / "order").open("a") as order:
            order.write(name)
        await asyncio.sleep(float(seconds))

asyncio.run(main())
"""


@contextmanager
def taker(
    folder: Path, seconds: float = 30, *, name: str = "x", wait_s: float = 0.0
) -> Iterator[subprocess.Popen[str]]:
    """Another process that takes, or waits for, the thread ``t``."""
    process = subprocess.Popen(
        [sys.executable, "-c", TAKER, str(folder), name, str(wait_s), str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "starts\n"
        if not wait_s:
            assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def open_files() -> int:
    return psutil.Process().num_fds()


def waiting(folder: Path) -> int:
    """How many tickets for the thread ``t`` are held, in any process."""
    file, gate = LockFile(folder / lock.FILE), range_of("t")
    tickets = [n for n in range(1, 40) if file.taken(gate + n, gate + n + 1)]
    file.close()
    return len(tickets)


async def eventually(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.005)


async def take(folder: Path, wait_s: float = 20.0, seconds: float = 0.0) -> None:
    async with thread_lock(folder, "t", wait_s):
        await asyncio.sleep(seconds)


# --- who is refused, and in what words --------------------------------------------------------


async def test_a_second_task_is_refused(tmp_path: Path) -> None:
    async with thread_lock(tmp_path, "t", 0.0):
        with pytest.raises(ThreadBusy, match=f"process {os.getpid()}"):
            await take(tmp_path, 0.0)
    await take(tmp_path, 0.0)


async def test_threads_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with taker(tmp_path), ExitStack():
        for number in range(200):
            async with thread_lock(tmp_path, f"other-{number}", 0.0):
                pass


async def test_a_second_system_thread_is_refused(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def other() -> None:
        try:
            asyncio.run(take(tmp_path, 0.0))
        except ThreadBusy as error:
            failures.append(error)

    async with thread_lock(tmp_path, "t", 0.0):
        thread = threading.Thread(target=other)
        thread.start()
        await asyncio.to_thread(thread.join)
    assert [type(f) for f in failures] == [ThreadBusy]


async def test_another_process_is_named_with_its_pid_program_and_since_when(
    tmp_path: Path,
) -> None:
    with taker(tmp_path) as process, pytest.raises(ThreadBusy) as busy:
        await take(tmp_path, 0.0)
    message = str(busy.value)
    assert f"process {process.pid} (-c) since " in message
    assert re.search(r"since \d\d:\d\d:\d\d", message)
    assert "--thread" in message
    assert busy.value.exit_code == 6


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'["other", 1, 2.0, "x"]', b'["t", "x", 1, 1]', b"\xff"]
)
async def test_a_damaged_name_of_the_holder_does_not_hide_the_message(
    tmp_path: Path, content: bytes
) -> None:
    async with thread_lock(tmp_path, "t", 0.0):
        (tmp_path / lock.FILE).write_bytes(content)
        with pytest.raises(ThreadBusy, match="by another process"):
            await take(tmp_path, 0.0)


@pytest.mark.parametrize(
    ("since", "said"),
    [("1e300", r"\(x\)\. Wait"), ("86400.0", "since 1970-01-0"), ("9e9", "since 2255-")],
)
async def test_a_clock_that_jumped_does_not_break_the_message(
    tmp_path: Path, since: str, said: str
) -> None:
    async with thread_lock(tmp_path, "t", 0.0):
        file = LockFile(tmp_path / lock.FILE)
        file.sign("t", 0.0)
        file.close()
        raw = (tmp_path / lock.FILE).read_bytes()
        start = raw.index(b'["t"')
        fresh = f'["t", 7, {since}, "x"]'.encode().ljust(256)
        (tmp_path / lock.FILE).write_bytes(raw[:start] + fresh)
        with pytest.raises(ThreadBusy, match=said):
            await take(tmp_path, 0.0)


async def test_a_folder_that_cannot_hold_locks_is_a_state_error(tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("a file, not a folder")
    with pytest.raises(StateError, match="cannot lock"):
        await take(tmp_path / "locks")
    assert not lock._lines


async def test_who_holds_a_thread_can_be_asked_without_disturbing_it(tmp_path: Path) -> None:
    assert holder_of(tmp_path, "t") is None
    async with thread_lock(tmp_path, "t", 0.0):
        assert f"process {os.getpid()} " in str(holder_of(tmp_path, "t"))
        assert holder_of(tmp_path, "u") is None
    assert holder_of(tmp_path, "t") is None
    with taker(tmp_path) as process:
        assert f"process {process.pid} (-c) since" in str(holder_of(tmp_path, "t"))


# --- who dies -----------------------------------------------------------------------------------


async def test_a_killed_holder_frees_the_thread(tmp_path: Path) -> None:
    with taker(tmp_path) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        async with thread_lock(tmp_path, "t", 0.0):
            with pytest.raises(ThreadBusy, match=f"process {os.getpid()}"):
                await take(tmp_path, 0.0)


async def test_a_waiter_that_is_killed_or_stopped_leaves_no_gap_in_the_line(tmp_path: Path) -> None:
    with taker(tmp_path, 0.0, name="a", wait_s=20) as first:
        first.wait()
    async with thread_lock(tmp_path, "t", 0.0):
        with taker(tmp_path, wait_s=20) as killed:
            await eventually(lambda: waiting(tmp_path) == 1)
            last = asyncio.create_task(take(tmp_path))
            await asyncio.sleep(0.05)
            os.kill(killed.pid, signal.SIGKILL)
            killed.wait()
    await asyncio.wait_for(last, 5)


async def test_a_forked_child_does_not_hold_what_its_parent_holds(tmp_path: Path) -> None:
    async with thread_lock(tmp_path, "t", 0.0):
        child = os.fork()
        if child == 0:
            signal.pause()
    try:
        with taker(tmp_path, 0.0):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)  # noqa: ASYNC222


async def test_a_failure_or_a_cancel_inside_gives_it_back(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        async with thread_lock(tmp_path, "t", 0.0):
            raise KeyError
    task = asyncio.create_task(take(tmp_path, 5, 20))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await take(tmp_path, 0.0)


async def test_a_waiter_cancelled_just_when_it_is_its_turn_hands_on(tmp_path: Path) -> None:
    async with thread_lock(tmp_path, "t", 0.0):
        first, second = (asyncio.create_task(take(tmp_path)) for _ in range(2))
        await asyncio.sleep(0.02)
    first.cancel()  # granted by now, but it has not run yet
    await asyncio.wait_for(second, 1)
    assert first.cancelled()
    assert not lock._lines


async def test_a_waiter_whose_event_loop_is_gone_is_passed_over(tmp_path: Path) -> None:
    gone = asyncio.new_event_loop()
    async with thread_lock(tmp_path, "t", 0.0):

        def wait_elsewhere() -> None:
            task = gone.create_task(take(tmp_path))
            gone.run_until_complete(asyncio.sleep(0.05))
            gone.close()
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            kept.append(task)

        kept: list[asyncio.Task[None]] = []
        await asyncio.to_thread(wait_elsewhere)
        behind = asyncio.create_task(take(tmp_path))
        await asyncio.sleep(0.02)
    await asyncio.wait_for(behind, 5)


@pytest.mark.parametrize("held", [False, True], ids=["a waiter", "a holder"])
async def test_who_is_garbage_collected_while_a_line_is_used_leaves_it_afterwards(
    tmp_path: Path, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = asyncio.new_event_loop()
    kept: list[asyncio.Task[None]] = []
    left: list[object] = []
    busy = Line.busy.fget
    gc.collect()  # what other tests left

    def begin_elsewhere() -> None:
        kept.append(gone.create_task(take(tmp_path, seconds=60.0)))
        gone.run_until_complete(asyncio.sleep(0.02))
        gone.close()
        kept[0]._log_destroy_pending = False  # type: ignore[attr-defined]

    def busy_and_collected(line: Line) -> bool:
        kept.clear()
        gc.collect()
        left.extend(lock._leaving)
        return busy(line)

    async def look() -> str | None:
        with monkeypatch.context() as patch:
            patch.setattr(Line, "busy", property(busy_and_collected))
            return await asyncio.wait_for(asyncio.to_thread(holder_of, tmp_path, "t"), 10)

    if held:
        await asyncio.to_thread(begin_elsewhere)
        assert await look()
    else:
        async with thread_lock(tmp_path, "t", 0.0):
            await asyncio.to_thread(begin_elsewhere)
        async with thread_lock(tmp_path, "t", 0.0):  # it was passed over
            assert await look()
    assert len(left) == 1
    await take(tmp_path, 0.0)
    assert not lock._lines


# --- waiting ------------------------------------------------------------------------------------


async def test_waiting_gets_the_thread_soon_after_the_holder_ends(tmp_path: Path) -> None:
    with taker(tmp_path, 0.5):
        started = time.monotonic()
        async with thread_lock(tmp_path, "t", 20.0):
            assert time.monotonic() - started > 0.2


async def test_waiting_has_an_end(tmp_path: Path) -> None:
    async with thread_lock(tmp_path, "t", 0.0):
        started = time.monotonic()
        with pytest.raises(ThreadBusy):
            await take(tmp_path, 0.3)
        assert 0.25 < time.monotonic() - started < 3
    await take(tmp_path, 0.0)


async def test_waiting_does_not_block_the_event_loop(tmp_path: Path) -> None:
    ticks = 0
    async with thread_lock(tmp_path, "t", 0.0):
        behind = asyncio.create_task(take(tmp_path))
        for _ in range(10):
            await asyncio.sleep(0.02)
            ticks += 1
        assert not behind.done()
    await behind
    assert ticks == 10


async def test_tasks_are_served_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    served: list[int] = []
    inside = 0

    async def one(number: int) -> None:
        nonlocal inside
        async with thread_lock(tmp_path, "t", 30.0):
            inside += 1
            assert inside == 1
            served.append(number)
            await asyncio.sleep(0.002)
            inside -= 1

    await asyncio.gather(*(one(number) for number in range(20)))
    assert served == list(range(20))
    assert not lock._lines


async def test_event_loops_of_several_system_threads_take_turns(tmp_path: Path) -> None:
    inside = 0
    rounds = 0

    async def work() -> None:
        nonlocal inside, rounds
        for _ in range(10):
            async with thread_lock(tmp_path, "t", 30.0):
                inside += 1
                assert inside == 1
                await asyncio.sleep(0.0005)
                rounds += 1
                inside -= 1

    await asyncio.gather(*(asyncio.to_thread(asyncio.run, work()) for _ in range(4)))
    assert rounds == 40


async def test_processes_are_served_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    with ExitStack() as running:
        async with thread_lock(tmp_path, "t", 0.0):
            tasks: list[Awaitable[None]] = []

            async def mine(name: str) -> None:
                async with thread_lock(tmp_path, "t", 20.0):
                    with (tmp_path / "order").open("a") as order:
                        order.write(name)

            others = []
            for number, (theirs, ours) in enumerate(("aB", "cD", "eF"), 1):
                others.append(running.enter_context(taker(tmp_path, 0.03, name=theirs, wait_s=20)))
                await eventually(lambda n=number: waiting(tmp_path) == 2 * n - 1)
                tasks.append(asyncio.create_task(mine(ours)))
                await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)
        for other in others:
            other.wait(10)
    assert (tmp_path / "order").read_text() == "aBcDeF"


async def test_who_comes_after_stands_behind_those_who_wait(tmp_path: Path) -> None:
    with taker(tmp_path, name="a") as holder, taker(tmp_path, 0.2, name="b", wait_s=20):
        await eventually(lambda: waiting(tmp_path) == 1)
        holder.kill()
        with pytest.raises(ThreadBusy):
            await take(tmp_path, 0.0)
        await take(tmp_path)
    assert (tmp_path / "order").read_text() == "ab"


async def test_a_line_without_end_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_line, "TICKETS", 4)
    async with thread_lock(tmp_path, "t", 0.0):
        line = [asyncio.create_task(take(tmp_path)) for _ in range(3)]
        await asyncio.sleep(0.02)
        with pytest.raises(StateError, match="too many wait"):
            await take(tmp_path)
    await asyncio.gather(*line)


async def test_a_full_disk_is_said_and_leaves_nobody_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with thread_lock(tmp_path, "t", 0.0):
        behind = asyncio.create_task(take(tmp_path))
        await asyncio.sleep(0.02)
        monkeypatch.setattr(LockFile, "sign", full)
    await asyncio.wait_for(behind, 5)
    with pytest.raises(StateError, match="Free some space"):
        await take(tmp_path)
    monkeypatch.undo()
    await take(tmp_path, 0.0)


async def test_lock_files_do_not_pile_up(tmp_path: Path) -> None:
    open_before = open_files()
    for number in range(300):
        async with thread_lock(tmp_path, f"thread-{number}", 0.0):
            pass
    assert os.listdir(tmp_path) == [lock.FILE]
    assert (tmp_path / lock.FILE).stat().st_size <= 1 << 20
    assert open_files() == open_before
