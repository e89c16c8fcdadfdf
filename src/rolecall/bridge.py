"""The bridge from synchronous callers to asynchronous code: one background event loop.

Everything in Rolecall is written once, async. Scripts, the command line and notebooks (which
already run a loop of their own) call it through here.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")
Pushing = Callable[[Callable[[T], None]], Coroutine[Any, Any, Any]]

_CANCEL_WAIT_S = 10.0
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None
_current: contextvars.ContextVar[_Task[Any] | None] = contextvars.ContextVar("_current")


def loop() -> asyncio.AbstractEventLoop:
    """The background loop; started on first use, in a daemon thread."""
    global _loop, _thread
    with _lock:
        if _loop is None or _loop.is_closed() or _thread is None or not _thread.is_alive():
            _loop = asyncio.new_event_loop()
            _thread = threading.Thread(
                target=_serve, args=(_loop,), name="rolecall-loop", daemon=True
            )
            _thread.start()
        return _loop


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to completion and return the result; context variables are carried over.

    An interrupt (Ctrl-C) cancels the coroutine and waits for its clean-up, up to 10 seconds.

    Raises:
        RuntimeError: called from the background loop itself, which would wait for ever.
    """
    try:
        background = _loop_to_wait_for()
    except RuntimeError:
        coroutine.close()
        raise
    task = _Task(coroutine, background)
    try:
        task.start()
        return task.outcome.result()
    finally:
        task.stop()


async def arun(coroutine: Coroutine[Any, Any, T]) -> T:
    """:func:`run` from any event loop, also from the background loop itself.

    When the waiting is cancelled the coroutine is, and its clean-up is waited for.
    """
    background = loop()
    if asyncio.get_running_loop() is background:
        return await coroutine
    task = _Task(coroutine, background)
    waiting = asyncio.wrap_future(task.outcome)
    try:
        task.start()
        await asyncio.wait([waiting])
    finally:
        await _stopped(task, waiting)
    return waiting.result()


def items(work: Pushing[T]) -> Iterator[T]:
    """Iterate over what ``work(put)`` puts: it runs as one task on the background loop.

    What it raises is raised at the end. Leaving early, or an interrupt, cancels that task and
    waits for its clean-up.

    Raises:
        RuntimeError: called from the background loop itself, which would wait for ever.
    """
    background = _loop_to_wait_for()
    arrived: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
    task = _Task(_to_the_end(work, arrived.put), background)
    try:
        task.start()
        while not isinstance(entry := arrived.get(), _End):
            yield entry
        if entry.error is not None:
            raise entry.error
    finally:
        task.stop()


async def aitems(work: Pushing[T]) -> AsyncIterator[T]:
    """:func:`items` from any event loop, also from the background loop itself."""
    arrived: _Arrived[T | _End] = _Arrived()
    task = _Task(_to_the_end(work, arrived.put), loop())
    waiting = asyncio.wrap_future(task.outcome)
    try:
        task.start()
        while not isinstance(entry := await arrived.next(), _End):
            yield entry
        if entry.error is not None:
            raise entry.error
    finally:
        await _stopped(task, waiting)


def iterate(source: AsyncIterator[T]) -> Iterator[T]:
    """Iterate from synchronous code over a source that runs ahead; otherwise as :func:`items`."""
    return items(partial(_drain, source))


async def in_daemon_thread(work: Callable[[], T]) -> T:
    """Await blocking work in a thread that does not keep the process alive.

    When the waiting is cancelled the work goes on, unheard.
    """
    waiting = asyncio.get_running_loop()
    done: asyncio.Future[T] = waiting.create_future()
    context = contextvars.copy_context()

    def tell(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(cast("T", result))
        elif isinstance(error, StopIteration):
            done.set_exception(RuntimeError("the work raised StopIteration"))
        else:
            done.set_exception(error)

    def work_and_tell() -> None:
        result, problem = None, None
        try:
            result = context.run(work)
        except BaseException as error:
            problem = error
        with suppress(RuntimeError):  # the loop is gone: nobody waits any more
            waiting.call_soon_threadsafe(tell, result, problem)

    threading.Thread(target=work_and_tell, name="rolecall-tool", daemon=True).start()
    return await done


@contextmanager
def ends_by(request: Callable[[], None], within_s: float) -> Iterator[None]:
    """Within it, a coroutine that nobody waits for any more is asked to end, not cancelled.

    Args:
        request: asks it; called on its loop.
        within_s: how long it may take to end, beside its clean-up.
    """
    task = _current.get(None)
    if task is None:
        yield
        return
    before = task.ending, task.wait_s
    task.ending, task.wait_s = request, _CANCEL_WAIT_S + within_s
    try:
        yield
    finally:
        task.ending, task.wait_s = before


class _End:
    """The end of a source, with what it raised."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Task(Generic[T]):
    """A coroutine on the background loop; ``outcome`` is set when even its clean-up is over.

    It is started apart from being made, so that an interrupt in between cannot leave it running.
    """

    def __init__(
        self, coroutine: Coroutine[Any, Any, T], background: asyncio.AbstractEventLoop
    ) -> None:
        self.outcome: Future[T] = Future()
        self.ending: Callable[[], None] | None = None
        self.wait_s = _CANCEL_WAIT_S
        self._coroutine = coroutine
        self._loop = background
        self._task: asyncio.Task[T] | None = None

    def start(self) -> None:
        """Let it run."""
        self._loop.call_soon_threadsafe(self._start)

    def cancel(self) -> None:
        """Ask it to end."""
        if not self.outcome.done():
            self._loop.call_soon_threadsafe(self._cancel_here)

    def stop(self) -> None:
        """Ask it to end and wait until it has."""
        if not self.outcome.done():
            self.cancel()
            with suppress(CancelledError, TimeoutError):  # what the caller raises counts
                self.outcome.exception(self.wait_s)

    def _start(self) -> None:
        _current.set(self)
        self._task = self._loop.create_task(self._coroutine)
        self._task.add_done_callback(self._ended)

    def _cancel_here(self) -> None:
        if self.ending is not None:
            self.ending()
        elif self._task is not None:
            self._task.cancel()
        elif not self.outcome.done():  # it was never started
            self._coroutine.close()
            self.outcome.cancel()

    def _ended(self, task: asyncio.Task[T]) -> None:
        self._coroutine.close()  # it was never entered if the cancel came first
        if task.cancelled():
            self.outcome.cancel()
        elif (error := task.exception()) is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(task.result())


class _Arrived(Generic[T]):
    """What another loop put, taken by the loop that made this; one wake-up serves many items."""

    def __init__(self) -> None:
        self._here = asyncio.get_running_loop()
        self._items: deque[T] = deque()
        self._woken = asyncio.Event()
        self._waking = False

    def put(self, item: T) -> None:
        """Add an item; from any thread."""
        self._items.append(item)
        if not self._waking:
            self._waking = True
            with suppress(RuntimeError):  # that loop is closed: nobody waits any more
                self._here.call_soon_threadsafe(self._wake)

    async def next(self) -> T:
        """The next item, waited for."""
        while not self._items:
            self._woken.clear()
            await self._woken.wait()
        return self._items.popleft()

    def _wake(self) -> None:
        self._waking = False  # first: what is put from here on wakes again
        self._woken.set()


async def _to_the_end(work: Pushing[T], put: Callable[[T | _End], None]) -> None:
    """Do the work, then put the end."""
    error: BaseException | None = None
    try:
        await work(put)
    except BaseException as raised:
        error = raised
    put(_End(error))


async def _stopped(task: _Task[Any], waiting: asyncio.Future[Any]) -> None:
    if waiting.done():
        return
    task.cancel()
    waiting.add_done_callback(_heard)  # who waits was cancelled, and does not hear how it ends
    await asyncio.wait([waiting], timeout=task.wait_s)


def _heard(waiting: asyncio.Future[Any]) -> None:
    if not waiting.cancelled():
        waiting.exception()


async def _drain(source: AsyncIterator[T], put: Callable[[T], None]) -> None:
    async for item in source:
        put(item)
    await _close(source)


async def _close(source: AsyncIterator[Any]) -> None:
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()


def _loop_to_wait_for() -> asyncio.AbstractEventLoop:
    background = loop()
    if threading.current_thread() is _thread:
        raise RuntimeError("a synchronous call inside the event loop: use the async form")
    return background


def _serve(background: asyncio.AbstractEventLoop) -> None:
    while True:
        with suppress(BaseException):  # SystemExit in a task stops the loop; its caller is told
            background.run_forever()
            return
