"""From a message and its context to token ids, in bounded time.

    [CLS] the message [SEP] earlier messages, the newest last [SEP]
    segment 0                segment 1

In use, mistyped words are mended first. Fine-tuning sees messages as they stand, and variants of
them with slips: what the spelling cannot mend is nothing new to the encoder.

A long message keeps its head and its tail, where instructions stand; the middle goes. Line ends
are tokens of their own: they tell an instruction from what was pasted below it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from rolecall.routing.encoder.spelling import Spelling

_CLS, _SEP = 101, 102
_LINE, _PARAGRAPH, _GAP = 2, 3, 4  # entries of the BERT vocabulary that stand for nothing yet

_HEAD_TOKENS, _TAIL_TOKENS = 80, 32
_NEWEST_TOKENS, _OLDER_TOKENS, _EARLIER = 32, 12, 3
_CHARS_PER_TOKEN = 12  # more than any text needs: what is cut by characters is cut by tokens too

_BREAKS = re.compile(r"(\s*\n\s*)")


@dataclass(frozen=True)
class Inputs:
    """Token ids and segment ids of one message, both of length ``n_tokens``."""

    ids: list[int]
    segments: list[int]


class InputBuilder:
    """Builds the encoder's inputs.

    Args:
        tokenizer: a ``tokenizer.json`` with BERT's English uncased vocabulary.
        words: what the spelling knows; without it messages are taken as they stand.
    """

    def __init__(self, tokenizer: Path, words: Path | None = None) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer.read_text(encoding="utf-8"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._spelling = None if words is None else Spelling(words, self._in_vocabulary)

    def build(self, prompt: str, context: Sequence[str] = ()) -> Inputs:
        """The inputs of a message that was said after ``context`` (oldest first)."""
        message = self._tokens(prompt, _HEAD_TOKENS, _TAIL_TOKENS)
        before: list[int] = []
        earlier = list(context)[-_EARLIER:]
        for index, text in enumerate(earlier):
            newest = index == len(earlier) - 1
            budget = _NEWEST_TOKENS if newest else _OLDER_TOKENS
            before += [
                *([_LINE] if before else []),
                *self._tokens(text, budget * 3 // 4, budget // 4),
            ]
        ids = [_CLS, *message, _SEP]
        segments = [0] * len(ids)
        if before:
            ids += [*before, _SEP]
            segments += [1] * (len(before) + 1)
        return Inputs(ids, segments)

    def _tokens(self, text: str, head: int, tail: int) -> list[int]:
        text = text.strip()
        limit = (head + tail) * _CHARS_PER_TOKEN
        if len(text) <= 2 * limit:
            return _cut(self._line_tokens(text), head, tail)
        front = self._line_tokens(text[:limit])[:head]
        back = self._line_tokens(text[-limit:])[-tail:]
        return [*front, _GAP, *back]

    def _line_tokens(self, text: str) -> list[int]:
        parts = _BREAKS.split(text if self._spelling is None else self._spelling.mend(text))
        encoded = self._tokenizer.encode_batch_fast(parts[::2], add_special_tokens=False)
        ids = list(encoded[0].ids)
        for gap, line in zip(parts[1::2], encoded[1:], strict=True):
            ids += [_PARAGRAPH if gap.count("\n") > 1 else _LINE, *line.ids]
        return ids

    def _in_vocabulary(self, word: str) -> bool:
        return self._tokenizer.token_to_id(word) is not None


def _cut(ids: list[int], head: int, tail: int) -> list[int]:
    return ids if len(ids) <= head + tail else [*ids[:head], _GAP, *ids[-tail:]]
