"""Classifies a message: a calibrated probability per label, and what drove it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rolecall.config.schema import ModelRole, Role
from rolecall.routing.decision import default_role
from rolecall.routing.encoder.artefact import READ, Artefact
from rolecall.routing.encoder.head import rows_of
from rolecall.routing.encoder.model import Encoded
from rolecall.routing.encoder.own_roles import OwnRoles
from rolecall.routing.encoder.surface import unread_share

_HANDLE = "HANDLE"
_SHOWN_PULLS = 2
_MOST_DOUBT = 0.9  # in a message of which it can read nothing
_LEAST_PULL = 0.15  # of the log-odds: less is not named as a driver


@dataclass(frozen=True)
class Verdict:
    """What the encoder says of one message.

    Attributes:
        probabilities: by label, summing to 1, the likeliest first.
        pulls: what pulls towards the first label and away from the second, in log-odds.
        encoded: what it rests on.
        unread: the share of letters in scripts that the encoder does not read.
    """

    probabilities: dict[str, float]
    pulls: dict[str, float]
    encoded: Encoded
    unread: float = 0.0

    @property
    def label(self) -> str:
        """The likeliest label."""
        return next(iter(self.probabilities))

    @property
    def confidence(self) -> float:
        """Its probability."""
        return self.probabilities[self.label]

    @property
    def reason(self) -> str:
        """What drove the decision, in words."""
        first, *rest = self.probabilities.items()
        against = f", {rest[0][0]} {rest[0][1]:.2f}" if rest else ""
        positive = sorted(self.pulls.items(), key=lambda pull: -pull[1])
        if self.unread:
            return (
                f"encoder: {first[0]} {first[1]:.2f}{against}; a guess: {self.unread:.0%} of the "
                "letters are of a script that it does not read"
            )
        total = sum(max(value, 0.0) for value in self.pulls.values()) or 1.0
        drivers = [n for n, value in positive[:_SHOWN_PULLS] if value >= _LEAST_PULL * total]
        return f"encoder: {first[0]} {first[1]:.2f}{against}; driven by {_listed(drivers)}"


class Classifier:
    """The encoder, the head and the user's own roles as one.

    Args:
        artefact: which version.
        roles: the roles of the stack; what a missing built-in role would get goes to the role
            that answers by default.
    """

    def __init__(self, artefact: Artefact, roles: Sequence[Role]) -> None:
        self._artefact = artefact
        self._own = OwnRoles(artefact, roles)
        present = {role.label for role in roles}
        default = default_role(list(roles))
        fallback = _HANDLE if default == ModelRole.ROUTER else default.upper()
        self._goes_to = {
            label: label if label in present else fallback for label in artefact.head.labels
        }

    def classify(self, prompt: str, context: Sequence[str] = ()) -> Verdict:
        """Classify a message that was said after ``context`` (oldest first)."""
        encoded = self._artefact.encoder.encode(prompt, context)
        row = rows_of([encoded])
        built_in = self._artefact.head.probabilities(row)[0]
        own = self._own.probabilities(encoded.sentence)
        found: dict[str, float] = {}
        left = 1.0 - max(own.values(), default=0.0)
        for label, value in zip(self._artefact.head.labels, built_in, strict=True):
            target = self._goes_to[label]
            found[target] = found.get(target, 0.0) + float(value) * left
        total_own = sum(own.values())
        for label, value in own.items():
            found[label] = found.get(label, 0.0) + (1.0 - left) * value / total_own
        unread = unread_share(prompt)
        if unread:  # the less it could read, the less its opinion counts
            doubt = _MOST_DOUBT * unread
            found = {k: (1 - doubt) * v + doubt / len(found) for k, v in found.items()}
        ranked = dict(sorted(found.items(), key=lambda item: -item[1]))
        return Verdict(ranked, self._pulls(row[0], built_in, ranked, own), encoded, unread)

    def _pulls(
        self,
        row: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
        built_in: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
        ranked: dict[str, float],
        own: dict[str, float],
    ) -> dict[str, float]:
        label = next(iter(ranked))
        if label in own:
            return {"the likeness to the role's examples": own[label]}
        labels = self._artefact.head.labels
        order = [int(i) for i in np.argsort(-built_in)]
        best = next((i for i in order if self._goes_to[labels[i]] == label), order[0])
        second = next((i for i in order if self._goes_to[labels[i]] != label), order[1])
        return self._artefact.head.pulls(row, best, second, READ)


def _listed(names: list[str]) -> str:
    shown = ["the wording" if name == "wording" else name for name in names]
    return " and ".join(shown) if shown else "nothing in particular"
