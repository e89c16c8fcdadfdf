"""Which strategy a stack's settings name."""

from __future__ import annotations

from rolecall.config.schema import ModelRole
from rolecall.models.client import LocalLLMClient
from rolecall.routing.decision import Strategy
from rolecall.routing.encoder.strategy import EncoderStrategy
from rolecall.routing.fixed import FixedStrategy
from rolecall.routing.hybrid import HybridStrategy
from rolecall.routing.llm import LlmStrategy


def make_strategy(client: LocalLLMClient) -> Strategy:
    """The strategy of ``settings.routing``; a stack with one role needs none."""
    stack, routing = client.stack, client.stack.settings.routing
    roles = list(stack.roles.values())
    if routing.strategy == "fixed" and routing.role is not None:
        return FixedStrategy(routing.role, "fixed by the configuration")
    if not stack.targets:
        return FixedStrategy("router", "the stack has no other role")
    llm = LlmStrategy(client, roles)
    if routing.strategy == "llm" or ModelRole.ROUTER not in stack.roles:
        return llm
    encoder = EncoderStrategy(roles, routing.max_error)
    model = stack.models[ModelRole.ROUTER][0].id
    ask = "never" if routing.strategy == "encoder" else routing.ask_router_model
    return HybridStrategy(encoder, llm, model, ask)
