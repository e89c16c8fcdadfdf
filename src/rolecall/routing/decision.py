"""The router's decision, and what a strategy is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rolecall.config.schema import ModelRole, Role
from rolecall.errors import RolecallError
from rolecall.models.calls import OnCall


class Decision(BaseModel):
    """The decision JSON, exactly: ``routing_decision, target_model, confidence, reason``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    routing_decision: Literal["HANDLE", "DELEGATE"]
    target_model: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = None
    confidence: Annotated[float, Field(ge=0, le=1)]
    reason: str

    @model_validator(mode="after")
    def _target_when_delegating(self) -> Decision:
        if (self.routing_decision == "DELEGATE") != (self.target_model is not None):
            raise ValueError("target_model belongs to DELEGATE, and DELEGATE needs one")
        if self.target_model in {"HANDLE", str(ModelRole.ROUTER).upper()}:
            raise ValueError("the router answers by HANDLE, it is not delegated to")
        return self

    @property
    def role(self) -> str:
        """The role that answers; ``router`` on the fast path."""
        return self.target_model.lower() if self.target_model else str(ModelRole.ROUTER)

    @property
    def label(self) -> str:
        """The decision as one label: ``HANDLE``, or the role in capitals."""
        return self.target_model or "HANDLE"

    @classmethod
    def for_role(cls, role: str, confidence: float, reason: str) -> Decision:
        """The decision that lets ``role`` answer."""
        if role == ModelRole.ROUTER:
            return cls(routing_decision="HANDLE", confidence=confidence, reason=reason)
        return cls(
            routing_decision="DELEGATE",
            target_model=role.upper(),
            confidence=confidence,
            reason=reason,
        )


@dataclass(frozen=True)
class Routed:
    """A decision and how it came about.

    Attributes:
        strategy: which way decided.
        probabilities: of each label that was weighed.
        abstained: whether the encoder was not sure enough to decide alone.
        encoder_confidence: how sure it was, when it was used.
        problem: what went wrong on the way and should be mended.
    """

    decision: Decision
    strategy: str
    probabilities: dict[str, float] = field(default_factory=dict)
    abstained: bool = False
    encoder_confidence: float | None = None
    problem: RolecallError | None = None

    def because(self, reason: str, problem: RolecallError | None = None) -> Routed:
        """The same decision with another reason."""
        decision = self.decision.model_copy(update={"reason": reason})
        return replace(self, decision=decision, problem=problem or self.problem)


class Strategy(Protocol):
    """A way to decide."""

    async def decide(
        self, question: str, context: Sequence[str] = (), *, on_call: OnCall | None = None
    ) -> Routed:
        """Decide who answers the question.

        Args:
            question: the user's last message.
            context: the user's earlier messages, oldest first.
            on_call: told of model calls made on the way.
        """
        ...


def default_role(roles: Sequence[Role]) -> str:
    """Who answers when nothing decided: reasoning, else the first target, else the router."""
    names = [role.name for role in roles]
    if ModelRole.REASONING in names:
        return str(ModelRole.REASONING)
    return next((name for name in names if name != ModelRole.ROUTER), str(ModelRole.ROUTER))
