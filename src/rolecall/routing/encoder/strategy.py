"""The strategy ``encoder``: no model is called."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rolecall.config.schema import ModelRole, Role
from rolecall.models.calls import OnCall
from rolecall.routing.decision import Decision, Routed
from rolecall.routing.encoder.artefact import Artefact
from rolecall.routing.encoder.bands import threshold_for
from rolecall.routing.encoder.classifier import Classifier, Verdict
from rolecall.routing.encoder.versions import current_artefact

_DIGITS = 4


class EncoderStrategy:
    """Decides by the encoder alone. It always decides; ``abstained`` says when it is not sure.

    Args:
        roles: the roles of the stack.
        max_error: the share of wrong decisions allowed among those it is sure of.
        artefact: which version; ``None`` loads the one in use, on the first decision.
    """

    def __init__(
        self, roles: Sequence[Role], max_error: float, artefact: Artefact | None = None
    ) -> None:
        self._roles = roles
        self._max_error = max_error
        self._artefact = artefact
        self._classifier: Classifier | None = None

    async def decide(
        self, question: str, context: Sequence[str] = (), *, on_call: OnCall | None = None
    ) -> Routed:
        """Decide who answers.

        Raises:
            ArtefactDamaged: the encoder cannot be used.
        """
        return self.routed(await self.verdict(question, context))

    async def verdict(self, question: str, context: Sequence[str] = ()) -> Verdict:
        """What the encoder says; the first call loads it.

        Raises:
            ArtefactDamaged: it cannot be used.
        """
        if self._classifier is None:  # reads files
            self._classifier = await asyncio.to_thread(self._open)
        return self._classifier.classify(question, context)

    def routed(self, verdict: Verdict) -> Routed:
        """The decision that a verdict comes to."""
        decision = decided(verdict.probabilities, verdict.reason)
        return Routed(
            decision,
            "encoder",
            verdict.probabilities,
            abstained=verdict.confidence < self.threshold,
            encoder_confidence=verdict.confidence,
        )

    @property
    def artefact(self) -> Artefact:
        """The version in use.

        Raises:
            ArtefactDamaged: it cannot be used.
        """
        if self._artefact is None:
            self._artefact = current_artefact()
        return self._artefact

    @property
    def threshold(self) -> float:
        """The encoder is sure from this confidence on; above 1 when it is never sure enough."""
        return threshold_for(self.artefact.bands, self._max_error)

    def _open(self) -> Classifier:
        return Classifier(self.artefact, self._roles)


def decided(probabilities: dict[str, float], reason: str) -> Decision:
    """The decision for the likeliest label."""
    label = max(probabilities, key=lambda label: probabilities[label])
    role = ModelRole.ROUTER if label == "HANDLE" else label.lower()
    confidence = round(min(probabilities[label], 1.0), _DIGITS)
    return Decision.for_role(role, confidence, reason)
