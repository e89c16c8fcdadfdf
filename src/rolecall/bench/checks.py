"""Whether an answer is right, without a judge.

Every check returns a :class:`Mark`; what cannot be checked has no score.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rolecall.bench.cases import Case
from rolecall.bench.constraints import broken
from rolecall.models.object_reading import Unfit, read_answer

_SAID = re.compile(r"\banswer[\s*_]*(?:is\b|[:=])[\s*_:]*(\S.*)", re.IGNORECASE)
_CHOICE = re.compile(r"\(([A-Z])\)")
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_NUMBER = re.compile(r"(?<![A-Za-z^])[-−]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")  # not of m2 or m^2
_ASIDE = re.compile(r"\([^()]*\)")
_QUOTES = " \t\r\n'\"`*"
_EDGES = " \t\r\n'\"`*_.!,;:()[]{}<>“”‘’$\\"


@dataclass(frozen=True)
class Mark:
    """A score from 0 to 1, ``None`` where nothing says what is right, and why it is not 1."""

    score: float | None
    why: str = ""


UNSCORED = Mark(None, "no expected answer")


def answer_of(text: str) -> str:
    """What an answer comes to: behind the last ``Answer:`` (or "answer is"), in the last box, or
    its last line.
    """
    if said := _SAID.findall(text):
        text = str(said[-1])
    if boxed := _BOXED.findall(text):
        return str(boxed[-1]).strip()
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def normal(text: str) -> str:
    """A text to compare by: no case, no marks at its edges (unless it is all marks), one space."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return " ".join((plain.strip(_EDGES) or plain.strip(_QUOTES)).split())


def check_text(case: Case, text: str) -> Mark:
    """Marks an answer in words: ``answer`` or ``must``."""
    if case.must is not None:
        failed = broken(text, case.must)
        return Mark(float(not failed), ", ".join(failed))
    if case.answer is None:
        return UNSCORED
    accepted = case.answer if isinstance(case.answer, list) else [str(case.answer)]
    if case.match == "contains":
        said = normal(text)
        if any(re.search(rf"(?<!\w){re.escape(normal(a))}(?!\w)", said) for a in accepted):
            return Mark(1.0)
        return Mark(0.0, "not in the answer")
    given = answer_of(text)
    if case.match == "number" or isinstance(case.answer, int | float):
        number = _number(given) if _number(given) is not None else _number(text)
        right = number is not None and _close(number, float(accepted[0]))
        return Mark(float(right), "" if right else f"got {number}")
    if all(_CHOICE.fullmatch(text) for text in accepted) and (chosen := _CHOICE.search(given)):
        given = chosen[0]  # "(B) the red one" chooses (B)
    right = normal(given) in {normal(text) for text in accepted}
    return Mark(float(right), "" if right else f"got {given[:60]!r}")


def _number(text: str) -> float | None:
    """The last number, of what stands outside of brackets where there is one."""
    found = _NUMBER.findall(_ASIDE.sub(" ", text)) or _NUMBER.findall(text)
    return float(found[-1].replace(",", "").replace("−", "-")) if found else None


def check_label(case: Case, label: str) -> Mark:
    """Marks a router's decision."""
    if case.label is None:
        return UNSCORED
    return Mark(float(label == case.label), "" if label == case.label else f"got {label}")


def check_value(case: Case, parsed: Any) -> Mark:
    """Marks an object: it holds the expected values. ``None`` is no object."""
    if case.value is None:
        return UNSCORED
    if not isinstance(parsed, dict):
        return Mark(0.0, "no object that fits the schema")
    wrong = [key for key, wanted in case.value.items() if not _same(parsed.get(key), wanted)]
    return Mark(float(not wrong), ", ".join(wrong))


def read_object(case: Case, text: str) -> Any:
    """The object in an answer that was asked for in words only; ``None`` if it does not fit."""
    from langchain_core.messages import AIMessage

    schema = case.json_schema or {}
    try:
        return read_answer(AIMessage(text), schema, schema)
    except (Unfit, RecursionError):
        return None


def check_calls(case: Case, calls: Sequence[Mapping[str, Any]]) -> Mark:
    """Marks tool calls (``name``, ``args``): exactly the expected one, or none."""
    if case.call is None:
        return UNSCORED
    named = ", ".join(str(call["name"]) for call in calls)
    if case.call == "none":
        return Mark(float(not calls), f"called {named}" if calls else "")
    if len(calls) != 1:
        return Mark(0.0, f"called {named}" if calls else "no call")
    if calls[0]["name"] != case.call["name"]:
        return Mark(0.0, f"called {named}")
    args = calls[0]["args"]
    wanted = case.call["args"]
    wrong = [key for key, value in wanted.items() if not _one_of(args.get(key), value)]
    wrong += [f"{key} was not asked for" for key in args if key not in wanted]
    return Mark(float(not wrong), ", ".join(wrong))


def _one_of(given: Any, wanted: Any) -> bool:
    """A list of accepted texts stands for any of them."""
    if isinstance(wanted, list) and not isinstance(given, list):
        return any(_same(given, one) for one in wanted)
    return _same(given, wanted)


def _close(given: float, wanted: float) -> bool:
    try:
        return math.isclose(given, wanted, rel_tol=1e-6)
    except OverflowError:  # whole numbers have no bound
        return False


def _same(given: Any, wanted: Any) -> bool:
    if isinstance(wanted, str):
        return isinstance(given, str) and normal(given) == normal(wanted)
    if isinstance(wanted, bool) or wanted is None:
        return given is wanted
    if isinstance(wanted, int | float):
        number = isinstance(given, int | float) and not isinstance(given, bool)
        return number and _close(given, wanted)
    if isinstance(wanted, list):
        return (
            isinstance(given, list)
            and len(given) == len(wanted)
            and all(_same(one, other) for one, other in zip(given, wanted, strict=True))
        )
    return (
        isinstance(given, dict)
        and set(given) == set(wanted)
        and all(_same(given[key], wanted[key]) for key in wanted)
    )
