"""Cheap features of a message's surface, beside what the encoder reads.

The encoder sees at most 112 tokens and no capitals; these see the whole shape of the message.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NAMES = (
    "length",
    "number of lines",
    "longest line",
    "words in the first line",
    "sentences",
    "a question mark at the end",
    "code characters",
    "indented lines",
    "digits",
    "arithmetic signs",
    "capital letters",
    "letters outside ASCII",
    "quotation marks",
    "a colon before pasted text",
    "an earlier message",
    "length of the earlier message",
    "code characters in the earlier message",
)
"""What each feature measures, in the order of :func:`surface`."""

_MOST_CHARS = 20_000
_LATIN_ENDS = "\u024f"
_READS_FROM = 0.3
_CODE = re.compile(r"[{}\[\]<>;=_\\|`$@#*/&^~]|\w\(|\)\s*[:{]|->|=>|::|\w\.\w+\(")
_SENTENCE = re.compile(r"[.!?](?=\s|$)")
_INDENTED = re.compile(r"^(?:\t| {2,})\S", re.MULTILINE)
_ARITHMETIC = re.compile(r"\d\s*[-+*/^=×÷%<>]\s*\d|\d\s*[xyzn]\b|\bsqrt\b|[∫∑√≤≥≠]")
_PASTED = re.compile(r":\s*\n|:\s*[\"'“«]|```")


def surface(prompt: str, context: Sequence[str] = ()) -> NDArray[np.float32]:
    """The features of a message, shape ``(len(NAMES),)``, each roughly between 0 and 3."""
    text = prompt.strip()[:_MOST_CHARS]
    before = context[-1].strip()[:_MOST_CHARS] if context else ""
    lines = text.splitlines() or [""]
    size = max(len(text), 1)
    values = (
        math.log1p(len(prompt.strip())) / 3,
        math.log1p(len(lines) - 1),
        math.log1p(max(map(len, lines))) / 3,
        math.log1p(len(lines[0].split())) / 2,
        math.log1p(len(_SENTENCE.findall(text))),
        float(text.endswith(("?", "？"))),
        _density(_CODE, text),
        min(len(_INDENTED.findall(text)) / len(lines) * 2, 2.0),
        min(sum(map(str.isdigit, text)) / size * 10, 3.0),
        math.log1p(len(_ARITHMETIC.findall(text))),
        min(sum(map(str.isupper, text)) / size * 10, 3.0),
        min((len(text) - len(text.encode("ascii", "ignore"))) / size * 5, 3.0),
        math.log1p(sum(map(text.count, '"“”«»'))) / 2,
        float(bool(_PASTED.search(text))),
        float(bool(before)),
        math.log1p(len(before)) / 3,
        _density(_CODE, before),
    )
    return np.asarray(values, dtype=np.float32)


def unread_share(prompt: str) -> float:
    """The share of a message's letters that are not Latin; 0 below a third, when it is a quote.

    The encoder's vocabulary has single letters of other scripts at most.
    """
    if prompt.isascii():
        return 0.0
    letters = [c for c in prompt[:_MOST_CHARS] if c.isalpha()]
    foreign = sum(c > _LATIN_ENDS for c in letters)
    share = foreign / len(letters) if letters else 0.0
    return share if share >= _READS_FROM else 0.0


def _density(pattern: re.Pattern[str], text: str) -> float:
    return min(math.sqrt(len(pattern.findall(text)) / max(len(text), 1) * 20), 2.0)
