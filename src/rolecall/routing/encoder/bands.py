"""Abstention with a guarantee: below which confidence the encoder does not decide alone.

Thresholds are tested on calibration examples in a fixed order, from the strictest on, each by an
exact binomial bound on the error among the examples it answers; the first that fails ends the
walk (Learn then Test: Angelopoulos et al. 2021, arXiv 2110.01052; selective risk: Geifman and
El-Yaniv 2017, arXiv 1705.08500). So, with probability ``1 - DELTA`` over the calibration draw,
at most ``max_error`` of the prompts **not abstained on** are decided wrongly, for prompts drawn
like the calibration ones. It says nothing about prompts of another kind; because users write in
their own way, a threshold fails also where a single calibration style has more errors than that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DELTA = 0.1
_FIRST_COVERAGE, _STEP = 0.1, 0.01  # the first for each style: one mistake must not end it


@dataclass(frozen=True)
class Band:
    """One threshold of the walk.

    Attributes:
        threshold: the encoder answers from this confidence on.
        coverage: the share of calibration examples that it then answers.
        error: its error rate on those.
        bound: the upper bound of its error rate, at confidence ``1 - DELTA``; the error rate of
            the worst style where that is higher.
    """

    threshold: float
    coverage: float
    error: float
    bound: float


def walk(
    confidences: NDArray[np.float64],
    correct: NDArray[np.bool_],
    styles: NDArray[np.str_] | None = None,
) -> list[Band]:
    """Bounds for thresholds from strict to none, on ``n`` calibration examples.

    Args:
        confidences: shape ``(n,)``.
        correct: shape ``(n,)``.
        styles: the style of each, shape ``(n,)``; without it they are all of one.
    """
    own = np.zeros(len(confidences)) if styles is None else styles
    groups = [own == name for name in np.unique(own)]
    order = np.argsort(-confidences, kind="stable")
    sure, right = confidences[order], correct[order]
    n = len(order)
    bands: list[Band] = []
    first = min(_FIRST_COVERAGE * len(groups), 0.5)
    for coverage in np.arange(first, 1.0 + _STEP / 2, _STEP):
        threshold = float(sure[max(1, round(n * float(coverage))) - 1])
        taken = int((sure >= threshold).sum())  # those that tie are answered too
        wrong = int((~right[:taken]).sum())
        answered = confidences >= threshold
        worst = max(_error(correct[group & answered]) for group in groups)
        bound = max(_bound(wrong, taken), worst)
        bands.append(Band(threshold if taken < n else 0.0, taken / n, wrong / taken, bound))
    return bands


def _bound(wrong: int, n: int) -> float:
    """The exact upper bound of an error rate (Clopper and Pearson 1934)."""
    from scipy.special import betaincinv

    return 1.0 if wrong == n else float(betaincinv(wrong + 1, n - wrong, 1 - DELTA))


def _error(right: NDArray[np.bool_]) -> float:
    return float((~right).mean()) if len(right) else 0.0


def threshold_for(bands: list[Band], max_error: float) -> float:
    """The lowest confidence at which ``max_error`` is promised; above 1 when it cannot be."""
    threshold = 1.01
    for band in bands:
        if band.bound > max_error:
            break
        threshold = band.threshold
    return threshold
