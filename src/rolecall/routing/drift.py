"""Drift: whether the encoder meets messages of another kind than it was calibrated on.

Compares how sure it has been lately with how sure it was on the calibration examples, by the
population stability index over the deciles of the latter (Siddiqi 2006, Credit Risk Scorecards:
above 0.25 the population has shifted).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WINDOW = 200
"""How many of the latest decisions are looked at."""

LEAST = 50
"""With fewer decisions nothing is said."""

SHIFTED = 0.25
_FLOOR = 0.005
_DIGITS = 6


@dataclass(frozen=True)
class Drift:
    """What a comparison found.

    Attributes:
        index: the population stability index; ``None`` with too few decisions.
        n: how many decisions were looked at.
        less_sure: whether the encoder is less sure than it was.
    """

    index: float | None
    n: int
    less_sure: bool

    @property
    def shifted(self) -> bool:
        """Whether to warn."""
        return self.index is not None and self.index > SHIFTED

    @property
    def warning(self) -> str:
        """What to tell the user; empty when there is nothing to tell."""
        if not self.shifted:
            return ""
        how = "less sure" if self.less_sure else "surer"
        return (
            f"the router is {how} on your last {self.n} messages than it was on the examples it "
            f"was calibrated on (stability index {self.index:.2f}): its confidence may not hold. "
            "Correct what it gets wrong with rolecall router feedback, then "
            "rolecall router train --from-traces"
        )


def drift(recent: Sequence[float], deciles: Sequence[float]) -> Drift:
    """Compare recent confidences with the deciles (11 values) of the calibration ones."""
    if len(recent) < LEAST:
        return Drift(None, len(recent), less_sure=False)
    # deciles may be equal (many are certain), and are rounded
    upper, copies = np.unique(np.round(deciles[1:], _DIGITS), return_counts=True)
    bins = np.searchsorted(upper[:-1], np.round(recent, _DIGITS))
    share = np.maximum(np.bincount(bins, minlength=len(upper)) / len(recent), _FLOOR)
    expected = copies / copies.sum()
    index = float(((share - expected) * np.log(share / expected)).sum())
    return Drift(index, len(recent), less_sure=bool(np.median(recent) < deciles[len(deciles) // 2]))
