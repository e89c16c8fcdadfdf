"""Specialists: one factory makes the node of every role, the router's own answers included."""

from __future__ import annotations

import time
import uuid
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
from langchain_core.utils.function_calling import convert_to_openai_tool

from rolecall.config.schema import ModelRole, Role, TurnSettings
from rolecall.errors import ContextTooLong, ModelCallFailed, NoModelReachable
from rolecall.graphs.state import AssistantState
from rolecall.models.client import LocalLLMClient
from rolecall.models.reply import final, reasoning_of
from rolecall.models.text.redaction import Redactor
from rolecall.nodes.both_forms import Node
from rolecall.nodes.doubt import Bar, bar_for, unread
from rolecall.nodes.journal import Journal, TurnJournal
from rolecall.nodes.notes import with_notes
from rolecall.nodes.report import Report
from rolecall.nodes.tool_history import (
    goes_in_circles,
    results_as_text,
    with_unreadable_calls,
)
from rolecall.routing.decision import Decision, Routed
from rolecall.telemetry.recorder import Recorder
from rolecall.tools.recall import NAME as RECALL

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
    journal: Journal | None = None,
) -> Node[AssistantState]:
    """The node of one role: calls its model once; tools run in the node behind it.

    ``bar`` is what an answer of the fast path must clear to stand. An answer goes to the
    ``journal`` before anything else is done with it; what stands there is not asked for again.
    """
    system = SystemMessage(desk.role.prompt)
    offered = {tool.name: convert_to_openai_tool(tool) for tool in desk.tools}

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
        tools = [tool for tool in desk.tools if tool.name != RECALL or state.get("summary")]
        may_call = bool(
            tools
            and rounds < turn.max_tool_rounds
            and state["active_s"] < turn.deadline_s
            and not goes_in_circles(messages)
        )
        of_turn, key = TurnJournal.of(journal, config, state["turn"]), f"{desk.node}/{rounds}"
        started = time.perf_counter()
        paid = await of_turn.answer(key, state["messages"])
        if paid is not None:
            report.journaled(desk.role.name)
            reply = AIMessage.model_validate(paid["message"])
            _show(reply, desk.role.name, report)
            active_s = float(paid["active_s"])
        else:
            chat_model = client.chat_model(desk.role.name, on_call=report.call, redactor=redactor)
            model: Runnable[LanguageModelInput, Any] = chat_model
            if may_call:
                model = chat_model.bind_tools([offered[tool.name] for tool in tools])
            else:
                messages = results_as_text(messages)
            if desk.role.name == ModelRole.ROUTER and bar_for(state, bar).least_logprob is not None:
                model = model.bind(logprobs=True)
            model = model.bind(deadline=_deadline(config, turn), begin_again=True)
            prompt = [with_notes(system, state.get("summary")), *_alternating(messages)]
            try:
                reply = await _streamed(model, prompt, config, desk.role.name, report)
            except NoModelReachable as error:
                if doubtful:  # an answer in doubt is better than none
                    report.event("replaced", text=doubtful, why=_why_it_stands(error))
                    return {"messages": [], "finish_reason": state.get("finish_reason")}
                if not (isinstance(error, ContextTooLong) and _may_pass_on(client, desk, state)):
                    raise
                reply = unread(f"answer-{uuid.uuid4().hex}")
            active_s = time.perf_counter() - started
            await of_turn.keep_answer(
                key, state["messages"], {"message": reply.model_dump(), "active_s": active_s}
            )
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
            "active_s": state["active_s"] + active_s,
            "finish_reason": finish_reason,
        }

    return specialist


async def _streamed(
    model: Runnable[LanguageModelInput, Any],
    prompt: list[Any],
    config: RunnableConfig,
    role: str,
    report: Report,
) -> AIMessage:
    """The model's whole reply; what comes is shown as it comes."""
    chunks: list[AIMessageChunk] = []
    void = False
    try:
        async for chunk in model.astream(prompt, config):
            if why := chunk.response_metadata.get("begins_again"):
                report.event("replaced", text="", why=why)
                chunks, void = [], True
                continue
            chunks.append(chunk)
            _show(chunk, role, report)
    except ModelCallFailed as failure:
        if void:  # what had come is all there is
            report.event("replaced", text=failure.partial, why="it could not begin again")
        raise
    reply = final(chunks)
    return reply if reply.id else reply.model_copy(update={"id": f"answer-{uuid.uuid4().hex}"})


def _show(message: AIMessage, role: str, report: Report) -> None:
    if trace := message.additional_kwargs.get("reasoning_content"):
        report.event("reasoning", role=role, text=trace)
    if text := message.text:
        report.event("text", role=role, text=text)


def _why_it_stands(error: NoModelReachable) -> str:
    if isinstance(error, ContextTooLong):
        return "the conversation is too long for the reasoning model"
    return "the reasoning model cannot be reached"


def _may_pass_on(client: LocalLLMClient, desk: Desk, state: AssistantState) -> bool:
    """Whether the reasoning role gets what the router's models cannot read."""
    chosen = state["strategy"] == "fixed"
    return desk.node == "answer" and not chosen and ModelRole.REASONING in client.stack.roles


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
