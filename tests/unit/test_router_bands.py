"""What is promised of the encoder's errors holds; the figures of an evaluation are right."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rolecall.models.calls import OnCall
from rolecall.routing.decision import Decision, Routed
from rolecall.routing.drift import LEAST, WINDOW, drift
from rolecall.routing.encoder.bands import DELTA, Band, threshold_for, walk
from rolecall.routing.evaluation import (
    Outcome,
    by,
    control,
    cost,
    ece,
    measure,
    outcomes,
    risk_coverage,
)
from rolecall.routing.examples import Example

Floats = NDArray[np.float64]
NEVER = 1.01


def booleans(*values: int) -> NDArray[np.bool_]:
    return np.asarray(values, bool)


# --- bands ------------------------------------------------------------------------------------

GRID = np.linspace(0.5, 1.0, 20_001)
ROUTERS: dict[str, Callable[[Floats], Floats]] = {
    "calibrated": lambda c: c,
    "overconfident": lambda c: 0.6 + 0.75 * (c - 0.5),
    "just-too-bad": lambda c: np.full_like(c, 0.915),
    "a-cliff": lambda c: np.where(c > 0.85, 0.95, 0.7),
}


@pytest.mark.parametrize("name", ROUTERS)
def test_the_promised_error_holds_in_almost_all_draws(name: str) -> None:
    right_at, max_error, draws = ROUTERS[name], 0.08, 200
    broken = 0
    for seed in range(draws):
        chance = np.random.default_rng(seed)
        confidences = chance.uniform(0.5, 1.0, 300)
        correct = chance.uniform(size=300) < right_at(confidences)
        threshold = threshold_for(walk(confidences, correct), max_error)
        answered = GRID[threshold <= GRID]
        if len(answered):
            broken += float(1 - right_at(answered).mean()) > max_error
    allowed = DELTA + 3 * (DELTA * (1 - DELTA) / draws) ** 0.5
    assert broken / draws <= allowed


def test_what_can_be_promised_is_not_refused() -> None:
    chance = np.random.default_rng(0)
    confidences = chance.uniform(0.5, 1.0, 2000)
    correct = chance.uniform(size=2000) < confidences
    thresholds = [threshold_for(walk(confidences, correct), e) for e in (0.05, 0.1, 0.2, 0.3)]
    assert thresholds == sorted(thresholds, reverse=True)
    # a calibrated router errs in (1 - t) / 2 of what it answers from t on
    assert thresholds[0] == pytest.approx(0.93, abs=0.03)
    assert thresholds[1] == pytest.approx(0.83, abs=0.03)
    assert thresholds[3] == 0.0


def test_an_error_that_cannot_be_promised_means_never_sure() -> None:
    confidences = np.linspace(0.5, 1.0, 100)
    wrong_half = np.arange(100) % 2 == 0
    assert threshold_for(walk(confidences, wrong_half), 0.05) == NEVER
    assert threshold_for(walk(confidences, np.ones(100, bool)), 0.001) == NEVER
    assert threshold_for(walk(confidences, np.zeros(100, bool)), 0.99) == NEVER
    assert threshold_for([], 0.5) == NEVER


def test_a_router_without_errors_is_sure_of_everything() -> None:
    bands = walk(np.linspace(0.4, 1.0, 500), np.ones(500, bool))
    assert threshold_for(bands, 0.05) == 0.0
    assert bands[-1].coverage == 1.0
    assert [band.error for band in bands] == [0.0] * len(bands)
    assert bands[-1].bound == pytest.approx(1 - DELTA ** (1 / 500))


def test_the_walk_ends_at_the_first_bound_that_fails() -> None:
    bands = [
        Band(0.9, 0.1, 0.0, 0.04),
        Band(0.8, 0.2, 0.0, 0.03),
        Band(0.7, 0.3, 0.1, 0.2),
        Band(0.0, 1.0, 0.0, 0.01),
    ]
    assert threshold_for(bands, 0.05) == 0.8
    assert threshold_for(bands, 0.03) == NEVER
    assert threshold_for(bands, 0.2) == 0.0


def test_thresholds_fall_while_coverage_rises() -> None:
    bands = walk(np.random.default_rng(1).uniform(size=200), np.ones(200, bool))
    assert bands == sorted(bands, key=lambda band: (-band.threshold, band.coverage))
    assert bands[0].coverage == pytest.approx(0.1)
    assert all(band.bound > band.error for band in bands)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_those_that_tie_are_counted_with_those_they_tie_with(share: float) -> None:
    right = np.arange(400) < 400 * share
    bands = walk(np.ones(400), right)
    assert {(band.threshold, band.coverage, band.error) for band in bands} == {
        (0.0, 1.0, 1 - share)
    }


@given(
    st.lists(st.tuples(st.sampled_from([0.4, 0.6, 0.8, 1.0]), st.booleans()), min_size=1),
)
def test_a_bands_figures_are_those_of_what_it_answers(drawn: list[tuple[float, bool]]) -> None:
    confidences = np.asarray([confidence for confidence, _ in drawn])
    correct = np.asarray([right for _, right in drawn])
    for band in walk(confidences, correct):
        answered = confidences >= band.threshold
        assert band.coverage == pytest.approx(answered.mean())
        assert band.error == pytest.approx(1 - correct[answered].mean())


def test_a_threshold_must_not_fail_on_any_style() -> None:
    confidences = np.tile(np.linspace(0.5, 1.0, 500), 2)
    correct = np.ones(1000, bool)
    correct[np.flatnonzero(confidences[:500] < 0.8)] = False  # the first style misleads
    styles = np.repeat(["plain", "hard"], 500)
    together, apart = walk(confidences, correct), walk(confidences, correct, styles)
    assert threshold_for(together, 0.1) < 0.8 <= threshold_for(apart, 0.1) + 0.05
    assert threshold_for(apart, 0.1) > threshold_for(together, 0.1)
    for band in apart:
        worst = max(
            (~correct[(styles == style) & (confidences >= band.threshold)]).mean()
            for style in ("plain", "hard")
        )
        assert band.bound >= worst >= band.error


@pytest.mark.parametrize(("right", "bound"), [(True, 0.9), (False, 1.0)])
def test_one_example_promises_next_to_nothing(right: bool, bound: float) -> None:
    bands = walk(np.asarray([0.7]), np.asarray([right]))
    assert {(band.threshold, band.coverage) for band in bands} == {(0.0, 1.0)}
    assert bands[0].bound == pytest.approx(bound)
    assert threshold_for(bands, 0.05) == NEVER


# --- figures ----------------------------------------------------------------------------------


def outcome(
    truth: str, given: str, confidence: float, latency_ms: float = 1.0, abstained: bool = False
) -> Outcome:
    example = Example(prompt="two words", label=truth, source="s", kind="plain")
    return Outcome(example, given, confidence, abstained, "encoder", latency_ms)


HAND_MADE = [
    outcome("HANDLE", "HANDLE", 0.95, 1.0),
    outcome("HANDLE", "REASONING", 0.65, 2.0, abstained=True),
    outcome("REASONING", "REASONING", 0.85, 3.0),
    outcome("REASONING", "HANDLE", 0.55, 4.0),
    outcome("CODING", "CODING", 0.75, 5.0),
]


def test_the_figures_of_a_hand_made_set() -> None:
    found = measure(HAND_MADE)
    assert found["n"] == 5
    assert found["accuracy"] == pytest.approx(0.6)
    assert found["macro_f1"] == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert found["per_class"]["HANDLE"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "n": 2}
    assert found["per_class"]["CODING"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "n": 1}
    assert found["confusion"] == {
        "labels": ["HANDLE", "REASONING", "CODING"],
        "rows_are_truth": [[1, 1, 0], [1, 1, 0], [0, 0, 1]],
    }
    # one in each bin: |1 - .95|, |0 - .65|, |1 - .85|, |0 - .55|, |1 - .75|
    assert found["ece"] == pytest.approx((0.05 + 0.65 + 0.15 + 0.55 + 0.25) / 5)
    assert found["auroc"] == 1.0
    assert found["abstained"] == pytest.approx(0.2)
    assert found["answered_error"] == pytest.approx(0.25)
    assert found["harmful_error"] == found["cheap_error"] == pytest.approx(0.2)
    assert found["cost"] == pytest.approx((1 + 3) / 5)
    assert found["latency_ms"] == pytest.approx({"p50": 3.0, "p95": 4.8})
    assert found["words"] == {"p50": 2.0, "p95": 2.0}
    low, high = found["accuracy_interval"]
    assert 0 <= low < 0.6 < high <= 1
    assert json.loads(json.dumps(found)) == found


def test_coverage_is_listed_as_objects_the_surest_first() -> None:
    coverage = measure(HAND_MADE)["coverage"]
    assert [set(row) for row in coverage] == [{"coverage", "accuracy"}] * 7
    assert [row["coverage"] for row in coverage] == [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0]
    assert coverage[1]["accuracy"] == 1.0
    assert coverage[3]["accuracy"] == pytest.approx(0.75)
    assert coverage[-1]["accuracy"] == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("given", "accuracy"), [("HANDLE", 1.0), ("REASONING", 0.0), ("LEGAL", 0.0)]
)
@pytest.mark.parametrize("count", [1, 4])
def test_all_right_or_all_wrong_has_no_auroc(given: str, accuracy: float, count: int) -> None:
    found = measure([outcome("HANDLE", given, 0.9)] * count)
    assert found["accuracy"] == found["macro_f1"] == accuracy
    assert found["auroc"] is None
    assert found["ece"] == pytest.approx(abs(accuracy - 0.9))
    low, high = found["accuracy_interval"]
    assert low <= accuracy <= high
    assert high - low == pytest.approx({1: 0.793, 4: 0.490}[count], abs=0.001)  # never certain
    assert found["control_accuracy"] == accuracy


def test_nothing_answered_has_no_error() -> None:
    found = measure([outcome("HANDLE", "HANDLE", 0.4, abstained=True)] * 2)
    assert (found["abstained"], found["answered_error"]) == (1.0, None)


def test_labels_of_the_users_own_follow_the_built_in_ones() -> None:
    found = measure(
        [
            outcome("LEGAL", "LEGAL", 0.9),
            outcome("CHESS", "LEGAL", 0.6),
            outcome("CODING", "CODING", 0.9),
            outcome("HANDLE", "HANDLE", 0.8),
        ]
    )
    assert found["confusion"]["labels"] == ["HANDLE", "CODING", "CHESS", "LEGAL"]
    assert found["per_class"]["CHESS"]["recall"] == 0.0
    assert found["per_class"]["LEGAL"] == pytest.approx(
        {"precision": 0.5, "recall": 1.0, "f1": 2 / 3, "n": 1}
    )
    assert found["macro_f1"] == pytest.approx((1 + 1 + 0 + 2 / 3) / 4)


@pytest.mark.parametrize(
    ("correct", "confidences", "expected"),
    [
        (booleans(1, 1, 1, 0), [0.75] * 4, 0.0),
        (booleans(0, 0, 0, 0), [1.0] * 4, 1.0),
        (booleans(1, 1), [1.0, 1.0], 0.0),
        (booleans(1, 0), [0.95, 0.05], 0.05),
        (booleans(1, 0, 1, 0), [0.91, 0.99, 0.62, 0.68], (0.45 + 0.15) / 2),
    ],
)
def test_calibration_error(
    correct: NDArray[np.bool_], confidences: list[float], expected: float
) -> None:
    assert ece(correct, np.asarray(confidences)) == pytest.approx(expected)


def test_the_surest_share_is_never_empty() -> None:
    assert [row["accuracy"] for row in risk_coverage(booleans(1), np.asarray([0.5]))] == [1.0] * 7


def test_the_control_deals_the_same_labels_out_at_random() -> None:
    truth = ["HANDLE"] * 50 + ["CODING"] * 50
    assert control(truth, truth) == pytest.approx(0.5, abs=0.02)
    assert control(truth, ["CODING"] * 100) == 0.5
    assert control(truth, truth) == control(truth, truth)


@pytest.mark.parametrize(
    ("truth", "given", "expected"),
    [
        ("CODING", "CODING", 0),
        ("HANDLE", "REASONING", 1),
        ("REASONING", "HANDLE", 3),
        ("CODING", "HANDLE", 2),
        ("LEGAL", "CODING", 2),
    ],
)
def test_what_a_mistake_costs(truth: str, given: str, expected: float) -> None:
    assert cost(outcome(truth, given, 0.5)) == expected


def test_figures_by_group() -> None:
    groups = by(HAND_MADE, lambda one: one.example.label)
    assert list(groups) == ["CODING", "HANDLE", "REASONING"]
    assert groups["HANDLE"] == {
        "n": 2,
        "accuracy": 0.5,
        "accuracy_interval": pytest.approx([0.0945, 0.9055], abs=1e-4),
        "ece": pytest.approx((0.05 + 0.65) / 2),
    }


class Always:
    """Decides the same of everything."""

    def __init__(self, confidence: float, abstained: bool = False) -> None:
        decision = Decision.for_role("coding", confidence, "always")
        self.routed = Routed(decision, "encoder", abstained=abstained)
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    async def decide(
        self, question: str, context: Sequence[str] = (), *, on_call: OnCall | None = None
    ) -> Routed:
        self.asked.append((question, tuple(context)))
        return self.routed


@pytest.mark.parametrize("abstained", [False, True])
async def test_every_example_is_routed_with_its_context(abstained: bool) -> None:
    strategy = Always(0.7, abstained)
    example = Example(prompt="now in Rust", context=("Sort a list",), label="CODING")
    (found,) = await outcomes(strategy, [example])
    assert strategy.asked == [("now in Rust", ("Sort a list",))]
    assert (found.label, found.correct, found.strategy) == ("CODING", True, "encoder")
    assert found.abstained is abstained
    assert found.latency_ms >= 0


# --- drift ------------------------------------------------------------------------------------


def deciles_of(confidences: Floats) -> list[float]:
    """As training writes them."""
    return [round(float(v), 6) for v in np.quantile(confidences, np.linspace(0, 1, 11))]


SPREAD = np.random.default_rng(0).beta(5, 2, 2000)
CERTAIN = np.concatenate([SPREAD[:800], np.ones(1200)])  # most are rounded to 1
NEARLY = 1 - 10.0 ** -np.random.default_rng(0).uniform(1, 9, 2000)


@pytest.mark.parametrize("calibration", [SPREAD, CERTAIN, NEARLY], ids=["spread", "ties", "edge"])
def test_messages_of_the_same_kind_are_no_drift(calibration: Floats) -> None:
    for seed in range(20):
        recent = np.random.default_rng(seed).choice(calibration, WINDOW)
        seen = drift(list(recent), deciles_of(calibration))
        assert not seen.shifted
        assert seen.warning == ""


@pytest.mark.parametrize("calibration", [SPREAD, CERTAIN, NEARLY], ids=["spread", "ties", "edge"])
def test_less_sure_messages_are_told(calibration: Floats) -> None:
    recent = np.random.default_rng(1).uniform(0.35, 0.6, WINDOW)
    seen = drift(list(recent), deciles_of(calibration))
    assert seen.shifted
    assert seen.less_sure
    assert f"the router is less sure on your last {WINDOW} messages" in seen.warning
    assert "rolecall router feedback" in seen.warning


def test_surer_messages_are_told_as_such() -> None:
    seen = drift([0.99] * WINDOW, deciles_of(SPREAD))
    assert seen.shifted
    assert "the router is surer on your last" in seen.warning


@pytest.mark.parametrize("count", [0, 1, LEAST - 1])
def test_too_few_decisions_say_nothing(count: int) -> None:
    seen = drift([0.1] * count, deciles_of(SPREAD))
    assert (seen.index, seen.n, seen.shifted, seen.warning) == (None, count, False, "")


def test_enough_decisions_say_something() -> None:
    assert drift([0.1] * LEAST, deciles_of(SPREAD)).shifted
