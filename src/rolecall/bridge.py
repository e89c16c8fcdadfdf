"""The bridge from synchronous callers to asynchronous code: one background event loop.

Everything in Rolecall is written once, async. Scripts, the command line and notebooks (which
already run a loop of their own) call it through here.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

_CANCEL_WAIT_S = 10.0
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None


def loop() -> asyncio.AbstractEventLoop:
    """The background loop; started on first use, in a daemon thread."""
    global _loop, _thread
    with _lock:
        if _loop is None or _loop.is_closed() or _thread is None or not _thread.is_alive():
            _loop = asyncio.new_event_loop()
            _thread = threading.Thread(target=_loop.run_forever, name="rolecall-loop", daemon=True)
            _thread.start()
        return _loop


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to completion and return the result; context variables are carried over.

    An interrupt (Ctrl-C) cancels the coroutine and waits for its clean-up, up to 10 seconds.

    Raises:
        RuntimeError: called from the background loop itself, which would wait for ever.
    """
    background = loop()
    if threading.current_thread() is _thread:
        coroutine.close()
        raise RuntimeError("a synchronous call inside the event loop: use the async form")
    finished = threading.Event()

    async def tracked() -> T:
        try:
            return await coroutine
        finally:
            finished.set()

    future = asyncio.run_coroutine_threadsafe(tracked(), background)
    try:
        return future.result()
    except BaseException:
        if not future.done():
            future.cancel()
            finished.wait(_CANCEL_WAIT_S)
        raise


def iterate(source: AsyncIterator[T]) -> Iterator[T]:
    """Iterate from synchronous code: the source runs ahead as one task on the background loop.

    Leaving early, or an interrupt, cancels that task and waits for its clean-up.
    """
    items: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
    finished = threading.Event()

    async def drain() -> None:
        error: BaseException | None = None
        try:
            async for item in source:
                items.put(item)
        except BaseException as raised:
            error = raised
        finally:
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()
            items.put(_End(error))
            finished.set()

    future = asyncio.run_coroutine_threadsafe(drain(), loop())
    try:
        while True:
            entry = items.get()
            if isinstance(entry, _End):
                if entry.error is not None:
                    raise entry.error
                return
            yield entry
    finally:
        if not finished.is_set():
            future.cancel()
            finished.wait(_CANCEL_WAIT_S)


async def relay(source: AsyncIterator[T]) -> AsyncIterator[T]:
    """Iterate a source that must run on the background loop from any other event loop."""
    if asyncio.get_running_loop() is loop():
        async for direct in source:
            yield direct
        return
    here = asyncio.get_running_loop()
    items: asyncio.Queue[T | _End] = asyncio.Queue()

    async def drain() -> None:
        error: BaseException | None = None
        try:
            async for item in source:
                here.call_soon_threadsafe(items.put_nowait, item)
        except BaseException as raised:
            error = raised
        finally:
            here.call_soon_threadsafe(items.put_nowait, _End(error))

    future = asyncio.run_coroutine_threadsafe(drain(), loop())
    try:
        while True:
            entry = await items.get()
            if isinstance(entry, _End):
                if entry.error is not None:
                    raise entry.error
                return
            yield entry
    finally:
        future.cancel()


async def call(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine that must run on the background loop from any other event loop."""
    if asyncio.get_running_loop() is loop():
        return await coroutine
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, loop()))


class _End:
    """The end of a source, with what it raised."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
