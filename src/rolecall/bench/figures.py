"""Shares with intervals, and paired differences: the statistics of benchmarks.

Intervals are 95 %. A mean's is the percentile bootstrap over cases (Efron 1979), with a fixed
seed; where all cases are alike a bootstrap sees no spread at all, so it is Wilson's.
Two sets of right and wrong answers to the same cases are compared by McNemar's exact test
(McNemar 1947), several such comparisons by Holm's rule (Holm 1979).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 2000
_LEVEL = 0.05


def mean_interval(scores: Sequence[float]) -> list[float]:
    """``[low, high]`` of the mean of scores from 0 to 1."""
    values = np.asarray(scores, np.float64)
    if len(set(scores)) == 1 and scores[0] in {0.0, 1.0}:
        from scipy.stats import binomtest

        right = round(float(values.sum()))
        found = binomtest(right, len(values)).proportion_ci(method="wilson")
        return [float(found.low), float(found.high)]
    return _bootstrap(values, np.mean)


def difference_interval(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """``[low, high]`` of the mean of ``second - first``, paired."""
    values = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    if len(set(values.tolist())) > 1:
        return _bootstrap(values, np.mean)
    # all alike: so many pairs leave room for a share of others, which differ by up to 1 or -1
    others, same = mean_interval([0.0] * len(values))[1], float(values[0])
    return [same - others * (same + 1.0), same + others * (1.0 - same)]


def ratio_interval(first: Sequence[float], second: Sequence[float]) -> tuple[float, list[float]]:
    """The median of ``second / first`` over pairs, and its interval. All must be above 0."""
    ratios = np.asarray(second, np.float64) / np.asarray(first, np.float64)
    return float(np.median(ratios)), _bootstrap(ratios, np.median)


def mcnemar(first: Sequence[float], second: Sequence[float]) -> float:
    """The probability of a difference at least so large if there were none; two-sided, exact.

    Scores between 0 and 1 count as changed where they differ at all.
    """
    better = sum(b > a for a, b in zip(first, second, strict=True))
    worse = sum(b < a for a, b in zip(first, second, strict=True))
    if better + worse == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(better, better + worse).pvalue)


def holm(probabilities: Sequence[float]) -> list[bool]:
    """Which of several differences are significant, all together at 5 %."""
    order = sorted(range(len(probabilities)), key=lambda index: probabilities[index])
    kept = [False] * len(probabilities)
    for place, index in enumerate(order):
        if probabilities[index] > _LEVEL / (len(order) - place):
            break
        kept[index] = True
    return kept


def _bootstrap(values: NDArray[np.float64], figure: Callable[..., Any]) -> list[float]:
    chance = np.random.default_rng(0)
    picks = chance.integers(0, len(values), size=(_RESAMPLES, len(values)))
    drawn = figure(values[picks], axis=1)
    return [float(value) for value in np.quantile(drawn, (0.025, 0.975))]
