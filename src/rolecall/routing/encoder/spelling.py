"""Mends mistyped words before the tokenizer takes them apart.

A word that neither the tokenizer's vocabulary nor the training messages know falls into pieces
that mean nothing. It is read as the commonest word of the training messages that is one slip away:
a letter lost, added or replaced, or two that are swapped (Damerau 1964, doi 10.1145/363958.363994).
A word that has no such neighbour stays as it is.

Two words that are one slip apart have a form in common: themselves, or what is left of them without
one letter. So the known words are kept under the hashes of these forms, sorted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

_WORD = re.compile(r"(?<![^\W_])[A-Za-z]{4,20}(?![^\W_])")
_MOST_UNKNOWN = 48  # in one text: the time is bounded whatever was pasted
_LIKELY = 5.0  # a doubled letter or a swap, to any other slip: that is what hands do


class Spelling:
    """Mends the words of a text.

    Args:
        words: the known words, the commonest first, one a line.
        in_vocabulary: whether the tokenizer has a word as one token.
    """

    def __init__(self, words: Path, in_vocabulary: Callable[[str], bool]) -> None:
        self._words = words.read_text(encoding="ascii").split()
        self._known = frozenset(self._words)
        self._in_vocabulary = in_vocabulary
        hashes = np.fromiter(
            (hash(form) for word in self._words for form in _forms(word)), np.int64
        )
        owners = np.repeat(
            np.arange(len(self._words), dtype=np.int32), [len(word) + 1 for word in self._words]
        )
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._owners = hashes[order], owners[order]

    def mend(self, text: str) -> str:
        """The text with its mistyped words as they were probably meant, those in lower case."""
        unknown = 0

        def mended(found: re.Match[str]) -> str:
            nonlocal unknown
            word = found[0].lower()
            if word in self._known or unknown >= _MOST_UNKNOWN or self._in_vocabulary(word):
                return found[0]
            unknown += 1
            return self.nearest(word) or found[0]

        return _WORD.sub(mended, text)

    def nearest(self, word: str) -> str | None:
        """The likeliest known word one slip away from ``word``, in lower case; ``None``: none."""
        forms = [hash(form) for form in _forms(word)]
        starts = np.searchsorted(self._hashes, forms, "left").tolist()
        ends = np.searchsorted(self._hashes, forms, "right").tolist()
        best, least = None, float("inf")
        for start, end in zip(starts, ends, strict=True):
            for place in self._owners[start:end].tolist() if start < end else ():
                weight = _slip(word, self._words[place])
                if weight and (place + 1) / weight < least:
                    best, least = self._words[place], (place + 1) / weight
        return best


def _forms(word: str) -> Iterator[str]:
    yield word
    for i in range(len(word)):
        yield word[:i] + word[i + 1 :]


def _slip(typed: str, meant: str) -> float:
    """How likely ``meant`` was typed so; 0 when they are not one slip apart."""
    first = next((i for i, (a, b) in enumerate(zip(typed, meant, strict=False)) if a != b), None)
    if first is None:
        first = min(len(typed), len(meant))
    if len(typed) == len(meant) + 1:
        if typed[:first] + typed[first + 1 :] != meant:
            return 0.0
        return _LIKELY if first and typed[first] == typed[first - 1] else 1.0
    if len(typed) + 1 == len(meant):
        return float(meant[:first] + meant[first + 1 :] == typed)
    swapped = typed[:first] + typed[first : first + 2][::-1] + typed[first + 2 :]
    if len(typed) != len(meant):
        return 0.0
    return _LIKELY if swapped == meant else float(typed[first + 1 :] == meant[first + 1 :])
