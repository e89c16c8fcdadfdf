"""The strategy ``fixed``: the user, or the configuration, chose the role."""

from __future__ import annotations

from collections.abc import Sequence

from rolecall.models.calls import OnCall
from rolecall.routing.decision import Decision, Routed


class FixedStrategy:
    """Always the same role.

    Args:
        role: who answers.
        reason: who said so.
    """

    def __init__(self, role: str, reason: str = "chosen by the user") -> None:
        self._routed = Routed(Decision.for_role(role, 1.0, reason), "fixed")

    async def decide(
        self, question: str, context: Sequence[str] = (), *, on_call: OnCall | None = None
    ) -> Routed:
        """Return the role that was fixed."""
        return self._routed
