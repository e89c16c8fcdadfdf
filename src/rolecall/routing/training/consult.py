"""Measures whether a router model knows better where the encoder is not sure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rolecall.errors import UsageError
from rolecall.progress import Progress
from rolecall.routing.encoder.bands import threshold_for
from rolecall.routing.hybrid import combine
from rolecall.routing.llm import LlmStrategy

if TYPE_CHECKING:
    from rolecall.routing.training.build import Fitted
    from rolecall.routing.training.encoded import Sets

_WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5)
_MOST = 200
_LEAST_GAIN = 2.0  # standard errors of the paired difference


@dataclass(frozen=True)
class Consultation:
    """What asking a model was worth on calibration examples that the encoder is not sure of.

    Attributes:
        weight: what its log-odds count; 0 when it does not help.
        n: how many examples it was asked about.
        alone: the encoder's accuracy on them.
        together: accuracy with the model at the best weight above 0.
        model_alone: the model's own accuracy.
    """

    model: str
    weight: float
    n: int
    alone: float
    together: float
    model_alone: float

    @property
    def line(self) -> str:
        """In words."""
        verdict = (
            f"its log-odds count {self.weight:g}" if self.weight else "so it will not be asked"
        )
        return (
            f"{self.model} on {self.n} prompts that the encoder is not sure of: alone "
            f"{self.model_alone:.2f}, encoder {self.alone:.2f}, together {self.together:.2f}: "
            f"{verdict}"
        )


async def consult(
    strategy: LlmStrategy,
    model: str,
    sets: Sets,
    new: Fitted,
    max_error: float,
    progress: Progress,
) -> Consultation:
    """Ask the model about calibration examples below the band.

    A weight above 0 is kept only when it improves the accuracy by two standard errors of the
    paired difference: choosing among weights on the same examples flatters every one of them.

    Raises:
        UsageError: there is nothing that the encoder is not sure of.
        NoModelReachable, ModelCallFailed: the model cannot be asked.
    """
    probabilities = new.head.probabilities(sets.calibration.rows)
    unsure = np.flatnonzero(probabilities.max(axis=1) < threshold_for(new.bands, max_error))
    if len(unsure) == 0:
        raise UsageError("the encoder is sure of every calibration example: nothing to ask about")
    chosen = np.random.default_rng(0).permutation(unsure)[:_MOST]
    labels = new.head.labels
    asked: list[tuple[dict[str, float], dict[str, float], str]] = []
    with progress.step(f"Asking {model}", total=len(chosen), unit="prompts") as advance:
        for index in chosen:
            example = sets.calibration.examples[index]
            said = await strategy.probabilities(example.prompt, example.context)
            own = {label: float(p) for label, p in zip(labels, probabilities[index], strict=True)}
            if said is not None:
                asked.append((own, said, example.label))
            advance(1)
    if not asked:
        raise UsageError(f"{model} gave no usable label")
    right = {
        weight: np.asarray([_first(combine(own, said, weight)) == y for own, said, y in asked])
        for weight in _WEIGHTS
    }
    alone = right[0.0]
    best = max(_WEIGHTS[1:], key=lambda weight: float(right[weight].mean()))
    difference = right[best].astype(float) - alone.astype(float)
    error = float(difference.std(ddof=1)) / math.sqrt(len(asked)) if len(asked) > 1 else math.inf
    helps = float(difference.mean()) > _LEAST_GAIN * error and float(difference.mean()) > 0
    return Consultation(
        model=model,
        weight=best if helps else 0.0,
        n=len(asked),
        alone=float(alone.mean()),
        together=float(right[best].mean()),
        model_alone=float(np.mean([_first(said) == y for _, said, y in asked])),
    )


def _first(probabilities: dict[str, float]) -> str:
    return max(probabilities, key=lambda label: probabilities[label])
