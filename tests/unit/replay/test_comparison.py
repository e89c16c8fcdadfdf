"""What a comparison says of two runs of a turn, and what many of them add up to."""

from __future__ import annotations

import difflib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.replay import Comparison, Side, ToolUse
from rolecall.replay.likeness import likeness
from rolecall.replay.regression import figures


def side(answer: str | None = "yes", role: str = "CODING", **more: Any) -> Side:
    decision = {"routing_decision": "DELEGATE", "target_model": role, "confidence": 0.9}
    given = {"answer": answer, "decision": decision, "strategy": "llm", "latency_ms": 100.0}
    return Side(**{**given, "input_tokens": 30, "output_tokens": 10, **more})


def pair(first: Side, second: Side, **more: Any) -> Comparison:
    return Comparison("t", 1, "why?", first, second, **more)


@given(st.lists(st.sampled_from("abc"), max_size=9), st.lists(st.sampled_from("abc"), max_size=9))
def test_likeness_is_the_longest_common_subsequence(one: list[str], other: list[str]) -> None:
    longest = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            longest[i + 1][j + 1] = (
                longest[i][j] + 1 if a == b else max(longest[i][j + 1], longest[i + 1][j])
            )
    expected = 2 * longest[-1][-1] / (len(one) + len(other)) if one or other else 1.0
    assert likeness(" ".join(one), " ".join(other)) == expected
    blocks = difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()
    assert likeness(" ".join(one), " ".join(other)) >= blocks  # which takes no detours


def test_likeness_of_answers_that_a_small_model_loops_in_takes_no_time() -> None:
    started = time.perf_counter()
    value = likeness("a b " * 10_000, "b a a b " * 5_000)
    assert 0.5 <= value < 1.0
    assert time.perf_counter() - started < 20


def test_white_space_is_no_difference() -> None:
    same = pair(side("def f():\n    return 1"), side(" def f(): return 1\n"))
    assert (same.same_answer, same.similarity) == (True, 1.0)
    other = pair(side("a b c d"), side("a b x d"))
    assert (other.same_answer, other.similarity) == (False, 0.75)


def test_what_is_not_known_is_not_compared() -> None:
    failed = pair(side(), side(None, error="gone", exit_code=3))
    assert (failed.failed, failed.same_answer, failed.latency_ratio) == (True, None, None)
    untraced = pair(side(latency_ms=None, input_tokens=None, output_tokens=None), side())
    assert (untraced.latency_ratio, untraced.tokens_ratio) == (None, None)
    part = pair(side(), side(role="REASONING"), from_step="1f")
    assert (part.decision_changed, part.latency_ratio, part.same_answer) == (None, None, True)


def test_ratios_are_of_the_replay_over_the_original() -> None:
    one = pair(side(), side(latency_ms=250.0, input_tokens=10, output_tokens=10))
    assert (one.latency_ratio, one.tokens_ratio) == (2.5, 0.5)


def test_a_comparison_survives_json() -> None:
    tools = [ToolUse("pay", {"to": "Ann", "more": [1, None]}, "error", "not made")]
    one = pair(side(), side("no", tools=tools), replay_thread="replay-1", notes=["n"])
    assert Comparison.from_json(json.loads(json.dumps(one.as_json()))) == one


def test_figures_over_nothing_and_over_one() -> None:
    none = figures([])
    assert (none["turns"], none["decisions"]["kept"], none["latency"]["ratio"]) == (0, None, None)
    one = figures([pair(side(), side(latency_ms=200.0))])
    assert one["latency"] == {
        "turns": 1,
        "before": 100.0,
        "after": 200.0,
        "ratio": 2.0,
        "interval": [2.0, 2.0],
    }


def test_intervals_are_the_same_each_time_and_hold_the_figure() -> None:
    turns = [pair(side(), side("yes" if n % 3 else "no", latency_ms=100.0 + n)) for n in range(30)]
    first, second = figures(turns), figures(turns)
    assert first == second
    low, high = first["answers"]["interval"]
    assert first["answers"]["kept"] == pytest.approx(2 / 3)
    assert low < 2 / 3 < high
