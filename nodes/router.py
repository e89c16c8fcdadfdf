"""The router node: asks a strategy who answers, and writes the decision JSON."""

from __future__ import annotations

import time
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig

from rolecall.errors import UnknownRole
from rolecall.graphs.state import AssistantState
from rolecall.models.calls import CallRecord
from rolecall.nodes.both_forms import Node
from rolecall.nodes.journal import Journal, TurnJournal
from rolecall.nodes.report import Report
from rolecall.routing.decision import Decision, Routed, Strategy
from rolecall.routing.fixed import FixedStrategy
from rolecall.telemetry.recorder import Recorder


def make_router(
    strategy: Strategy, roles: list[str], recorder: Recorder, journal: Journal | None = None
) -> Node[AssistantState]:
    """The router node.

    Args:
        strategy: decides when the user fixed no role.
        roles: the roles that can answer.
        recorder: where the decision is recorded.
        journal: keeps a decision that a model was called for.
    """

    async def router(state: AssistantState, config: RunnableConfig) -> dict[str, Any]:
        report = Report(recorder, config, state["turn"], "router")
        started = time.perf_counter()
        wanted = state.get("role")
        if wanted is not None and wanted not in roles:
            raise UnknownRole(f"there is no role {wanted!r}; roles: {', '.join(roles)}")
        chosen = FixedStrategy(wanted) if wanted is not None else strategy
        earlier = [m.text for m in state["messages"][:-1] if isinstance(m, HumanMessage)]
        of_turn = TurnJournal.of(journal, config, state["turn"])
        kept = await of_turn.answer("router", state["messages"])
        if kept is not None:
            report.journaled("router")
            routed = _routed(kept)
        else:
            answered = False

            def called(record: CallRecord) -> None:
                nonlocal answered
                answered = answered or record.status == "ok"
                report.call(record)

            routed = await chosen.decide(state["turn"]["question"], earlier, on_call=called)
            if answered:  # it was paid for
                await of_turn.keep_answer("router", state["messages"], _as_json(routed))
        report.decided(routed, (time.perf_counter() - started) * 1000.0)
        return {"decision": routed.decision.model_dump(), "strategy": routed.strategy}

    return router


def _as_json(routed: Routed) -> dict[str, Any]:
    return {
        "decision": routed.decision.model_dump(),
        "strategy": routed.strategy,
        "probabilities": routed.probabilities,
        "abstained": routed.abstained,
        "encoder_confidence": routed.encoder_confidence,
    }


def _routed(kept: dict[str, Any]) -> Routed:
    return Routed(**{**kept, "decision": Decision.model_validate(kept["decision"])})
