"""Whether an answer is right."""

from __future__ import annotations

from typing import Any

import pytest

from rolecall.bench.cases import Case
from rolecall.bench.checks import (
    answer_of,
    check_calls,
    check_label,
    check_text,
    check_value,
    read_object,
)
from rolecall.bench.constraints import CHECKS, broken

TOOL = {"type": "function", "function": {"name": "timer", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("I think.\nAnswer: 42", "42"),
        ("**Answer:** 42", "42"),
        ("**Answer**: 42", "42"),
        ("Answer: 41\nNo, wait.\nFinal answer: 42", "42"),
        ("So the answer is 42", "42"),
        ("So it is \\boxed{42}.", "42"),
        ("Answer: $\\boxed{42}$", "42"),
        ("First this.\n\n42\n", "42"),
        ("", ""),
    ],
)
def test_what_an_answer_comes_to(text: str, said: str) -> None:
    assert answer_of(text) == said


@pytest.mark.parametrize(
    ("answer", "match", "text", "score"),
    [
        (1275, "number", "Answer: 1,275.", 1),
        (0.5, "number", "It is 0.50 euros", 1),
        (-3, "number", "Answer: −3", 1),
        (42, "number", "Answer: 42 (6 × 7)", 1),
        (42, "number", "(6 × 7 = 42)", 1),
        (12, "number", "Answer: 12 m^2", 1),
        (12, "number", "Answer: 12 m2", 1),
        (5, "number", "Answer: 15", 0),
        (5, "number", "no idea", 0),
        (5, "number", "", 0),
        ("Mia", "exact", "Answer: **Mia**.", 1),
        ("Mia", "exact", "Answer: Mia or Lea", 0),
        ("Mia", "exact", "", 0),
        (["no", "No way"], "exact", "Answer: NO WAY!", 1),
        ("X7", "contains", "The code is X7, I believe.", 1),
        ("X7", "contains", "The code is X71.", 0),
        ("(B)", "exact", "Answer: (B) the red one", 1),
        ("(B)", "exact", "Answer: B", 1),
        ("(B)", "exact", "Answer: (A), not (B)", 0),
        (") ) }", "exact", "Answer: ) ) }", 1),
        (") ) }", "exact", "Answer: ] ] ]", 0),
        (") ) }", "exact", "", 0),
    ],
)
def test_an_answer_in_words(answer: Any, match: Any, text: str, score: float) -> None:
    assert check_text(Case(prompt="?", answer=answer, match=match), text).score == score


def test_what_expects_nothing_is_unscored_and_never_right() -> None:
    case = Case(prompt="?")
    for mark in (check_text(case, "yes"), check_label(case, "HANDLE"), check_value(case, {})):
        assert mark.score is None
    assert check_calls(case, []).score is None


@pytest.mark.parametrize(
    ("calls", "score"),
    [
        ([{"name": "timer", "args": {"minutes": 5}}], 1),
        ([{"name": "timer", "args": {"minutes": 5.0}}], 1),
        ([{"name": "timer", "args": {"minutes": "5"}}], 0),
        ([{"name": "timer", "args": {"minutes": 5, "loud": True}}], 0),
        ([{"name": "clock", "args": {"minutes": 5}}], 0),
        ([{"name": "timer", "args": {"minutes": 5}}] * 2, 0),
        ([], 0),
    ],
)
def test_exactly_the_expected_call_is_right(calls: list[dict[str, Any]], score: float) -> None:
    wanted = {"name": "timer", "args": {"minutes": 5}}
    assert check_calls(Case(prompt="?", tools=[TOOL], call=wanted), calls).score == score


def test_no_call_can_be_what_is_right() -> None:
    case = Case(prompt="?", tools=[TOOL], call="none")
    assert check_calls(case, []).score == 1
    mark = check_calls(case, [{"name": "timer", "args": {}}])
    assert (mark.score, mark.why) == (0, "called timer")


def test_an_object_must_hold_the_expected_values_and_may_hold_more() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    case = Case(prompt="?", schema=schema, value={"n": 5, "names": ["Ann"], "ok": False})
    assert check_value(case, {"n": 5, "names": ["ann"], "ok": False, "more": 1}).score == 1
    assert check_value(case, {"n": 5, "names": ["ann", "bo"], "ok": False}).why == "names"
    assert check_value(case, {"n": 5, "names": ["Ann"], "ok": 0}).why == "ok"
    assert check_value(case, None).score == 0
    assert read_object(case, 'Here: ```json\n{"n": 5}\n```') == {"n": 5}
    assert read_object(case, '{"n": "five"}') is None


def test_a_whole_number_without_bound_is_only_wrong() -> None:
    case = Case(prompt="?", schema={"type": "object"}, value={"n": 5})
    assert check_value(case, {"n": 10**400}).score == 0


def test_an_answer_that_nests_without_end_is_wrong_and_no_fault() -> None:
    deep = "[" * 100_000
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    assert broken(deep, {"json": True}) == ["json"]
    assert read_object(Case(prompt="?", schema=schema, value={"n": 1}), '{"n": ' + deep) is None


# By constraint: what it wants, a text that keeps it, one that breaks it.
CONSTRAINTS: dict[str, tuple[Any, str, str]] = {
    "words": ([2, 3], "two words", "one"),
    "sentences": (2, "One. Two!", "One."),
    "lines": (2, "a\nb", "a"),
    "bullets": (2, "- a\n- b", "a\nb"),
    "paragraphs": (2, "a\n\nb", "a\nb"),
    "chars": ([1, 5], "four", "too long"),
    "items": (3, "a, b, c", "a, b"),
    "has": (["north", "south"], "North and south", "northern, south"),
    "has_any": (["hola", "buenas"], "Hola", "hello"),
    "lacks": (["dog"], "a cat", "a dog"),
    "no_letters": ("e", "A word", "The end"),
    "no_chars": (",!", "fine", "fine, no"),
    "starts": ("Yes", "Yes it is", "No"),
    "ends": ("out.", "Over and out.", "out. Over"),
    "upper": (True, "LOUD 1", "Loud"),
    "lower": (True, "quiet 1", "Quiet"),
    "matches": (r"\d+", "123", "123 a"),
    "json": (["a", "b"], '{"b": 1, "a": 2}', '{"a": 2}'),
    "is": (["yes"], "YES", "yes indeed"),
}


@pytest.mark.parametrize("name", CHECKS)
def test_each_constraint_tells_a_text_that_keeps_it_from_one_that_does_not(name: str) -> None:
    wanted, kept, breaks = CONSTRAINTS[name]
    assert broken(kept, {name: wanted}) == []
    assert broken(breaks, {name: wanted}) == [name]
    assert broken("  \n", {name: wanted}) == [name]
