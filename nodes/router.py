"""The router node: asks a strategy who answers, and writes the decision JSON."""

from __future__ import annotations

import time
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig

from rolecall.errors import UnknownRole
from rolecall.graphs.state import AssistantState
from rolecall.nodes.both_forms import Node
from rolecall.nodes.report import Report
from rolecall.routing.decision import Strategy
from rolecall.routing.fixed import FixedStrategy
from rolecall.telemetry.recorder import Recorder


def make_router(strategy: Strategy, roles: list[str], recorder: Recorder) -> Node[AssistantState]:
    """The router node.

    Args:
        strategy: decides when the user fixed no role.
        roles: the roles that can answer.
        recorder: where the decision is recorded.
    """

    async def router(state: AssistantState, config: RunnableConfig) -> dict[str, Any]:
        report = Report(recorder, config, state["turn"], "router")
        started = time.perf_counter()
        wanted = state.get("role")
        if wanted is not None and wanted not in roles:
            raise UnknownRole(f"there is no role {wanted!r}; roles: {', '.join(roles)}")
        chosen = FixedStrategy(wanted) if wanted is not None else strategy
        earlier = [m.text for m in state["messages"][:-1] if isinstance(m, HumanMessage)]
        routed = await chosen.decide(state["turn"]["question"], earlier, on_call=report.call)
        report.decided(routed, (time.perf_counter() - started) * 1000.0)
        return {"decision": routed.decision.model_dump(), "strategy": routed.strategy}

    return router
