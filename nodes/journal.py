"""What nodes know of the journal: answers paid for, tool calls begun and done.

A graph without a transcript, such as one that a LangGraph server runs, has no journal.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig

from rolecall.graphs.state import TurnInfo
from rolecall.nodes.report import run_ids

TurnKey = tuple[str, str]


class CallAsLeft(Protocol):
    """A tool call as an earlier run of the turn left it."""

    @property
    def name(self) -> str: ...
    @property
    def arguments(self) -> dict[str, Any]: ...
    @property
    def status(self) -> str:
        """``begun``, ``waiting`` or ``done``."""
        ...

    @property
    def began_at(self) -> float: ...
    @property
    def outcome(self) -> str | None: ...
    @property
    def result(self) -> str | None: ...


class Journal(Protocol):
    """Keeps what a turn paid for or did. A write is durable when its future is done."""

    async def answer(self, turn: TurnKey, key: str, asked: str) -> dict[str, Any] | None: ...
    def keep_answer(
        self, turn: TurnKey, key: str, asked: str, answer: dict[str, Any]
    ) -> asyncio.Future[None]: ...
    async def call(self, turn: TurnKey, key: str) -> CallAsLeft | None: ...
    async def calls_of(self, thread_id: str, message_id: str) -> Sequence[CallAsLeft]: ...
    def begin_call(
        self, turn: TurnKey, key: str, name: str, arguments: dict[str, Any], at: float
    ) -> asyncio.Future[None]: ...
    def end_call(
        self, turn: TurnKey, key: str, at: float, outcome: str, result: str
    ) -> Future[None]: ...
    def let_wait(self, turn: TurnKey, key: str) -> asyncio.Future[None]: ...


@dataclass(frozen=True)
class TurnJournal:
    """The journal of the turn that a run belongs to.

    Attributes:
        journal: where it is kept; ``None`` keeps nothing.
        turn: whose run it is; ``None`` where the run names no thread.
        looks_back: whether an earlier run of the turn may have left something.
    """

    journal: Journal | None
    turn: TurnKey | None
    looks_back: bool

    @classmethod
    def of(cls, journal: Journal | None, config: RunnableConfig, turn: TurnInfo) -> TurnJournal:
        """The journal of a run."""
        configurable = config.get("configurable") or {}
        thread_id, turn_id = configurable.get("thread_id"), run_ids(config, turn)[0]
        key = (str(thread_id), turn_id) if thread_id and turn_id else None
        return cls(journal, key, not configurable.get("new_turn"))

    async def answer(self, key: str, asked: Sequence[AnyMessage]) -> dict[str, Any] | None:
        """The answer to a model call that an earlier run of the turn made with these messages."""
        if self.journal is None or self.turn is None or not self.looks_back:
            return None
        return await self.journal.answer(self.turn, key, _digest(asked))

    async def keep_answer(
        self, key: str, asked: Sequence[AnyMessage], answer: dict[str, Any]
    ) -> None:
        """Write an answer down; it is durable when this returns.

        Raises:
            StateError: it cannot be written.
        """
        if self.journal is not None and self.turn is not None:
            await kept(self.journal.keep_answer(self.turn, key, _digest(asked), answer))

    def call(self, key: str, name: str, arguments: dict[str, Any]) -> CallEntry:
        """The entry of a tool call that must not be repeated by itself."""
        return CallEntry(self, key, name, arguments)


@dataclass(frozen=True)
class CallEntry:
    """The journal's entry of one tool call."""

    of_turn: TurnJournal
    key: str
    name: str
    arguments: dict[str, Any]
    at: float = field(default_factory=time.time)

    async def earlier(self) -> CallAsLeft | None:
        """The call as an earlier run left it."""
        place = self.of_turn
        if place.journal is None or place.turn is None or not place.looks_back:
            return None
        return await place.journal.call(place.turn, self.key)

    async def begin(self) -> None:
        """Write down that the tool is about to run."""
        if (place := self.of_turn).journal is not None and place.turn is not None:
            await kept(
                place.journal.begin_call(place.turn, self.key, self.name, self.arguments, self.at)
            )

    def end(self, outcome: str, result: str) -> Future[None] | None:
        """Write down how the call ended; from any thread. Await it with :func:`kept`."""
        place = self.of_turn
        if place.journal is None or place.turn is None:
            return None
        return place.journal.end_call(place.turn, self.key, self.at, outcome, result)

    async def let_wait(self) -> None:
        """Write down that the tool asked the user something and runs again with the answer."""
        if (place := self.of_turn).journal is not None and place.turn is not None:
            await kept(place.journal.let_wait(place.turn, self.key))


async def kept(write: Future[None] | asyncio.Future[None]) -> None:
    """Wait until a write is durable. Cancelled, it is written all the same.

    Raises:
        StateError: it cannot be written.
    """
    await asyncio.shield(asyncio.wrap_future(write))


def _digest(messages: Sequence[AnyMessage]) -> str:
    """Tells apart what was asked: an edited conversation is another one.

    The running turn counts letter by letter, what was said before it by its ids and lengths.
    """
    parts: list[str] = []
    before = False
    for message in reversed(messages):
        content = message.content
        parts.append(f"{message.id} {len(content)}")
        if not before:
            parts.append(content if isinstance(content, str) else repr(content))
        before = before or isinstance(message, HumanMessage)
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=16).hexdigest()
