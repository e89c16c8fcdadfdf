"""Which strategy a stack's settings name."""

from __future__ import annotations

from rolecall.models.client import LocalLLMClient
from rolecall.routing.decision import Strategy
from rolecall.routing.fixed import FixedStrategy
from rolecall.routing.llm import LlmStrategy


def make_strategy(client: LocalLLMClient) -> Strategy:
    """The strategy of ``settings.routing``; a stack with one role needs none."""
    stack, routing = client.stack, client.stack.settings.routing
    if routing.strategy == "fixed" and routing.role is not None:
        return FixedStrategy(routing.role, "fixed by the configuration")
    if not stack.targets:
        return FixedStrategy("router", "the stack has no other role")
    return LlmStrategy(client, list(stack.roles.values()))
