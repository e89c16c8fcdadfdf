"""The user's own roles: a description and a few example prompts are enough to be routed to.

A message's sentence vector is compared with those of each role's examples and description, and
with the nearest built-in examples (few-shot, by prototypes: Snell et al. 2017, arXiv
1703.05175). How near it is becomes a probability by a curve that was fitted on simulated roles:
topics of the training examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rolecall.config.schema import BUILT_IN_ROLES, Role
from rolecall.routing.corrections import corrections
from rolecall.routing.encoder.artefact import Artefact, RoleFit
from rolecall.routing.encoder.model import Encoder
from rolecall.routing.examples import Example

Array = NDArray[np.float32]

_NEAREST, _NEIGHBOURS = 2, 10


@dataclass(frozen=True)
class OwnRole:
    """A role of the user's: its label and the sentence vectors that stand for it, ``(n, 384)``."""

    label: str
    prototypes: Array


class OwnRoles:
    """Probabilities of the user's own roles.

    Args:
        artefact: gives the encoder, the curve and the built-in examples.
        roles: all roles of the stack; the built-in ones are left out.
    """

    def __init__(self, artefact: Artefact, roles: Sequence[Role]) -> None:
        own = [role for role in roles if role.name not in BUILT_IN_ROLES]
        corrected = corrections() if own else []
        self._fit = artefact.role_fit
        self._roles = [
            OwnRole(role.label, prototypes(artefact.encoder, role, corrected)) for role in own
        ]
        self._others = artefact.nearest_vectors()[1] if own else np.zeros((0, 384), np.float32)

    @property
    def labels(self) -> list[str]:
        """The labels that it can give."""
        return [role.label for role in self._roles]

    def probabilities(self, sentence: Array) -> dict[str, float]:
        """How likely each own role is to be meant, in itself (not summing to 1)."""
        if not self._roles:
            return {}
        return {
            role.label: chance(likeness(role.prototypes, self._others, sentence), self._fit)
            for role in self._roles
            if len(role.prototypes)
        }


def prototypes(encoder: Encoder, role: Role, corrected: Sequence[Example] = ()) -> Array:
    """The vectors that stand for a role: its examples, its description, and the messages that
    were corrected to it.
    """
    own = [example.prompt for example in corrected if example.label == role.label]
    texts = [*role.examples, *own, *([role.description] if role.description else [])]
    vectors = [encoder.encode(text).sentence for text in texts if text.strip()]
    return np.stack(vectors) if vectors else np.zeros((0, 384), np.float32)


def likeness(prototypes: Array, others: Array, sentence: Array) -> tuple[float, float, float]:
    """How near a message is to a role, and to what else people ask.

    Args:
        prototypes: what stands for the role, shape ``(n, 384)``.
        others: built-in examples, shape ``(m, 384)``.

    Returns:
        The mean cosine to the two nearest prototypes, the cosine to their centre, the mean cosine
        to the ten nearest other examples.
    """
    own = prototypes @ sentence
    centre = prototypes.mean(axis=0)
    away = others @ sentence
    count = min(_NEIGHBOURS, len(away))
    return (
        float(np.sort(own)[-_NEAREST:].mean()),
        float(centre @ sentence / np.linalg.norm(centre)),
        float(np.partition(away, -count)[-count:].mean()) if count else 0.0,
    )


def chance(found: tuple[float, float, float], fit: RoleFit) -> float:
    """The curve: from likenesses to a probability."""
    nearest, centre, others = found
    score = fit.nearest * nearest + fit.centre * centre + fit.others * others + fit.offset
    return float(1.0 / (1.0 + np.exp(-score)))
