"""What one model at one endpoint is given at a time: places, a bounded queue, calls a minute.

A client may be used from several event loops at once (its own for synchronous callers, and the
user's). The limits hold over all of them, which asyncio's semaphores and the limiters built on
them cannot do.

The locks are re-entrant: a call whose event loop is gone gives back what it holds when it is
garbage collected, which may be while this system thread has the lock.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_MINUTE_S = 60.0


class QueueFull(Exception):
    """So many calls wait for a place already that this one is not let in."""


class Places:
    """A fair, bounded semaphore for callers on any event loop.

    Args:
        places: calls at a time.
        queue: calls that may wait for a place.
    """

    def __init__(self, places: int, queue: int) -> None:
        self._free = places
        self._queue = queue
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._lock = threading.RLock()

    async def take(self) -> None:
        """Wait for a place.

        Raises:
            QueueFull: too many wait already.
        """
        mine = asyncio.get_running_loop().create_future()
        with self._lock:
            if self._free:
                self._free -= 1
                return
            if len(self._waiting) >= self._queue:
                raise QueueFull(f"{self._queue} calls wait for it already (max_queue)")
            self._waiting.append(mine)
        try:
            await mine
        except BaseException:
            with self._lock:
                if mine in self._waiting:
                    self._waiting.remove(mine)
                    raise
            self.give_back()  # the place had been handed over just before
            raise

    def give_back(self) -> None:
        """Hand the place to who has waited longest, on whichever loop that is."""
        with self._lock:
            while self._waiting:
                next_one = self._waiting.popleft()
                try:
                    next_one.get_loop().call_soon_threadsafe(_wake, next_one)
                except RuntimeError:
                    continue  # its event loop is closed: nobody waits there any more
                return
            self._free += 1


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


class Rate:
    """At most so many calls in any 60 seconds (a sliding window)."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._begun: deque[float] = deque()  # of the last minute, and those that still wait
        self._clock = clock
        self._lock = threading.RLock()

    def ready_in(self) -> float:
        """Seconds until another call may begin."""
        with self._lock:
            return self._next() - self._clock()

    async def take(self) -> None:
        """Wait until a call may begin, and count it."""
        with self._lock:
            begin = self._next()
            self._begun.append(begin)
            wait = begin - self._clock()
        try:
            await asyncio.sleep(wait)
        except BaseException:
            with self._lock:
                if begin in self._begun:
                    self._begun.remove(begin)  # it never began
            raise

    def _next(self) -> float:
        now = self._clock()
        while self._begun and self._begun[0] <= now - _MINUTE_S:
            self._begun.popleft()
        if len(self._begun) < self._per_minute:
            return now
        return self._begun[-self._per_minute] + _MINUTE_S


class Limits:
    """The limits of one model at one endpoint, and how busy it is.

    Args:
        places: calls at a time.
        queue: calls that may wait for a place.
        per_minute: calls that may begin in any 60 seconds; ``None`` sets no bound.
    """

    def __init__(self, places: int, queue: int, per_minute: int | None) -> None:
        self._size = places
        self._places = Places(places, queue)
        self._rate = Rate(per_minute) if per_minute is not None else None
        self._calls = 0
        self._lock = threading.RLock()

    @property
    def load(self) -> float:
        """Calls chosen for it that are not at their end, per place."""
        return self._calls / self._size

    @property
    def ready_in(self) -> float:
        """Seconds until the rate lets another call begin."""
        return self._rate.ready_in() if self._rate is not None else 0.0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a call towards the load, from when the endpoint is chosen."""
        with self._lock:
            self._calls += 1
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1

    async def take(self) -> None:
        """Take a place for one call; it waits for its minute in that place.

        Raises:
            QueueFull: too many wait already.
        """
        await self._places.take()
        try:
            if self._rate is not None:
                await self._rate.take()
        except BaseException:
            self._places.give_back()
            raise

    def give_back(self) -> None:
        """Give the place back."""
        self._places.give_back()
