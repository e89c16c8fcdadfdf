"""Work that follows a turn when its answer has been given: pruning, summaries.

It runs on the assistant's loop as tasks of its own, without the thread's lock. It never delays an
answer and never fails a turn: what it raises becomes a row in telemetry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from rolecall.telemetry.recorder import Recorder
from rolecall.threads.transcript import Accepted

_FINISH_WITHIN_S = 5.0


@dataclass(frozen=True)
class AfterTurn:
    """One kind of work that follows a turn.

    Attributes:
        name: names it in telemetry.
        work: awaited with the turn that was answered.
        gives_way: it is cancelled when the thread's next turn begins and when the assistant
            closes. Other work goes on beside the next turn, and closing waits for it.
    """

    name: str
    work: Callable[[Accepted], Awaitable[None]]
    gives_way: bool = False


class AfterTurns:
    """Runs the work that follows turns; of each kind once at a time per thread.

    Args:
        kinds: what is to be done.
        recorder: told of what fails.
    """

    def __init__(self, kinds: Sequence[AfterTurn], recorder: Recorder) -> None:
        self._kinds = kinds
        self._recorder = recorder
        self._running: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._next: dict[tuple[str, str], Accepted] = {}
        self._closing = False

    def begin(self, turn: Accepted) -> None:
        """Start the work that follows a turn; returns at once."""
        for kind in self._kinds if not self._closing else ():
            key = (turn.thread_id, kind.name)
            if key in self._running:
                self._next[key] = turn  # once more when it is over; the latest turn counts
            else:
                self._start(kind, turn)

    def give_way(self, thread_id: str) -> None:
        """The thread's next turn begins: cancel what gives way; returns at once."""
        for kind in self._kinds:
            key = (thread_id, kind.name)
            if kind.gives_way and (task := self._running.get(key)) is not None:
                self._next.pop(key, None)
                task.cancel()

    async def settled(self, timeout_s: float) -> bool:
        """Wait until nothing runs any more; whether that was so within ``timeout_s`` seconds."""
        until = time.monotonic() + timeout_s
        while self._running:
            left = until - time.monotonic()
            if left <= 0:
                return False
            await asyncio.wait(list(self._running.values()), timeout=left)
            await asyncio.sleep(0)  # a task's successor starts in its callback
        return True

    async def close(self) -> None:
        """Cancel what gives way; finish the rest, within 5 seconds."""
        self._closing = True
        for kind in self._kinds:
            for thread_id, name in list(self._running):
                if name == kind.name and kind.gives_way:
                    self.give_way(thread_id)
        if not await self.settled(_FINISH_WITHIN_S):
            left = list(self._running.values())
            self._next.clear()
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=_FINISH_WITHIN_S)

    def _start(self, kind: AfterTurn, turn: Accepted) -> None:
        key = (turn.thread_id, kind.name)
        task = asyncio.get_running_loop().create_task(
            self._guarded(kind, turn), name=f"rolecall-{kind.name}"
        )
        self._running[key] = task

        def ended(_: asyncio.Task[None]) -> None:
            del self._running[key]
            if (later := self._next.pop(key, None)) is not None:
                self._start(kind, later)

        task.add_done_callback(ended)

    async def _guarded(self, kind: AfterTurn, turn: Accepted) -> None:
        try:
            await kind.work(turn)
        except Exception as error:
            self._recorder.add(
                "errors",
                {
                    "trace_id": turn.trace_id,
                    "at": time.time(),
                    "node": kind.name,
                    "type": type(error).__name__,
                    "message": str(error),
                },
            )
