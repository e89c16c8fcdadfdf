"""What nodes know of the place where models' summaries are written down."""

from __future__ import annotations

from typing import Protocol

from rolecall.memory.summary import Summary


class Notebook(Protocol):
    """Prose for summaries, made between turns. Graphs without one keep the extractive summary."""

    async def prose(self, thread_id: str, summary: Summary) -> str | None:
        """What a model wrote of exactly the turns that ``summary`` covers, if it did."""
        ...

    def due(self, thread_id: str, summary: Summary) -> None:
        """Turns have left the window: prose may be wanted. Returns at once."""
        ...
