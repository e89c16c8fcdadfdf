"""Brings a conversation down to a number of tokens without losing what the next answer needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, ToolMessage

_LEAST_RESULT = 200  # characters of a tool's result that are always left

TokensOf = Callable[[BaseMessage], float]


@dataclass(frozen=True)
class Fitted:
    """Messages that fit, and what it took.

    Attributes:
        dropped: messages of older turns that were left out.
        shortened: results of tools that were cut in the middle.
    """

    messages: list[BaseMessage]
    dropped: int = 0
    shortened: int = 0


class DoesNotFit(Exception):
    """What may not be left out is too long by ``over`` tokens; ``largest`` takes the most."""

    def __init__(self, over: int, largest: BaseMessage | None) -> None:
        super().__init__(f"{over} tokens too long")
        self.over = over
        self.largest = largest


def fit(messages: list[BaseMessage], room: float, tokens_of: TokensOf) -> Fitted:
    """The messages, whole turns left out from the oldest on until they fit into ``room`` tokens.

    A turn is a user message and all that follows it up to the next, so that a tool call and its
    results stay together. System messages and the newest turn stay; where that is too long, the
    results of its tools are cut in the middle, the longest first. The order never changes.

    Raises:
        DoesNotFit: also then it is too long.
    """
    sizes = [tokens_of(message) for message in messages]
    excess = sum(sizes) - room
    if excess <= 0:
        return Fitted(messages)
    gone: set[int] = set()
    for turn in _turns(messages)[:-1]:
        if excess <= 0:
            break
        gone.update(turn)
        excess -= sum(sizes[index] for index in turn)
    kept = [message for index, message in enumerate(messages) if index not in gone]
    if excess <= 0:
        return Fitted(kept, len(gone))
    shorter = _shorter(kept, room, tokens_of)
    changed = sum(new is not old for new, old in zip(shorter, kept, strict=True))
    return Fitted(shorter, len(gone), changed)


def _turns(messages: list[BaseMessage]) -> list[list[int]]:
    """The places of the messages of each turn; system messages belong to none."""
    turns: list[list[int]] = [[]]
    for index, message in enumerate(messages):
        if isinstance(message, SystemMessage):
            continue
        if isinstance(message, HumanMessage) and turns[-1]:
            turns.append([])
        turns[-1].append(index)
    return turns


def _shorter(messages: list[BaseMessage], room: float, tokens_of: TokensOf) -> list[BaseMessage]:
    """The longest results of tools cut to the largest length at which all fits."""
    lengths = [len(m.text) for m in messages if isinstance(m, ToolMessage)]
    low, high = _LEAST_RESULT, max(lengths, default=0)
    best = [_cut(message, low) for message in messages]
    over = sum(map(tokens_of, best)) - room
    if over > 0:
        largest = max(best, key=tokens_of, default=None)
        raise DoesNotFit(int(over) + 1, largest)
    while high - low > _LEAST_RESULT:
        middle = (low + high) // 2
        tried = [_cut(message, middle) for message in messages]
        if sum(map(tokens_of, tried)) <= room:
            low, best = middle, tried
        else:
            high = middle
    return best


def _cut(message: BaseMessage, length: int) -> BaseMessage:
    """A tool's result of at most about ``length`` characters, its beginning and end kept."""
    if not isinstance(message, ToolMessage):
        return message
    text = message.text
    if len(text) <= length:
        return message
    half = length // 2
    gap = f"\n[{len(text) - 2 * half:,} characters left out here]\n"
    if 2 * half + len(gap) >= len(text):
        return message
    return message.model_copy(update={"content": text[:half] + gap + text[-half:]})
