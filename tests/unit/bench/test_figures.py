"""Intervals and tests of significance, and what they say of two runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rolecall.bench.attribution import attribute
from rolecall.bench.difference import compare
from rolecall.bench.figures import (
    difference_interval,
    holm,
    mcnemar,
    mean_interval,
    ratio_interval,
)
from rolecall.bench.summary import attributed, models_compared, orchestration, summarise

Rows = Callable[..., list[dict[str, Any]]]


def test_an_interval_holds_the_mean_and_narrows_with_more_cases() -> None:
    few, many = mean_interval([1.0, 0.0] * 5), mean_interval([1.0, 0.0] * 100)
    assert few[0] < 0.5 < few[1]
    assert many[1] - many[0] < (few[1] - few[0]) / 2
    assert mean_interval([1.0, 0.0] * 5) == few  # the seed is fixed


def test_where_all_cases_are_alike_the_interval_is_still_not_a_point() -> None:
    assert mean_interval([1.0] * 6)[0] == pytest.approx(0.61, abs=0.01)  # Wilson's
    assert mean_interval([0.0] * 6)[1] == pytest.approx(0.39, abs=0.01)
    low, high = difference_interval([1.0] * 6, [1.0] * 6)
    assert low == -high == pytest.approx(-0.39, abs=0.01)
    low, high = difference_interval([0.0] * 6, [1.0] * 6)
    assert (low, high) == (pytest.approx(0.22, abs=0.01), 1.0)


def test_mcnemar_counts_only_cases_that_changed() -> None:
    assert mcnemar([1, 0, 1], [1, 0, 1]) == 1.0
    assert mcnemar([0] * 6, [1] * 6) == pytest.approx(2 / 2**6)
    assert mcnemar([0] * 6 + [1] * 90, [1] * 6 + [1] * 90) == pytest.approx(2 / 2**6)


def test_holm_asks_more_of_several_differences_than_of_one() -> None:
    assert holm([0.03]) == [True]
    assert holm([0.03, 0.04]) == [False, False]
    assert holm([0.04, 0.01]) == [True, True]
    assert holm([]) == []


def test_a_ratio_is_paired() -> None:
    middle, interval = ratio_interval([1.0, 10.0, 100.0], [2.0, 20.0, 200.0])
    assert (middle, interval) == (2.0, [2.0, 2.0])


def test_two_models_are_compared_on_the_cases_that_both_answered(rows: Rows) -> None:
    first = rows([1, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    second = rows([1, 1, 1, 1, 1, 1, 1, 1, 1, 0], seconds=1.0, answer="other")
    second[0] = {**second[0], "status": "error", "score": None}
    (line,) = compare(first, second)
    assert (line["role"], line["suite"], line["pairs"]) == ("coding", "coding", 9)
    assert line["difference"] == pytest.approx(7 / 9)
    assert line["worse"] == ["case-9"]
    assert len(line["better"]) == 8
    assert (line["verdict"], line["significant"]) == ("better", True)
    assert (line["identical"], line["seconds_ratio"]) == (0, 0.5)
    (back,) = compare(second, first)
    assert (back["verdict"], back["difference"]) == ("worse", pytest.approx(-7 / 9))


def test_few_cases_are_no_significant_difference(rows: Rows) -> None:
    (line,) = compare(rows([0, 0, 0]), rows([1, 1, 1]))
    assert (line["verdict"], line["significant"]) == ("no significant difference", False)


def test_unscored_cases_and_other_suites_are_nothing_to_compare(rows: Rows) -> None:
    (line,) = compare(rows([None, None]), rows([None, None]))
    assert (line["verdict"], line["pairs"], line["identical"]) == ("nothing to compare", 0, 2)
    assert compare(rows([1]), rows([1], suite="reasoning")) == []
    assert compare(rows([1]), rows([1], role="reasoning")) == []


def test_a_difference_is_the_models_or_rolecalls(rows: Rows) -> None:
    first = rows([0, 0, 0, 0]) + rows([0, 0, 0, 0], arm="bare")
    second = rows([1, 1, 1, 0], model="n") + rows([1, 0, 0, 0], model="n", arm="bare")
    (line,) = attribute(first, second)
    assert (line["difference"], line["of_model"], line["of_orchestration"]) == (0.75, 0.25, 0.5)
    (told,) = attributed(first + second)
    assert (told["first"]["model"], told["second"]["model"]) == ("m", "n")
    assert attribute(rows([0]), second) == []  # the first was not asked bare


def test_figures_of_a_run(rows: Rows) -> None:
    asked = rows([1, 0, None], memory_bytes=5) + rows([1], arm="bare")
    asked += rows([None], case_id="dead", case_digest="dead", status="error", seconds=None)
    whole, bare = summarise(asked)
    assert (whole["cases"], whole["scored"], whole["unscored"], whole["errors"]) == (4, 2, 1, 1)
    assert (whole["score"], whole["seconds"], whole["output_tokens"]) == (0.5, 6.0, 60)
    assert (whole["tokens_per_s"], whole["memory_bytes"]) == (10.0, 5)
    assert (bare["arm"], bare["score"]) == ("bare", 1.0)
    (line,) = orchestration(asked)
    assert (line["pairs"], line["difference"], line["model"]) == (1, 0.0, "m")


def test_quantizations_of_a_model_are_compared_like_models(rows: Rows) -> None:
    asked = rows([1, 1], quantization="Q8") + rows([1, 0], quantization="Q4")
    assert len(summarise(asked)) == 2
    (line,) = models_compared(asked)
    assert (line["first"]["quantization"], line["second"]["quantization"]) == ("Q8", "Q4")
    assert line["difference"] == -0.5
