"""``recall``: looks up what was said earlier in this conversation."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from langchain_core.runnables import RunnableConfig

NAME = "recall"

_MOST_TURNS = 3
_QUESTION_CHARS = 400
_ANSWER_CHARS = 600
_WORD = re.compile(r"\w{3,}")


@dataclass(frozen=True)
class EarlierTurn:
    """A turn that was answered. ``at`` is Unix seconds; ``thread`` is set for another thread's."""

    thread: str | None
    number: int
    at: float
    question: str
    answer: str


class History(Protocol):
    """Where earlier turns are found."""

    async def search(self, thread_id: str, text: str, limit: int) -> list[EarlierTurn]:
        """Turns that have words of ``text``, the best match first."""
        ...


def recaller(history: History) -> Callable[[str, RunnableConfig], Awaitable[str]]:
    """The tool ``recall`` on a history."""

    async def recall(query: str, config: RunnableConfig) -> str:
        """Search earlier messages of this conversation that are no longer shown.

        Args:
            query: a few words that were used then, such as "budget Lisbon".
        """
        thread_id = (config.get("configurable") or {}).get("thread_id")
        if not thread_id:
            return "There are no earlier messages."
        found = await history.search(str(thread_id), query, _MOST_TURNS)
        if not found:
            return f"Nothing earlier has any of these words: {query}"
        return "\n\n".join(_shown(turn, query) for turn in found)

    return recall


def _shown(turn: EarlierTurn, query: str) -> str:
    day = time.strftime("%Y-%m-%d", time.localtime(turn.at))
    where = f"turn {turn.number}" + (f" of thread {turn.thread}" if turn.thread else "")
    return (
        f"[{where}, {day}]\n"
        f"User: {_around(turn.question, query, _QUESTION_CHARS)}\n"
        f"Assistant: {_around(turn.answer, query, _ANSWER_CHARS)}"
    )


def _around(text: str, query: str, chars: int) -> str:
    """At most so many characters of a text: those around the first word of the query in it."""
    line = " ".join(text.split())
    if len(line) <= chars:
        return line
    lower = line.lower()
    places = [lower.find(word.lower()) for word in _WORD.findall(query)]
    place = min((p for p in places if p >= 0), default=0)
    begin = max(min(place - chars // 3, len(line) - chars), 0)
    end = begin + chars
    return ("… " if begin else "") + line[begin:end] + (" …" if end < len(line) else "")
