"""Abstention with a guarantee: below which confidence the encoder does not decide alone.

Thresholds are tested on calibration examples in a fixed order, from the strictest on, each by an
exact binomial bound on the error among the examples it answers; the first that fails ends the
walk (Learn then Test: Angelopoulos et al. 2021, arXiv 2110.01052; selective risk: Geifman and
El-Yaniv 2017, arXiv 1705.08500). So, with probability ``1 - DELTA`` over the calibration draw,
at most ``max_error`` of the prompts **not abstained on** are decided wrongly, for prompts drawn
like the calibration ones. It says nothing about prompts of another kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DELTA = 0.1
_FIRST_COVERAGE, _STEP = 0.1, 0.01


@dataclass(frozen=True)
class Band:
    """One threshold of the walk.

    Attributes:
        threshold: the encoder answers from this confidence on.
        coverage: the share of calibration examples that it then answers.
        error: its error rate on those.
        bound: the upper bound of its error rate, at confidence ``1 - DELTA``.
    """

    threshold: float
    coverage: float
    error: float
    bound: float


def walk(confidences: NDArray[np.float64], correct: NDArray[np.bool_]) -> list[Band]:
    """Bounds for thresholds from strict to none, on ``n`` calibration examples."""
    from scipy.stats import beta

    order = np.argsort(-confidences, kind="stable")
    sure, right = confidences[order], correct[order]
    n = len(order)
    bands: list[Band] = []
    for coverage in np.arange(_FIRST_COVERAGE, 1.0 + _STEP / 2, _STEP):
        threshold = float(sure[max(1, round(n * float(coverage))) - 1])
        taken = int((sure >= threshold).sum())  # those that tie are answered too
        wrong = int((~right[:taken]).sum())
        bound = 1.0 if wrong == taken else float(beta.ppf(1 - DELTA, wrong + 1, taken - wrong))
        bands.append(Band(threshold if taken < n else 0.0, taken / n, wrong / taken, bound))
    return bands


def threshold_for(bands: list[Band], max_error: float) -> float:
    """The lowest confidence at which ``max_error`` is promised; above 1 when it cannot be."""
    threshold = 1.01
    for band in bands:
        if band.bound > max_error:
            break
        threshold = band.threshold
    return threshold
