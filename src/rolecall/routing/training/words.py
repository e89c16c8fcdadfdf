"""The words that the spelling knows: those of the training messages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from rolecall.routing.examples import Example

_LEAST = 3  # times: a slip is seldom made so often
_WORD = re.compile(r"[a-z]{3,20}")


def write_words(examples: Iterable[Example], target: Path) -> None:
    """Write the words that the messages have at least three times, the commonest first."""
    counts: Counter[str] = Counter()
    for example in examples:
        for text in (example.prompt, *example.context):
            counts.update(_WORD.findall(text.lower()))
    kept = sorted((-count, word) for word, count in counts.items() if count >= _LEAST)
    target.write_text("".join(f"{word}\n" for _, word in kept), encoding="ascii")
