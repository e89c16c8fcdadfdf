"""Reads JSON as small models write it: single quotes, trailing commas, Python's constants."""

from __future__ import annotations

import json
import re

_DECODER = json.JSONDecoder(strict=False)
_LONGEST_REPAIR = 50_000
_CLOSES = {"{": "}", "[": "]"}
_TOKEN = re.compile(
    r'(?P<double>"(?:\\.|[^"\\])*")'
    r"|'(?P<single>(?:\\.|[^'\\])*)'"
    r"|(?P<comma>,)(?=\s*[}\]])"
    r"|(?P<word>[A-Za-z_]\w*)(?P<key>\s*:)?",
    re.DOTALL,
)
_CONSTANTS = {"True": "true", "False": "false", "None": "null"}


def read_value(text: str, at: int = 0, stop: int | None = None) -> tuple[object, int] | None:
    """The JSON object or array that begins at ``text[at]``, and where it ends.

    What is not JSON is repaired, within ``text[at:stop]``: quotes, commas, constants, names of
    keys without quotes, and closing brackets missing at ``stop``. A value cut off within a string
    is not repaired: half of an argument is worse than none.
    """
    if text[at : at + 1] not in _CLOSES:
        return None
    try:
        return _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        pass
    extent = _extent(text, at, len(text) if stop is None else stop)
    if extent is None:
        return None
    end, missing = extent
    try:
        return json.loads(_TOKEN.sub(_as_json, text[at:end].rstrip() + missing), strict=False), end
    except (ValueError, RecursionError):
        return None


def _extent(text: str, at: int, stop: int) -> tuple[int, str] | None:
    """Where the brackets that open at ``at`` are closed, and the closing ones that lack."""
    expected: list[str] = []
    quote = ""
    position = at
    if stop - at > _LONGEST_REPAIR:
        return None
    while position < stop:
        char = text[position]
        if quote:
            if char == "\\":
                position += 1
            elif char == quote:
                quote = ""
        elif char in "\"'":
            quote = char
        elif char in _CLOSES:
            expected.append(_CLOSES[char])
        elif char in "}]":
            if char != expected.pop():
                return None
            if not expected:
                return position + 1, ""
        position += 1
    return None if quote else (stop, "".join(reversed(expected)))


def _as_json(token: re.Match[str]) -> str:
    if token["double"] is not None:
        return token["double"]
    if token["single"] is not None:
        inner = re.sub(r'(?<!\\)((?:\\\\)*)"', r'\1\\"', token["single"]).replace("\\'", "'")
        return f'"{inner}"'
    if token["comma"] is not None:
        return ""
    word = token["word"]
    if token["key"] is not None:
        return f'"{word}"{token["key"]}'
    return _CONSTANTS.get(word, word)
