"""Reads the object out of an answer: strictly first, then as small models write it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from langchain_core.messages import AIMessage

from rolecall.models.schema_validation import violations, without_repeats
from rolecall.models.target import Schema, instance_of, is_pydantic
from rolecall.models.text.loose_json import read_value

_MOST_VALUES = 20
_OPENERS = {"object": re.compile(r"\{"), "array": re.compile(r"\[")}
_ANY_OPENER = re.compile(r"[{\[]")
_DIGITS = re.compile(r"\d+")
_TAIL_CHARS = 600
_LONGEST_ROUND = 150
_ROUNDS = 3


class Unfit(ValueError):
    """An answer holds no value that fits. ``cut``: the token limit ended it."""

    def __init__(self, why: str, *, cut: bool) -> None:
        super().__init__(why)
        self.cut = cut


def read_answer(reply: AIMessage, schema: Schema, wanted: dict[str, Any]) -> Any:
    """The value in an answer: an instance for a pydantic class, else plain JSON.

    Args:
        reply: the model's message.
        schema: what was asked for.
        wanted: its JSON schema.

    Raises:
        Unfit: there is no value, or none that fits.
    """
    cut = reply.response_metadata.get("finish_reason") == "length"
    why = ""
    for value in _values(reply.text, _OPENERS.get(str(wanted.get("type")), _ANY_OPENER), whole=cut):
        try:
            return _fitting(value, schema, wanted)
        except ValueError as error:
            why = why or str(error)
    if not why:
        why = "no JSON in the answer" if reply.text.strip() else "the answer is empty"
    raise Unfit(why, cut=cut)


def goes_round(text: str) -> bool:
    """Whether the end of a text repeats itself, numbers that count up aside."""
    tail = _DIGITS.sub("0", text[-_TAIL_CHARS:])
    for length in range(1, min(_LONGEST_ROUND, len(tail) // _ROUNDS) + 1):
        span = max(_ROUNDS * length, 30)
        end = tail[-span:]
        if len(end) == span and all(end[i] == end[i - length] for i in range(length, span)):
            return True
    return False


def _values(text: str, openers: re.Pattern[str], *, whole: bool) -> Iterator[object]:
    """The JSON values in a text, outermost first. ``whole``: no bracket that lacks is added."""
    try:
        yield json.loads(text, strict=False)
        return
    except (ValueError, RecursionError):
        pass
    at = 0
    for _ in range(_MOST_VALUES):
        opener = openers.search(text, at)
        if opener is None:
            return
        found = _strictly(text, opener.start()) if whole else read_value(text, opener.start())
        if found is None:
            at = opener.end()
            continue
        value, at = found
        yield value


def _strictly(text: str, at: int) -> tuple[object, int] | None:
    try:
        return json.JSONDecoder(strict=False).raw_decode(text, at)
    except (ValueError, RecursionError):
        return None


def _fitting(value: object, schema: Schema, wanted: dict[str, Any]) -> Any:
    if is_pydantic(schema):
        return instance_of(schema, value, json.dumps(value))
    value = without_repeats(value, wanted)
    if faults := violations(value, wanted):
        raise ValueError("; ".join(faults))
    return value
