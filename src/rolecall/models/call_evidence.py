"""What speaks for a tool call, told without a model: likeness and groundedness.

*Likeness*: how near the user's message is to what the tool does, and to what needs no tool
(greetings, questions of knowledge, writing), by the sentence encoder that also routes.
*Groundedness*: how much of the required arguments stands in the conversation. A call that was made
up for "Hello" has a town in it that nobody named.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]
    Embed = Callable[[str], Vector]

# What people say to a model when no tool is wanted, in general words.
NO_TOOL = (
    "Hello, how are you?",
    "Thank you, goodbye.",
    "How do you feel today?",
    "Who are you?",
    "What does this word mean?",
    "What is the difference between them?",
    "Who invented it and when?",
    "Who was this famous person?",
    "Explain how it works.",
    "Why is that so?",
    "How do you make it at home?",
    "Write a short poem about it.",
    "Write a polite sentence for a friend.",
    "Tell me a joke.",
    "Tell me a story.",
)
_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)?")
_STEM = 4
_SAME = 0.4  # cosine from which on a tool does what is said to need none
_SMALL_WORDS = frozenset(
    ("a", "an", "and", "at", "by", "for", "from", "in", "is", "of", "on", "or", "the", "to", "with")
)
_COUNTING = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    *("nineteen", "twenty"),
)
_SPELLED = {word: float(value) for value, word in enumerate(_COUNTING)}
_SPELLED |= {"a": 1.0, "an": 1.0, "once": 1.0, "twice": 2.0, "dozen": 12.0, "hundred": 100.0}


@dataclass(frozen=True)
class Evidence:
    """What speaks for one call.

    Attributes:
        likeness: cosine of the message and the tool.
        idleness: cosine of the message and the nearest thing that needs no tool.
        grounded: share of the required arguments that stands in the conversation, 0 to 1;
            ``None`` when there is none that could.
    """

    likeness: float
    idleness: float
    grounded: float | None


def evidence_for(
    arguments: Mapping[str, Any],
    function: Mapping[str, Any],
    said: Sequence[str],
    heard: str,
    embed: Embed,
) -> Evidence:
    """The evidence for a call.

    Args:
        function: the tool in OpenAI's form: ``name``, ``description``, ``parameters``.
        said: the user's messages, oldest first; a short last one is also read with the one before.
        heard: all text of the conversation.
        embed: text → unit vector.
    """
    tool = embed(described(function))
    readings = [said[-1], *([" ".join(said[-2:])] if len(said) > 1 else [])]
    vectors = [embed(text) for text in readings]
    return Evidence(
        likeness=max(float(vector @ tool) for vector in vectors),
        idleness=_idleness(vectors[0], tool, embed),
        grounded=groundedness(arguments, function.get("parameters") or {}, heard),
    )


def _idleness(message: Vector, tool: Vector, embed: Embed) -> float:
    """Likeness to the nearest thing that needs no tool; 0 where that is what the tool does: who
    wants a joke of a tool that tells jokes does not want the next best thing, a story.
    """
    likeness, nearest = max(
        ((float(message @ idle), idle) for idle in map(embed, NO_TOOL)), key=lambda pair: pair[0]
    )
    return likeness if nearest @ tool < _SAME else 0.0


def described(function: Mapping[str, Any]) -> str:
    """A tool as one text: its name in words, what it does, what its arguments are."""
    properties = (function.get("parameters") or {}).get("properties") or {}
    details = [str(_schema(p).get("description") or key) for key, p in properties.items()]
    name = str(function.get("name", "")).replace("_", " ")
    return f"{name}: {function.get('description') or name}. {', '.join(details)}"


def groundedness(
    arguments: Mapping[str, Any], schema: Mapping[str, Any], heard: str
) -> float | None:
    """The share of required texts and numbers that stands in the conversation.

    Switches and values from a fixed list are left out: they need not be named to be meant.
    """
    properties = schema.get("properties") or {}
    required = schema.get("required") or ()
    source = _Heard(heard)
    shares = [
        share
        for key, value in arguments.items()
        if key in required and "enum" not in _schema(properties.get(key))
        for share in _shares(value, source)
    ]
    return sum(shares) / len(shares) if shares else None


def _schema(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


class _Heard:
    """The conversation, as words, their stems and numbers."""

    def __init__(self, text: str) -> None:
        self.text = _plain(text)
        self.words = frozenset(_WORD.findall(self.text))
        self.stems = {word[:_STEM] for word in self.words if len(word) >= _STEM}
        self.numbers = {_value(number) for number in _NUMBER.findall(self.text)}
        self.numbers |= {_SPELLED[word] for word in self.words if word in _SPELLED}

    def has_word(self, word: str) -> bool:
        return word in self.words or (len(word) >= _STEM and word[:_STEM] in self.stems)

    def has_number(self, value: float) -> bool:
        return any(math.isclose(value, number) for number in self.numbers)


def _shares(value: object, heard: _Heard) -> list[float]:
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int | float):
        return [float(heard.has_number(float(value)))]
    if isinstance(value, str):
        text = _plain(value).strip()
        words = frozenset(_WORD.findall(text))
        words = words - _SMALL_WORDS or words
        if not words:
            return [0.0]
        whole = len(text) > 1 and text in heard.text  # also where words have no blanks between
        return [1.0 if whole else sum(map(heard.has_word, words)) / len(words)]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        inner = [share for item in value for share in _shares(item, heard)]
        return [sum(inner) / len(inner)] if inner else []
    return []


def _plain(text: str) -> str:
    """Without capitals, accents and underscores."""
    apart = unicodedata.normalize("NFKD", text.casefold().replace("_", " "))
    return "".join(char for char in apart if not unicodedata.combining(char))


def _value(text: str) -> float:
    return float(text.replace(",", "."))
