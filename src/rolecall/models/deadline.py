"""Time limits on a stream: how long it may be silent, how long it may take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

from langchain_core.outputs import ChatGenerationChunk

from rolecall.models.failures import DeadlinePassed


async def timed(
    source: AsyncGenerator[ChatGenerationChunk, None], silence_s: float, deadline_s: float
) -> AsyncGenerator[ChatGenerationChunk, None]:
    """The chunks of a source that is silent for ``silence_s`` at most.

    Raises:
        TimeoutError: it was silent for longer.
        DeadlinePassed: it took longer than ``deadline_s`` altogether.
    """
    deadline = time.monotonic() + deadline_s
    while True:
        left = deadline - time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, min(silence_s, left))):
                chunk = await anext(source)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            if left <= silence_s:
                raise DeadlinePassed from error
            raise
        yield chunk
