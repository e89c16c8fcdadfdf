"""Leave one source out: each style of writing, routed by a head that was trained on the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rolecall.routing.evaluation import ece
from rolecall.routing.training.encoded import Sets
from rolecall.routing.training.head import calibrate, fit_head


@dataclass(frozen=True)
class LeftOut:
    """One source that the head was not trained on.

    Attributes:
        seen_by_encoder: whether the encoder was fine-tuned on it: then the figure flatters.
    """

    source: str
    n: int
    accuracy: float
    ece: float
    seen_by_encoder: bool


def leave_one_source_out(sets: Sets) -> list[LeftOut]:
    """Train a head without each source in turn, and measure it there.

    The encoder is not trained again: that takes an hour for each source. Calibration and
    test sources were never seen by it.
    """
    found = []
    for part, seen in ((sets.train, True), (sets.calibration, False), (sets.test, False)):
        names = np.asarray([example.source for example in part.examples])
        for name in np.unique(names):
            inside = names == name
            training = np.asarray([example.source != name for example in sets.train.examples])
            head = fit_head(sets.train.rows[training], sets.train.labels[training])
            others = np.asarray([e.source != name for e in sets.calibration.examples])
            head = calibrate(head, sets.calibration.rows[others], sets.calibration.labels[others])
            probabilities = head.probabilities(part.rows[inside]).astype(np.float64)
            correct = probabilities.argmax(axis=1) == part.labels[inside]
            found.append(
                LeftOut(
                    source=str(name),
                    n=int(inside.sum()),
                    accuracy=float(correct.mean()),
                    ece=ece(correct, probabilities.max(axis=1)),
                    seen_by_encoder=seen,
                )
            )
    return found
