"""The strategy ``hybrid``: the encoder where it is sure, else the router model beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from rolecall.errors import (
    ArtefactDamaged,
    DataError,
    DownloadFailed,
    ModelCallFailed,
    NoModelReachable,
    RolecallError,
    RunnerFailed,
)
from rolecall.models.calls import OnCall
from rolecall.routing.decision import Routed
from rolecall.routing.encoder.classifier import Verdict
from rolecall.routing.encoder.strategy import EncoderStrategy, decided
from rolecall.routing.llm import LlmStrategy

UNMEASURED_WEIGHT = 0.5
"""How much a router model counts that was never measured: half of what it says."""

_LEAST = 1e-4  # a label that the model finds impossible may still be right

Ask = Literal["auto", "always", "never"]


class HybridStrategy:
    """The cascade. Below the band's threshold the router model is asked for one label; its
    log-odds, weighted by what they were measured to be worth, are added to the encoder's.

    Args:
        encoder: decides what it is sure of.
        llm: asks the router model.
        model: the id of the router model, by which its measured weight is found.
        ask: ``auto`` asks unless the model was measured not to help.
    """

    def __init__(
        self, encoder: EncoderStrategy, llm: LlmStrategy, model: str, ask: Ask = "auto"
    ) -> None:
        self._encoder = encoder
        self._llm = llm
        self._model = model
        self._ask = ask

    async def decide(
        self, question: str, context: Sequence[str] = (), *, on_call: OnCall | None = None
    ) -> Routed:
        """Decide who answers. Never raises for an encoder or a model that fails."""
        try:
            verdict = await self._encoder.verdict(question, context)
            routed = self._encoder.routed(verdict)
        except (ArtefactDamaged, DataError) as error:
            return await self._without_encoder(error, question, context, on_call)
        if not routed.abstained:
            return routed
        weight = self._weight(verdict)
        if weight == 0.0:
            return routed.because(
                f"{verdict.reason}; less than the {self._encoder.threshold:.2f} it is sure from, "
                f"but {self._not_asked()}"
            )
        try:
            said = await self._llm.probabilities(question, context, on_call)
        except (NoModelReachable, ModelCallFailed, RunnerFailed, DownloadFailed) as error:
            why = str(error).splitlines()[0]
            return routed.because(
                f"{verdict.reason}; not sure, but the router model could not be asked ({why}): "
                "the encoder's best guess"
            )
        if said is None:
            return routed.because(
                f"{verdict.reason}; not sure, but the router model gave no usable label: "
                "the encoder's best guess"
            )
        return self._combined(verdict, said, weight)

    def _combined(self, verdict: Verdict, said: dict[str, float], weight: float) -> Routed:
        joint = combine(verdict.probabilities, said, weight)
        model_says = max(said, key=lambda label: said[label])
        reason = (
            f"{verdict.reason}; not sure, so the router model was asked: "
            f"{model_says} {said[model_says]:.2f}"
        )
        return Routed(
            decided(joint, reason),
            "hybrid",
            joint,
            abstained=True,
            encoder_confidence=verdict.confidence,
        )

    async def _without_encoder(
        self,
        problem: RolecallError,
        question: str,
        context: Sequence[str],
        on_call: OnCall | None,
    ) -> Routed:
        routed = await self._llm.decide(question, context, on_call=on_call)
        why = str(problem).splitlines()[0]
        reason = f"the encoder cannot be used ({why}); {routed.decision.reason}"
        return routed.because(reason, problem)

    def _weight(self, verdict: Verdict) -> float:
        if self._ask == "never":
            return 0.0
        if verdict.unread:  # models were measured on what the encoder reads
            return UNMEASURED_WEIGHT
        measured = self._encoder.artefact.consult.get(self._model, UNMEASURED_WEIGHT)
        return measured or UNMEASURED_WEIGHT if self._ask == "always" else measured

    def _not_asked(self) -> str:
        if self._ask == "never":
            return "the configuration says not to ask the router model"
        return f"{self._model} was measured not to know better"


def combine(encoder: dict[str, float], model: dict[str, float], weight: float) -> dict[str, float]:
    """Add the model's log-odds, times ``weight``, to the encoder's; sums to 1, likeliest first."""
    scores = {
        label: math.log(max(value, _LEAST)) + weight * math.log(max(model.get(label, 0.0), _LEAST))
        for label, value in encoder.items()
    }
    top = max(scores.values())
    weights = {label: math.exp(score - top) for label, score in scores.items()}
    total = sum(weights.values())
    ranked = sorted(weights.items(), key=lambda item: -item[1])
    return {label: value / total for label, value in ranked}
