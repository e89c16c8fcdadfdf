"""The window: how much of a thread the graph's state holds, and what leaves it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from langchain_core.messages import AnyMessage, RemoveMessage

from rolecall.models.token_counts import TokenEstimator, size_of

_KEPT_SHARE = 0.75
_BYTES_PER_TOKEN = 4
_LEAST = 200  # bytes that are left of a text
_ANY = ("", "")


@dataclass(frozen=True)
class Bounded:
    """What brings a window down to its bound.

    Attributes:
        changes: for the state's reducer.
        left: the messages of the turns that leave, oldest first.
    """

    changes: list[AnyMessage | RemoveMessage]
    left: list[AnyMessage]


def bound(messages: list[AnyMessage], max_tokens: int) -> Bounded:
    """Bring messages down to ``max_tokens`` (estimated: about 4 bytes each).

    Nothing changes until they exceed it. Then whole turns go, oldest first, until a quarter of
    the window is free: the prompts of the next turns begin as this one's, so that a runner need
    not read them anew. The last turn stays, its longest texts cut in the middle.
    """
    estimate = TokenEstimator()
    sizes = [estimate.likely(_ANY, size_of(message)) for message in messages]
    held = sum(sizes)
    if held <= max_tokens:
        return Bounded([], [])
    begins = [0, *(i for i, m in enumerate(messages) if i and m.type == "human")]
    first = 0
    for begin, end in pairwise(begins):
        if held <= max_tokens * _KEPT_SHARE:
            break
        held -= sum(sizes[begin:end])
        first = end
    left, kept = messages[:first], messages[first:]
    changes: list[AnyMessage | RemoveMessage] = [RemoveMessage(id=str(m.id)) for m in left]
    if held > max_tokens:
        around = held - sum(size_of(m).bytes for m in kept) // _BYTES_PER_TOKEN
        changes += _shorter(kept, (max_tokens - around) * _BYTES_PER_TOKEN)
    return Bounded(changes, left)


def _shorter(messages: list[AnyMessage], room: int) -> list[AnyMessage]:
    """The messages whose text has to be cut for all to fit into ``room`` bytes."""
    lengths = [len(message.text.encode("utf-8", "replace")) for message in messages]
    longest, left = room, room
    for place, length in enumerate(sorted(lengths)):  # the short ones stay whole
        longest = left // (len(lengths) - place)
        if length > longest:
            break
        left -= length
    longest = max(longest, _LEAST)
    return [
        _cut(message, longest * len(message.text) // length)
        for message, length in zip(messages, lengths, strict=True)
        if length > longest
    ]


def _cut(message: AnyMessage, chars: int) -> AnyMessage:
    text = message.text
    half = max(chars // 2 - 20, 20)
    shorter = f"{text[:half]}\n[… {len(text) - 2 * half:,} characters …]\n{text[-half:]}"
    return message.model_copy(update={"content": shorter})
