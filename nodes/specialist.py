"""Specialists: one factory makes the node of every role, the router's own answers included."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    merge_message_runs,
)
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool

from rolecall.config.schema import ModelRole, Role, TurnSettings
from rolecall.errors import ModelCallFailed, NoModelReachable
from rolecall.graphs.state import AssistantState
from rolecall.models.client import LocalLLMClient
from rolecall.models.reply import final, reasoning_of
from rolecall.models.text.redaction import Redactor
from rolecall.nodes.both_forms import Node
from rolecall.nodes.doubt import Bar, bar_for
from rolecall.nodes.report import Report
from rolecall.nodes.tool_history import (
    goes_in_circles,
    results_as_text,
    with_unreadable_calls,
)
from rolecall.routing.decision import Decision, Routed
from rolecall.telemetry.recorder import Recorder

_GRACE_S = 0.5


@dataclass(frozen=True)
class Desk:
    """What a specialist works with.

    Attributes:
        node: the node's name (``answer`` for the router role).
        role: whose model answers, with which prompt.
        tools: what it may call.
    """

    node: str
    role: Role
    tools: list[BaseTool]


def make_specialist(
    client: LocalLLMClient,
    desk: Desk,
    turn: TurnSettings,
    recorder: Recorder,
    redactor: Redactor | None,
    bar: Bar,
) -> Node[AssistantState]:
    """The node of one role: calls its model once; tools run in the node behind it.

    ``bar`` is what an answer of the fast path must clear to stand.
    """
    system = SystemMessage(desk.role.prompt)

    async def specialist(state: AssistantState, config: RunnableConfig) -> dict[str, Any]:
        report = Report(recorder, config, state["turn"], desk.node)
        updates: list[Any] = []
        changes: dict[str, Any] = {}
        messages = state["messages"]
        rounds = state["tool_rounds"]
        doubtful = ""
        if state.get("speaker") not in (None, desk.node):
            doubt = bar.doubt(messages[-1]) or ""
            routed = _escalation(desk.role, doubt)
            doubtful = messages[-1].text.strip()
            if doubtful:
                report.event("replaced", text="", why=doubt)
            report.decided(routed, 0.0)
            changes = {"decision": routed.decision.model_dump(), "strategy": routed.strategy}
            updates.append(RemoveMessage(id=str(messages[-1].id)))
            messages = messages[:-1]
        chat_model = client.chat_model(desk.role.name, on_call=report.call, redactor=redactor)
        model: Runnable[LanguageModelInput, Any] = chat_model
        may_call = (
            desk.tools
            and rounds < turn.max_tool_rounds
            and state["active_s"] < turn.deadline_s
            and not goes_in_circles(messages)
        )
        if may_call:
            model = chat_model.bind_tools(desk.tools)
        else:
            messages = results_as_text(messages)
        if desk.role.name == ModelRole.ROUTER and bar_for(state, bar).least_logprob is not None:
            model = model.bind(logprobs=True)
        model = model.bind(deadline=_deadline(config, turn), begin_again=True)
        started = time.perf_counter()
        chunks: list[AIMessageChunk] = []
        void = False
        try:
            async for chunk in model.astream([system, *_alternating(messages)], config):
                if why := chunk.response_metadata.get("begins_again"):
                    report.event("replaced", text="", why=why)
                    chunks, void = [], True
                    continue
                chunks.append(chunk)
                if text := chunk.text:
                    report.event("text", role=desk.role.name, text=text)
                elif trace := chunk.additional_kwargs.get("reasoning_content"):
                    report.event("reasoning", role=desk.role.name, text=trace)
        except ModelCallFailed as failure:
            if void:  # what had come is all there is
                report.event("replaced", text=failure.partial, why="it could not begin again")
            raise
        except NoModelReachable:
            if not doubtful:
                raise
            # an answer in doubt is better than none
            report.event("replaced", text=doubtful, why="the reasoning model cannot be reached")
            return {"messages": [], "finish_reason": state.get("finish_reason")}
        reply = final(chunks)
        report.context(reply.response_metadata.get("context"))
        report.not_meant(reply.response_metadata.get("calls_not_meant"))
        reply = with_unreadable_calls(reply)
        finish_reason = reply.response_metadata.get("finish_reason")
        if not may_call and reply.tool_calls:  # called all the same: the bound holds
            text = reply.text or f"(stopped after {rounds} rounds of tool calls)"
            reply = reply.model_copy(update={"tool_calls": [], "content": text})
            finish_reason = "tool_rounds"
        return {
            **changes,
            "messages": [*updates, reply],
            "speaker": desk.node,
            "tool_rounds": rounds + bool(reply.tool_calls),
            "active_s": state["active_s"] + time.perf_counter() - started,
            "finish_reason": finish_reason,
        }

    return specialist


def _deadline(config: RunnableConfig, turn: TurnSettings) -> float:
    """When the turn's model calls must be over, a time of the monotonic clock.

    The run ends itself at that time, which says more; the calls have a moment longer.
    """
    at = (config.get("configurable") or {}).get("deadline_at")
    left = turn.deadline_s if at is None else float(at) - time.time()
    return time.monotonic() + left + _GRACE_S


def _escalation(role: Role, reason: str) -> Routed:
    return Routed(Decision.for_role(role.name, 1.0, reason), "escalation")


def _alternating(messages: list[AnyMessage]) -> list[Any]:
    """Several user messages in a row (a turn was abandoned) become one: templates demand it."""
    kept = [m for m in messages if not _is_empty_answer(m)]
    return merge_message_runs(kept) if _has_runs(kept) else kept


def _is_empty_answer(message: AnyMessage) -> bool:
    return (
        isinstance(message, AIMessage)
        and not message.tool_calls
        and not message.text
        and not reasoning_of(message)
    )


def _has_runs(messages: list[AnyMessage]) -> bool:
    users = [isinstance(message, HumanMessage) for message in messages]
    return any(a and b for a, b in pairwise(users))
