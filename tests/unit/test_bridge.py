"""Synchronous callers, other event loops, and the one background loop between them."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError
from contextlib import aclosing
from typing import Any

import pytest

from rolecall import bridge

pytestmark = pytest.mark.alone

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="unset")


class Source:
    """Counts up; says whether it was cleaned up."""

    def __init__(self, count: int = 10**6, pause_s: float = 0.001, cleanup_s: float = 0.0) -> None:
        self.cleaned = False
        self.on: asyncio.AbstractEventLoop | None = None
        self._count, self._pause_s, self._cleanup_s = count, pause_s, cleanup_s

    async def __call__(self) -> AsyncIterator[int]:
        self.on = asyncio.get_running_loop()
        try:
            for number in range(self._count):
                yield number
                await asyncio.sleep(self._pause_s)
        finally:
            await asyncio.sleep(self._cleanup_s)
            self.cleaned = True


def putting(
    source: AsyncIterator[Any],
) -> Callable[[Callable[[Any], None]], Coroutine[Any, Any, None]]:
    """The work of putting everything that a source yields."""

    async def work(put: Callable[[Any], None]) -> None:
        async with aclosing(source) as items:  # type: ignore[type-var]
            async for item in items:
                put(item)

    return work


async def failing() -> AsyncIterator[int]:
    yield 1
    raise KeyError("what went wrong")


async def value_of_variable() -> str:
    await asyncio.sleep(0)
    return VARIABLE.get()


# --- run ------------------------------------------------------------------------------------------


def test_run_returns_the_result_from_one_background_thread() -> None:
    async def where() -> str:
        return threading.current_thread().name

    assert {bridge.run(where()) for _ in range(3)} == {"rolecall-loop"}


def test_run_passes_exceptions_through() -> None:
    async def fail() -> None:
        raise KeyError("what went wrong")

    with pytest.raises(KeyError, match="what went wrong"):
        bridge.run(fail())


def test_run_carries_context_variables() -> None:
    token = VARIABLE.set("mine")
    try:
        assert bridge.run(value_of_variable()) == "mine"
    finally:
        VARIABLE.reset(token)


def test_run_inside_the_loop_raises_instead_of_waiting_for_ever() -> None:
    async def inside() -> None:
        with pytest.raises(RuntimeError, match="use the async form"):
            bridge.run(asyncio.sleep(0))
        with pytest.raises(RuntimeError, match="use the async form"):
            next(bridge.iterate(Source()()))

    bridge.run(inside())


async def test_run_works_where_another_loop_runs() -> None:
    assert bridge.run(value_of_variable()) == "unset"  # as a notebook does


def test_run_from_many_threads_at_once() -> None:
    results: list[int] = []

    async def later(number: int) -> int:
        await asyncio.sleep(0.02)
        return number

    threads = [
        threading.Thread(target=lambda n=n: results.append(bridge.run(later(n)))) for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(20))


def test_a_coroutine_that_is_cancelled_says_so() -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(CancelledError):
        bridge.run(cancelled())


def test_an_exit_inside_the_loop_reaches_its_caller_and_the_loop_lives_on() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    before = bridge.loop()
    with pytest.raises(SystemExit):
        bridge.run(leave())
    assert bridge.run(value_of_variable()) == "unset"
    assert bridge.loop() is before


# --- iterate --------------------------------------------------------------------------------------


def test_iterate_keeps_the_order() -> None:
    source = Source(50, 0)
    assert list(bridge.iterate(source())) == list(range(50))
    assert source.cleaned


@pytest.mark.parametrize("cleanup_s", [0.0, 0.3])
def test_leaving_early_cancels_the_source_and_waits_for_its_clean_up(cleanup_s: float) -> None:
    source = Source(cleanup_s=cleanup_s)
    items: Iterator[int] = bridge.iterate(source())
    assert [next(items), next(items)] == [0, 1]
    items.close()  # type: ignore[attr-defined]
    assert source.cleaned


def test_iterate_passes_exceptions_through_after_the_items() -> None:
    seen: list[int] = []
    with pytest.raises(KeyError, match="what went wrong"):
        seen.extend(bridge.iterate(failing()))
    items = bridge.iterate(failing())
    assert next(items) == 1


def test_a_failing_clean_up_does_not_leave_the_caller_waiting() -> None:
    class Broken:
        def __aiter__(self) -> AsyncIterator[int]:
            return self

        async def __anext__(self) -> int:
            raise StopAsyncIteration

        async def aclose(self) -> None:
            raise OSError("cannot close")

    with pytest.raises(OSError, match="cannot close"):
        list(bridge.iterate(Broken()))


def test_iterate_carries_context_variables() -> None:
    async def values() -> AsyncIterator[str]:
        yield VARIABLE.get()
        await asyncio.sleep(0)
        yield VARIABLE.get()

    token = VARIABLE.set("mine")
    try:
        assert list(bridge.iterate(values())) == ["mine", "mine"]
    finally:
        VARIABLE.reset(token)


def test_an_iterator_that_nobody_starts_starts_nothing() -> None:
    source = Source()
    bridge.iterate(source())
    assert source.on is None


# --- aitems ---------------------------------------------------------------------------------------


async def test_aitems_keeps_the_order_and_runs_on_the_background_loop() -> None:
    source = Source(50, 0)
    assert [n async for n in bridge.aitems(putting(source()))] == list(range(50))
    assert source.on is bridge.loop()
    assert source.on is not asyncio.get_running_loop()


async def test_aitems_passes_exceptions_and_context_variables() -> None:
    with pytest.raises(KeyError, match="what went wrong"):
        [n async for n in bridge.aitems(putting(failing()))]

    async def value() -> AsyncIterator[str]:
        yield VARIABLE.get()

    VARIABLE.set("mine")
    assert [v async for v in bridge.aitems(putting(value()))] == ["mine"]


async def test_leaving_early_from_another_loop_waits_for_the_clean_up() -> None:
    source = Source(cleanup_s=0.3)
    arriving = bridge.aitems(putting(source()))
    assert await anext(arriving) == 0
    await arriving.aclose()  # type: ignore[attr-defined]
    assert source.cleaned


async def test_cancelling_who_waits_cancels_the_source() -> None:
    source = Source(cleanup_s=0.1)

    async def consume() -> None:
        async for _ in bridge.aitems(putting(source())):
            pass

    task = asyncio.create_task(consume())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.cleaned


def test_aitems_on_the_background_loop_itself() -> None:
    source = Source()

    async def inside() -> list[int]:
        arriving = bridge.aitems(putting(source()))
        seen = [await anext(arriving), await anext(arriving)]
        await arriving.aclose()  # type: ignore[attr-defined]
        return seen

    assert bridge.run(inside()) == [0, 1]
    assert source.cleaned


# --- arun -----------------------------------------------------------------------------------------


async def test_arun_returns_the_result_from_the_background_loop() -> None:
    async def where() -> str:
        return threading.current_thread().name

    async def from_there() -> str:
        return await bridge.arun(where())

    assert await bridge.arun(where()) == "rolecall-loop"
    assert await asyncio.to_thread(bridge.run, from_there()) == "rolecall-loop"
    VARIABLE.set("mine")
    assert await bridge.arun(value_of_variable()) == "mine"


async def test_arun_passes_exceptions_through() -> None:
    async def fail() -> None:
        raise KeyError("what went wrong")

    with pytest.raises(KeyError, match="what went wrong"):
        await bridge.arun(fail())


async def test_cancelling_who_waits_for_arun_waits_for_its_clean_up() -> None:
    source = Source(cleanup_s=0.2)

    async def all_of_it() -> None:
        async with aclosing(source()) as items:  # type: ignore[type-var]
            async for _ in items:
                pass

    task = asyncio.create_task(bridge.arun(all_of_it()))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert source.cleaned


async def test_what_is_put_at_once_arrives_in_order_and_whole() -> None:
    async def burst(put: Callable[[int], None]) -> None:
        for number in range(2000):
            put(number)
            if number % 100 == 0:
                await asyncio.sleep(0)

    assert [n async for n in bridge.aitems(burst)] == list(range(2000))


# --- interrupts -----------------------------------------------------------------------------------

INTERRUPTED = """
import asyncio, sys
from rolecall import bridge

async def wait():
    print("ready", flush=True)
    try:
        await asyncio.sleep(30)
    finally:
        await asyncio.sleep(0.2)
        print("cleaned", flush=True)

async def source():
    yield 1
    await wait()

try:
    {call}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("call", ["bridge.run(wait())", "list(bridge.iterate(source()))"])
def test_ctrl_c_cancels_and_waits_for_the_clean_up(call: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", INTERRUPTED.format(call=call)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    started = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert out.split() == ["cleaned", "interrupted"]
    assert (err, process.returncode) == ("", 0)
    assert time.monotonic() - started < 5


def test_an_interrupt_before_the_first_step_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> None:
        raise AssertionError("it was cancelled before")

    def interrupt(self: Any, timeout: float | None = None) -> None:
        raise KeyboardInterrupt

    hold = threading.Event()
    bridge.loop().call_soon_threadsafe(hold.wait, 5)  # the loop is busy: nothing starts yet
    task_start = bridge._Task.stop

    def stop(self: Any) -> None:
        monkeypatch.undo()
        self.cancel()
        hold.set()
        task_start(self)

    monkeypatch.setattr(bridge._Task, "stop", stop)
    monkeypatch.setattr("concurrent.futures.Future.result", interrupt)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        bridge.run(never())
    assert time.monotonic() - started < 3


async def test_how_a_cancelled_call_ends_is_no_complaint_of_the_loop() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))

    async def ends_otherwise() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            raise KeyError("stopped") from None

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bridge.arun(ends_otherwise()), 0.05)
    gc.collect()
    await asyncio.sleep(0.05)
    assert complaints == []
