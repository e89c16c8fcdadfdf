"""First come, first served: the line of those who hold or want one thread, in all processes.

Within a process a line is a queue, and who leaves hands over to the next directly. Between
processes the tickets decide (bytes of the lock file): who has the lowest goes next. A ticket is a
lock, so that of a process that died is gone, and those behind move up.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections import deque
from contextlib import suppress

from rolecall.threads.lock_file import TICKETS, Holder, LockFile, range_of

_PAUSE_S = (0.002, 0.010)
_LONGEST_PAUSE_S = 0.025


class Waiter:
    """One who waits, on the event loop that is running."""

    def __init__(self, ticket: int) -> None:
        self.ticket = ticket
        self.granted = False
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._began = time.monotonic()

    async def wait(self, ahead: int | None, until: float) -> None:
        """Wait for news, and not longer than until it is time to look again.

        Args:
            ahead: how many may come before; ``None``: news will come by itself.
            until: a time of the monotonic clock.
        """
        now = time.monotonic()
        pause = until - now
        if ahead is not None:
            shortest, longest = _PAUSE_S
            look_again = min(max((now - self._began) / 50, shortest), longest) * (1 + ahead)
            pause = min(pause, look_again, _LONGEST_PAUSE_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(pause, 0.0)):
                await self._news.wait()
        self._news.clear()

    def tell(self) -> bool:
        """Send news, from any system thread; false if the loop is gone, and with it the waiter."""
        try:
            self._loop.call_soon_threadsafe(self._news.set)
        except RuntimeError:
            return False
        return True


class Line:
    """Those of this process who hold or want one thread; to be called under one mutex.

    Raises:
        OSError: the lock file cannot be used, in each method.
    """

    def __init__(self, file: LockFile, thread_id: str) -> None:
        self._file = file
        self._thread_id = thread_id
        self._gate = range_of(thread_id)
        self._end = self._gate + TICKETS
        self._held = False
        self._waiters: deque[Waiter] = deque()

    @property
    def empty(self) -> bool:
        """Whether nobody here holds or wants the thread."""
        return not self._held and not self._waiters

    @property
    def busy(self) -> bool:
        """Whether anybody holds the thread, here or elsewhere."""
        return self._held or self._file.taken(self._gate, self._gate + 1) is not None

    @property
    def holder(self) -> Holder | None:
        """Who holds it, here or elsewhere, as far as is known."""
        return self._file.holder(self._thread_id)

    def take(self) -> bool:
        """Take the thread if it is free and nobody waits for it."""
        return self.empty and not self._file.taken(self._gate + 1, self._end) and self._enter()

    def join(self) -> Waiter:
        """Get in at the end of the line."""
        ticket = self._waiters[-1].ticket if self._waiters else self._gate
        while True:
            while others := self._file.taken(ticket + 1, self._end):
                ticket = others[1]
            ticket += 1
            if ticket == self._end:
                raise OSError(errno.EAGAIN, "too many wait for one thread")
            if not self._file.take(ticket):
                continue
            if not self._file.taken(ticket + 1, self._end):
                break
            self._file.give(ticket)  # others came in meanwhile: they were first
        waiter = Waiter(ticket)
        self._waiters.append(waiter)
        return waiter

    def advance(self, waiter: Waiter) -> int | None:
        """Take the thread for a waiter, if it is its turn.

        Returns:
            How many may come before it; ``None`` if it is told when it has to look again.
        """
        if waiter.granted or self._held or self._waiters[0] is not waiter:
            return None
        if others := self._file.taken(self._gate + 1, waiter.ticket):
            return waiter.ticket - others[0]
        if not self._enter():
            return 0
        self._admit(waiter)
        return None

    def leave(self, waiter: Waiter) -> None:
        """Give up waiting, or what was just granted."""
        if waiter.granted:
            self.release()
        elif waiter in self._waiters:
            self._waiters.remove(waiter)
            self._file.give(waiter.ticket)
            self._call_next()

    def release(self) -> None:
        """Hand the thread to who is next, here or in another process."""
        while self._waiters:
            first = self._waiters[0]
            if self._file.taken(self._gate + 1, first.ticket):
                break
            with suppress(OSError):  # only the message would say an earlier time
                self._file.sign(self._thread_id, time.time())
            self._admit(first)
            if first.tell():
                return
        self._held = False
        self._file.give(self._gate)
        self._call_next()

    def _enter(self) -> bool:
        if not self._file.take(self._gate):
            return False
        self._held = True
        try:
            self._file.sign(self._thread_id, time.time())
        except OSError:
            self._held = False
            self._file.give(self._gate)
            raise
        return True

    def _admit(self, waiter: Waiter) -> None:
        waiter.granted = True
        self._waiters.remove(waiter)
        self._file.give(waiter.ticket)

    def _call_next(self) -> None:
        """Tell the first in line to look for itself."""
        while not self._held and self._waiters and not self._waiters[0].tell():
            self._file.give(self._waiters.popleft().ticket)
