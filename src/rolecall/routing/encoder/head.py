"""The head: from what the encoder and the surface say to a calibrated probability per label.

A linear layer over ``[class vector, mean, surface]``, then temperature scaling
(Guo et al. 2017, arXiv 1706.04599) with one offset per label, fitted on writing styles that the
encoder and the head have never seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rolecall.routing.encoder.model import Encoded
from rolecall.routing.encoder.surface import NAMES

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """Weights of the head.

    Attributes:
        labels: label names, length ``k``.
        weights: shape ``(k, d)``; ``d`` = class vector + mean + surface features.
        bias: shape ``(k,)``.
        temperature: divides the logits.
        offsets: shape ``(k,)``, added after it.
    """

    labels: tuple[str, ...]
    weights: Array
    bias: Array
    temperature: float = 1.0
    offsets: Array | None = None

    def logits(self, rows: Array) -> Array:
        """Calibrated logits, shape ``(n, k)``, of inputs of shape ``(n, d)``."""
        raw = rows @ self.weights.T + self.bias
        scaled = raw / self.temperature
        return np.asarray(scaled if self.offsets is None else scaled + self.offsets, np.float32)

    def probabilities(self, rows: Array) -> Array:
        """Calibrated probabilities, shape ``(n, k)``; every row sums to 1."""
        return softmax(self.logits(rows))

    def pulls(self, row: Array, label: int, other: int, read: int) -> dict[str, float]:
        """What pulls towards ``label`` and away from ``other``, in calibrated log-odds.

        Args:
            row: the input, shape ``(d,)``.
            read: how many of its entries come from the encoder.

        Returns:
            ``wording`` (all that the encoder read) and one entry per surface feature; together
            with the bias they add up to the log-odds.
        """
        parts = (self.weights[label] - self.weights[other]) * row / self.temperature
        return {
            "wording": float(parts[:read].sum()),
            **{name: float(part) for name, part in zip(NAMES, parts[read:], strict=True)},
        }

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "labels": list(self.labels),
            "weights": [[round(float(v), 6) for v in row] for row in self.weights],
            "bias": [round(float(v), 6) for v in self.bias],
            "temperature": round(self.temperature, 6),
            "offsets": None if self.offsets is None else [round(float(v), 6) for v in self.offsets],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any], width: int) -> Self:
        """Back from :meth:`to_json`.

        Raises:
            KeyError, TypeError, ValueError: a part is missing, the shapes do not fit, or a value
                is not finite.
        """
        head = cls(
            labels=tuple(str(label) for label in data["labels"]),
            weights=np.asarray(data["weights"], np.float32),
            bias=np.asarray(data["bias"], np.float32),
            temperature=float(data["temperature"]),
            offsets=None if data["offsets"] is None else np.asarray(data["offsets"], np.float32),
        )
        k = len(head.labels)
        offsets = np.zeros(k, np.float32) if head.offsets is None else head.offsets
        fits = head.weights.shape == (k, width) and head.bias.shape == offsets.shape == (k,)
        finite = (np.isfinite(v).all() for v in (head.weights, head.bias, offsets))
        if k < 2 or not fits or not all(finite) or not 0 < head.temperature < np.inf:
            raise ValueError("the head's weights do not fit the encoder")
        return head


def rows_of(encoded: list[Encoded]) -> Array:
    """The head's inputs, shape ``(n, d)``."""
    return np.stack([np.concatenate([e.summary, e.surface]) for e in encoded])


def softmax(logits: Array) -> Array:
    """Along the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), np.float32)
