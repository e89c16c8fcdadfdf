"""How good a router is on labelled prompts: the figures of ``rolecall router eval``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rolecall.routing.decision import Routed, Strategy
from rolecall.routing.examples import Example

_BINS = 10
_COVERAGES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_SHUFFLES = 200
_RESAMPLES = 500
FEW = 30
"""Below so many examples a calibration error says more about chance than about the router."""
# What a wrong decision costs: a hard question answered by the small model is the harmful one.
COSTS = {("HANDLE", "REASONING"): 1.0, ("REASONING", "HANDLE"): 3.0}
_OTHER_COST = 2.0


@dataclass(frozen=True)
class Outcome:
    """One example, how it was routed, and how long that took.

    Attributes:
        abstained: the encoder was not sure enough to decide alone.
    """

    example: Example
    label: str
    confidence: float
    abstained: bool
    strategy: str
    latency_ms: float

    @property
    def correct(self) -> bool:
        """Whether the label is the example's."""
        return self.label == self.example.label


async def outcomes(strategy: Strategy, examples: Iterable[Example]) -> list[Outcome]:
    """Route every example."""
    found: list[Outcome] = []
    for example in examples:
        started = time.perf_counter()
        routed = await strategy.decide(example.prompt, example.context)
        latency_ms = (time.perf_counter() - started) * 1000.0
        found.append(_outcome(example, routed, latency_ms))
    return found


def _outcome(example: Example, routed: Routed, latency_ms: float) -> Outcome:
    decision = routed.decision
    return Outcome(
        example,
        decision.label,
        decision.confidence,
        routed.abstained,
        routed.strategy,
        latency_ms,
    )


def measure(found: Sequence[Outcome]) -> dict[str, Any]:
    """The figures of one set of outcomes.

    Returns:
        ``n, accuracy, macro_f1, per_class, confusion, ece, ece_interval, auroc, coverage,
        abstained, answered_error, harmful_error, cheap_error, cost, latency_ms,
        control_accuracy``. Intervals are 95 %: Wilson's for accuracies (Wilson 1927), bootstrap
        for calibration errors. ``control_accuracy`` is what the same labels, dealt out at random,
        would score: a router that is no better than its control only spends as much.
    """
    from sklearn.metrics import classification_report, roc_auc_score

    truth = [outcome.example.label for outcome in found]
    given = [outcome.label for outcome in found]
    labels = sorted({*truth, *given}, key=_order)
    pairs = Counter(zip(truth, given, strict=True))
    correct = np.asarray([outcome.correct for outcome in found])
    confidences = np.asarray([outcome.confidence for outcome in found], np.float64)
    report = classification_report(truth, given, labels=labels, output_dict=True, zero_division=0)
    answered = np.asarray([not outcome.abstained for outcome in found])
    both = bool(correct.any()) and not bool(correct.all())
    latencies = np.asarray([outcome.latency_ms for outcome in found])
    words = np.asarray([len(outcome.example.prompt.split()) for outcome in found])
    return {
        "n": len(found),
        "accuracy": float(correct.mean()),
        "accuracy_interval": wilson(correct),
        "macro_f1": float(np.mean([report[label]["f1-score"] for label in set(truth)])),
        "per_class": {
            label: {
                "precision": float(report[label]["precision"]),
                "recall": float(report[label]["recall"]),
                "f1": float(report[label]["f1-score"]),
                "n": int(report[label]["support"]),
            }
            for label in labels
        },
        "confusion": {
            "labels": labels,
            "rows_are_truth": [[pairs[row, column] for column in labels] for row in labels],
        },
        "ece": ece(correct, confidences),
        "ece_interval": _interval(correct, confidences, ece),
        "auroc": float(roc_auc_score(correct, confidences)) if both else None,
        "coverage": risk_coverage(correct, confidences),
        "abstained": float((~answered).mean()),
        "answered_error": float((~correct[answered]).mean()) if answered.any() else None,
        "harmful_error": _share(found, "REASONING", "HANDLE"),
        "cheap_error": _share(found, "HANDLE", "REASONING"),
        "cost": float(np.mean([cost(outcome) for outcome in found])),
        "latency_ms": {
            "p50": float(np.quantile(latencies, 0.5)),
            "p95": float(np.quantile(latencies, 0.95)),
        },
        "words": {"p50": float(np.quantile(words, 0.5)), "p95": float(np.quantile(words, 0.95))},
        "control_accuracy": control(truth, given),
    }


def by(found: Sequence[Outcome], key: Callable[[Outcome], str]) -> dict[str, dict[str, Any]]:
    """Accuracy with its interval, calibration error and size of each group."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in found:
        groups.setdefault(key(outcome), []).append(outcome)
    return {
        name: {
            "n": len(group),
            "accuracy": float(np.mean([outcome.correct for outcome in group])),
            "accuracy_interval": wilson(np.asarray([outcome.correct for outcome in group])),
            "ece": ece(
                np.asarray([outcome.correct for outcome in group]),
                np.asarray([outcome.confidence for outcome in group]),
            ),
        }
        for name, group in sorted(groups.items())
    }


def wilson(correct: NDArray[np.bool_]) -> list[float]:
    """The 95 % interval of a share, honest for few examples too (Wilson 1927)."""
    from scipy.stats import binomtest

    found = binomtest(int(correct.sum()), len(correct)).proportion_ci(method="wilson")
    return [float(found.low), float(found.high)]


def ece(correct: NDArray[np.bool_], confidences: NDArray[np.float64]) -> float:
    """Expected calibration error, ten bins of equal width (Naeini et al. 2015)."""
    bins = np.minimum((confidences * _BINS).astype(int), _BINS - 1)
    gaps = [
        abs(float(correct[bins == b].mean()) - float(confidences[bins == b].mean()))
        * float((bins == b).mean())
        for b in np.unique(bins)
    ]
    return float(sum(gaps))


def risk_coverage(
    correct: NDArray[np.bool_], confidences: NDArray[np.float64]
) -> list[dict[str, float]]:
    """Accuracy on the most confident share, for several shares."""
    ranked = correct[np.argsort(-confidences, kind="stable")]
    return [
        {"coverage": share, "accuracy": float(ranked[: max(1, round(share * len(ranked)))].mean())}
        for share in _COVERAGES
    ]


def cost(outcome: Outcome) -> float:
    """What an outcome costs: 0 when right, 1 for a simple question given to a large model, 3 for a
    hard one answered by the small model, 2 for any other mistake.
    """
    if outcome.correct:
        return 0.0
    return COSTS.get((outcome.example.label, outcome.label), _OTHER_COST)


def control(truth: Sequence[str], given: Sequence[str]) -> float:
    """The cost-matched control: the mean accuracy of the given labels, shuffled over prompts."""
    chance = np.random.default_rng(0)
    real, dealt = np.asarray(truth), np.asarray(given)
    return float(np.mean([(chance.permutation(dealt) == real).mean() for _ in range(_SHUFFLES)]))


def _share(found: Sequence[Outcome], truth: str, given: str) -> float:
    return float(np.mean([o.example.label == truth and o.label == given for o in found]))


def _interval(
    correct: NDArray[np.bool_],
    confidences: NDArray[np.float64],
    figure: Callable[[NDArray[np.bool_], NDArray[np.float64]], float],
) -> list[float]:
    chance = np.random.default_rng(0)
    drawn = [
        figure(correct[pick], confidences[pick])
        for pick in chance.integers(0, len(correct), size=(_RESAMPLES, len(correct)))
    ]
    return [float(value) for value in np.quantile(drawn, (0.025, 0.975))]


def _order(label: str) -> tuple[int, str]:
    built_in = ("HANDLE", "REASONING", "CODING")
    return (built_in.index(label) if label in built_in else len(built_in), label)
