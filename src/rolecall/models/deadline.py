"""Time limits: how long a stream may be silent, how long it may take, what a call has left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from langchain_core.outputs import ChatGenerationChunk

from rolecall.config.schema import ModelSpec
from rolecall.models.failures import DeadlinePassed

NO_TIME_LEFT = "not finished in the time that was left for this call"


@dataclass(frozen=True)
class Limit:
    """When an attempt must be at its end, a time of the monotonic clock.

    ``why`` says whose limit it is; empty, it is the model's own ``deadline_s``.
    """

    until: float
    why: str = ""

    @property
    def left(self) -> float:
        """Seconds that are left, 0 at least."""
        return max(0.0, self.until - time.monotonic())

    def passed(self) -> DeadlinePassed:
        """The error that says so."""
        return DeadlinePassed(self.why)


def limit_of(spec: ModelSpec, deadline: float | None) -> Limit:
    """The limit of an attempt that begins now: the model's, or the call's where that is nearer.

    Args:
        spec: the model; its ``deadline_s`` counts from now.
        deadline: of the whole call, a time of the monotonic clock.
    """
    until = time.monotonic() + spec.deadline_s
    if deadline is not None and deadline <= until:
        return Limit(deadline, NO_TIME_LEFT)
    return Limit(until)


@asynccontextmanager
async def in_time(deadline: float | None) -> AsyncIterator[None]:
    """Bound what a call waits for by the call's deadline.

    Args:
        deadline: a time of the monotonic clock; ``None`` sets no bound.

    Raises:
        DeadlinePassed: it took longer.
    """
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    try:
        async with asyncio.timeout(left) as bound:
            yield
    except TimeoutError as error:
        if bound.expired():
            raise DeadlinePassed(NO_TIME_LEFT) from error
        raise


async def timed(
    source: AsyncGenerator[ChatGenerationChunk, None], silence_s: float, limit: Limit
) -> AsyncGenerator[ChatGenerationChunk, None]:
    """The chunks of a source that is silent for ``silence_s`` at most.

    Raises:
        TimeoutError: it was silent for longer.
        DeadlinePassed: it took longer than ``limit`` altogether.
    """
    while True:
        left = limit.left
        try:
            async with asyncio.timeout(min(silence_s, left)):
                chunk = await anext(source)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            if left <= silence_s:
                raise limit.passed() from error
            raise
        yield chunk
