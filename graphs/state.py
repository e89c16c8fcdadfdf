"""What one run of the assistant carries from node to node, and what it takes as input."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict

from langchain_core.messages import AnyMessage, ToolCall
from langgraph.graph.message import add_messages

from rolecall.memory.summary import Summary

STATE_VERSION = 2
"""Saved with each step; raised when older programs cannot go on from what this one saves.

1: no ``summary``. 2: with it; it is read where it is there.
"""


class TurnInfo(TypedDict):
    """The turn that is running. ``started_at`` is Unix seconds."""

    turn_id: str
    trace_id: str
    question: str
    started_at: float


class AssistantInput(TypedDict):
    """A run's input: the user's message; ``role`` when the user fixes who answers."""

    messages: Annotated[list[AnyMessage], add_messages]
    role: NotRequired[str | None]


class AssistantState(TypedDict):
    """The state. Plain values and LangChain messages only, so any checkpointer can keep it.

    Attributes:
        messages: the window: the last turns, bounded by SYNTHESIS.
        summary: what is still known of the turns that left the window.
        role: the role that the user fixed for this turn.
        turn: the running turn.
        decision: the router's decision JSON.
        strategy: which strategy decided.
        speaker: the node that is answering.
        tool_rounds: how many times this turn's speaker has called tools.
        active_s: seconds spent in this turn's model calls so far.
        finish_reason: why the last reply ended.
    """

    messages: Annotated[list[AnyMessage], add_messages]
    summary: NotRequired[Summary | None]
    role: str | None
    turn: TurnInfo
    decision: dict[str, Any] | None
    strategy: str | None
    speaker: str | None
    tool_rounds: int
    active_s: float
    finish_reason: str | None


class ToolTask(TypedDict):
    """One tool call, run as a task of its own; ``key`` names it in its thread."""

    call: ToolCall
    turn: TurnInfo
    key: NotRequired[str]
