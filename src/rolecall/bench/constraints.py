"""Constraints that a program can check: what ``must`` of a case may say.

The idea of verifiable instructions is that of IFEval (Zhou et al. 2023); none of its text is here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)")
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+\S")


def _span(count: int, wanted: Any) -> bool:
    low, high = (wanted, wanted) if isinstance(wanted, int) else wanted
    return bool(low <= count <= high)


def _texts(wanted: Any) -> list[str]:
    return [wanted] if isinstance(wanted, str) else list(wanted)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _has_word(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def _is_json(text: str, wanted: Any) -> bool:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if wanted is True:
        return True
    return isinstance(found, dict) and set(found) == set(wanted)


def _letters(text: str) -> list[str]:
    return [letter for letter in text if letter.isalpha()]


CHECKS: dict[str, Callable[[str, Any], bool]] = {
    "words": lambda text, wanted: _span(len(_WORD.findall(text)), wanted),
    "sentences": lambda text, wanted: _span(len(_SENTENCE_END.findall(text)), wanted),
    "lines": lambda text, wanted: _span(len(_lines(text)), wanted),
    "bullets": lambda text, wanted: _span(
        sum(bool(_BULLET.match(line)) for line in text.splitlines()), wanted
    ),
    "paragraphs": lambda text, wanted: _span(
        len([part for part in re.split(r"\n\s*\n", text.strip()) if part.strip()]), wanted
    ),
    "chars": lambda text, wanted: _span(len(text), wanted),
    "items": lambda text, wanted: (
        len(_lines(text)) == 1 and _span(len([p for p in text.split(",") if p.strip()]), wanted)
    ),
    "has": lambda text, wanted: all(_has_word(text, word) for word in _texts(wanted)),
    "has_any": lambda text, wanted: any(_has_word(text, word) for word in _texts(wanted)),
    "lacks": lambda text, wanted: not any(_has_word(text, word) for word in _texts(wanted)),
    "no_letters": lambda text, wanted: (
        bool(_letters(text)) and not set(str(wanted).casefold()) & set(text.casefold())
    ),
    "no_chars": lambda text, wanted: bool(text) and not set(str(wanted)) & set(text),
    "starts": lambda text, wanted: text.startswith(str(wanted)),
    "ends": lambda text, wanted: text.endswith(str(wanted)),
    "upper": lambda text, wanted: (
        bool(_letters(text)) and all(letter.isupper() for letter in _letters(text)) is wanted
    ),
    "lower": lambda text, wanted: (
        bool(_letters(text)) and all(letter.islower() for letter in _letters(text)) is wanted
    ),
    "matches": lambda text, wanted: re.fullmatch(str(wanted), text, re.DOTALL) is not None,
    "json": _is_json,
    "is": lambda text, wanted: text.casefold() in {word.casefold() for word in _texts(wanted)},
}

_COUNTS = frozenset({"words", "sentences", "lines", "bullets", "paragraphs", "chars", "items"})
_SWITCHES = frozenset({"upper", "lower"})
_LISTS = frozenset({"has", "has_any", "lacks", "is"})


def check_known(must: Mapping[str, Any]) -> None:
    """Refuse constraints that are not known or say nothing.

    Raises:
        ValueError: the message names the constraint and what it takes.
    """
    for name, wanted in must.items():
        if name not in CHECKS:
            raise ValueError(f"must: there is no constraint {name!r}; {', '.join(CHECKS)}")
        if name in _COUNTS:
            pair = isinstance(wanted, list) and len(wanted) == 2
            numbers = wanted if pair else [wanted]
            fits = all(isinstance(n, int) and not isinstance(n, bool) for n in numbers)
            expected = "a number or [least, most]"
        elif name in _SWITCHES:
            fits, expected = isinstance(wanted, bool), "true or false"
        elif name == "json":
            fits, expected = wanted is True or _are_texts(wanted), "true or a list of keys"
        elif name in _LISTS:
            fits, expected = isinstance(wanted, str) or _are_texts(wanted), "a text or several"
        else:
            fits, expected = isinstance(wanted, str) and bool(wanted), "a text"
            if name == "matches" and fits:
                try:
                    re.compile(wanted)
                except re.error as error:
                    raise ValueError(f"must.matches: no regular expression: {error}") from error
        if not fits:
            raise ValueError(f"must.{name}: expected {expected}")


def _are_texts(wanted: Any) -> bool:
    return isinstance(wanted, list) and bool(wanted) and all(isinstance(t, str) for t in wanted)


def broken(text: str, must: Mapping[str, Any]) -> list[str]:
    """The constraints that an answer breaks; an empty answer breaks all."""
    said = text.strip()
    return [name for name, wanted in must.items() if not said or not CHECKS[name](said, wanted)]
