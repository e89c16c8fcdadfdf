"""The running summary: what the graph's state still holds of turns that left the window.

``fold`` needs no model. It takes over the sentences that are worth most and lets go of those that
are worth least, so that the summary never grows. ``with_prose`` puts a model's text in the place
of the sentences whose facts it holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypedDict

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage

from rolecall.memory.sentences import Speaker, facts_of, sentences, words_of, worth

BYTES_PER_TOKEN = 4
_PER_NOTE = 3  # tokens around a sentence: who said it
_PROSE_SHARE = 0.6
_OLD = 200.0  # turns after which a sentence is worth half
_OPENING = 0.5  # how much more the first turn is worth: it often says what all is about
_ALIKE = 0.8
_TOLD, _TOLD_FACTS = 0.7, 0.5  # share of a sentence's words in a text that tells it; with facts
_STEM = 4  # letters by which words are compared: "live" is told by "lives"
_WORD = re.compile(r"\w[\w'’-]*")
_FRAME = re.compile(r"</?\s*notes\b[^>]*>", re.IGNORECASE)


class Note(TypedDict):
    """One sentence. ``turn`` counts the turns that left the window, from 1."""

    turn: int
    by: Speaker
    text: str
    worth: float


class Summary(TypedDict):
    """Plain values only, so that any checkpointer can keep it.

    Attributes:
        prose: what a model wrote of the turns up to ``prose_covers``; may be empty.
        prose_covers: the id of the last user message that ``prose`` takes in.
        notes: sentences that ``prose`` does not tell, in order.
        covers: the id of the last user message that left the window.
        turns: how many turns have left.
        pending: about how many tokens left since ``prose`` was written.
    """

    prose: str
    prose_covers: str | None
    notes: list[Note]
    covers: str
    turns: int
    pending: int


def fold(
    summary: Summary | None,
    left: Sequence[AnyMessage],
    max_tokens: int,
    redact: Callable[[str], str],
) -> Summary | None:
    """The summary with the messages taken in that leave the window.

    Args:
        summary: as it was; ``None`` when nothing had left yet.
        left: whole turns, oldest first.
        max_tokens: the summary never exceeds this (about 4 bytes a token).
        redact: blots secrets out.
    """
    before = summary or Summary(
        prose="", prose_covers=None, notes=[], covers="", turns=0, pending=0
    )
    turn, covers, size = before["turns"], before["covers"], 0
    notes = list(before["notes"])
    for message in left:
        by: Speaker = "assistant"
        if isinstance(message, HumanMessage):
            turn, covers, by = turn + 1, str(message.id), "user"
        elif not isinstance(message, AIMessage):
            continue  # a tool's result: the answer says what of it counts
        text = message.text
        size += tokens_in(text)
        notes += _notes(redact(text) if text else "", by, turn)
    if covers == before["covers"]:
        return summary
    room = max_tokens - tokens_in(before["prose"])
    return Summary(
        prose=before["prose"],
        prose_covers=before["prose_covers"],
        notes=_best(notes, turn, room),
        covers=covers,
        turns=turn,
        pending=before["pending"] + size,
    )


def with_prose(summary: Summary, prose: str, max_tokens: int) -> Summary:
    """The summary with a model's text of all that left; sentences it does not tell stay."""
    prose = _within(prose, prose_tokens(max_tokens))
    tokens = _tokens_of(prose)
    begins = {token[:_STEM] for token in tokens}
    untold = [note for note in summary["notes"] if not _is_told(note["text"], begins, tokens)]
    room = max_tokens - tokens_in(prose)
    return Summary(
        prose=prose,
        prose_covers=summary["covers"],
        notes=_best(untold, summary["turns"], room),
        covers=summary["covers"],
        turns=summary["turns"],
        pending=0,
    )


def prose_tokens(max_tokens: int) -> int:
    """How much of a summary a model's text may take; the rest is for what it does not tell."""
    return int(max_tokens * _PROSE_SHARE)


def as_text(summary: Summary) -> str:
    """The summary as lines that a model can read."""
    lines = [summary["prose"]] if summary["prose"] else []
    lines += [f"- {note['by']}: {note['text']}" for note in summary["notes"]]
    return _FRAME.sub("", "\n".join(lines))


def tokens_in(text: str) -> int:
    """About how many tokens a text is."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


def grounded(prose: str, source: str) -> str:
    """What of a model's text names only numbers and names that its source has."""
    known = _tokens_of(source)
    return "\n".join(one for one in sentences(prose) if facts_of(one) <= known)


def _notes(text: str, by: Speaker, turn: int) -> list[Note]:
    found = []
    for index, sentence in enumerate(sentences(text)):
        value = worth(sentence, by, index == 0)
        if value > 0:
            value += _OPENING if turn == 1 else 0.0
            found.append(Note(turn=turn, by=by, text=sentence, worth=round(value, 2)))
    return found


def _best(notes: list[Note], turn: int, room: int) -> list[Note]:
    """The notes that are worth most and fit, in their order; of two that are alike the newer."""

    def value(index: int) -> tuple[float, int]:
        note = notes[index]
        return note["worth"] * 0.5 ** ((turn - note["turn"]) / _OLD), index

    kept: dict[int, frozenset[str]] = {}
    for index in sorted(range(len(notes)), key=value, reverse=True):
        text = notes[index]["text"]
        size = tokens_in(text) + _PER_NOTE
        if size > room:
            continue
        words = words_of(text)
        if any(_is_said(words, text, other) for other in kept.values()):
            continue
        kept[index] = words
        room -= size
    return [notes[index] for index in sorted(kept)]


def _is_said(words: frozenset[str], text: str, other: frozenset[str]) -> bool:
    """Whether another sentence has nearly all the words of ``text``, and all of its facts."""
    if not words or len(words & other) < _ALIKE * len(words):
        return False
    return {fact for fact in facts_of(text) if fact in words} <= other


def _is_told(sentence: str, begins: set[str], tokens: set[str]) -> bool:
    facts = facts_of(sentence)
    if not facts <= tokens:
        return False
    own = words_of(sentence)
    told = sum(word[:_STEM] in begins for word in own)
    return told >= (_TOLD_FACTS if facts else _TOLD) * len(own)


def _tokens_of(text: str) -> set[str]:
    return {word.lower().removesuffix("'s").removesuffix("’s") for word in _WORD.findall(text)}


def _within(text: str, max_tokens: int) -> str:
    """The whole sentences at the beginning that fit."""
    kept = ""
    for sentence in sentences(text):
        longer = f"{kept}\n{sentence}".strip()
        if tokens_in(longer) > max_tokens:
            break
        kept = longer
    return kept
