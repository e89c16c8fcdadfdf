"""Ending turns early and tidily: on Ctrl-C, on SIGTERM, when an assistant is closed.

A model's generation is abandoned at once: its connection is closed, what it said so far is kept.
Tools that run and an answer that is being saved get a few seconds, so that what they did is known
on resume. No further step begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from langgraph.runtime import RunControl

from rolecall import bridge
from rolecall.errors import TurnInterrupted, UsageError

_CLEAN_UP_S = 5.0


class Stop:
    """How one turn is ended; belongs to the event loop that runs the turn.

    Attributes:
        thread_id: the turn's thread.
        control: tells LangGraph to begin no further step.
        requested: whether the turn is being ended.
    """

    def __init__(self, thread_id: str, scope: asyncio.Timeout, within_s: float) -> None:
        self.thread_id = thread_id
        self.control = RunControl()
        self.requested = False
        self._scope = scope
        self._within_s = within_s
        self._loop = asyncio.get_running_loop()
        self._at_work = 0
        self._say: Callable[[str], None] | None = None
        self._later: asyncio.TimerHandle | None = None

    def request(self) -> None:
        """Ask the turn to end; returns at once. Safe in any thread and in signal handlers."""
        self.requested = True
        with suppress(RuntimeError):  # its loop is closed
            self._loop.call_soon_threadsafe(self._begin)

    def accepts(self) -> None:
        """The thread is held and the question is being saved: not to be broken off."""
        self._at_work = 1

    def runs(self, say: Callable[[str], None]) -> None:
        """The graph runs; ``say`` shows the user a note."""
        self._at_work, self._say = 0, say

    def heard(self, kind: str) -> None:
        """A part of the turn: tools at work and answers that are saved are not broken off."""
        if kind in {"tool_started", "answer"}:
            self._at_work += 1
        elif kind == "tool_finished":
            self._at_work -= 1

    def over(self) -> None:
        """The turn has ended."""
        if self._later is not None:
            self._later.cancel()

    def _begin(self) -> None:
        if self.control.drain_requested:
            return
        self.control.request_drain("stopped")
        if self._at_work <= 0:
            self._abandon()
            return
        self._later = self._loop.call_later(self._within_s, self._abandon)
        if self._say is not None:
            self._say(f"stopping: what runs now may end within {self._within_s:g} s")

    def _abandon(self) -> None:
        with suppress(RuntimeError):  # it has ended meanwhile
            self._scope.reschedule(self._loop.time())


class Stops:
    """The turns of one assistant that can be ended.

    Args:
        within_s: how long tools may go on once a turn is to end, in seconds.
    """

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._running: dict[Stop, asyncio.Event] = {}
        self._closed = False

    @asynccontextmanager
    async def turn(self, thread_id: str) -> AsyncIterator[Stop]:
        """One turn, from its place in the line to its end.

        Raises:
            TurnInterrupted: it was ended before anything of it was saved.
            UsageError: the assistant is being closed.
        """
        if self._closed:
            raise UsageError("the assistant is closed")
        ended = asyncio.Event()
        try:
            async with asyncio.timeout(None) as scope:
                stop = Stop(thread_id, scope, self._within_s)
                self._running[stop] = ended
                with bridge.ends_by(stop.request, self._within_s):
                    yield stop
        except TimeoutError:
            if not stop.requested:
                raise
            raise TurnInterrupted("stopped before it began; nothing was saved") from None
        finally:
            stop.over()
            del self._running[stop]
            ended.set()

    @property
    def stopping(self) -> list[str]:
        """The threads of turns that were asked to end and have not yet."""
        return [stop.thread_id for stop in list(self._running) if stop.requested]

    def request(self) -> bool:
        """Ask every turn to end; returns at once, and whether there was any."""
        running = list(self._running)
        for stop in running:
            stop.request()
        return bool(running)

    async def close(self) -> None:
        """End every turn, wait until it has, and let none begin."""
        self._closed = True
        self.request()
        waiting = [asyncio.ensure_future(ended.wait()) for ended in self._running.values()]
        if waiting:
            _, left = await asyncio.wait(waiting, timeout=self._within_s + _CLEAN_UP_S)
            for task in left:
                task.cancel()
