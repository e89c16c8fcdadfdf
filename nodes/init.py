"""INIT: takes the question in, gives the turn its ids, clears what the last turn left."""

from __future__ import annotations

import time
import uuid
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.runnables import RunnableConfig

from rolecall.errors import BadInput
from rolecall.graphs.state import AssistantState
from rolecall.nodes.both_forms import Node
from rolecall.nodes.report import run_ids


def check_question(text: str, max_chars: int) -> str:
    """The question as it goes on, or why it cannot.

    Raises:
        BadInput: it is empty, longer than ``max_chars`` characters, or not UTF-8 text.
    """
    if not text.strip():
        raise BadInput('the question is empty; write one, such as "What is the capital of Peru?"')
    if len(text) > max_chars:
        raise BadInput(
            f"the question has {len(text):,} characters; at most {max_chars:,} are taken. "
            "Put long material into a file in the workspace and ask about the file, "
            "or raise settings.turn.max_input_chars."
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadInput(
            f"the question is not valid UTF-8 text (character {error.start + 1})"
        ) from error
    return text.replace("\x00", "")


def make_init(max_input_chars: int) -> Node[AssistantState]:
    """The INIT node."""

    async def init(state: AssistantState, config: RunnableConfig) -> dict[str, Any]:
        messages = state.get("messages") or []
        if not messages or not isinstance(messages[-1], HumanMessage):
            raise BadInput("the last message must be the user's")
        question = check_question(messages[-1].text, max_input_chars)
        turn_id, trace_id = run_ids(config)
        return {
            "turn": {
                "turn_id": turn_id or uuid.uuid4().hex,
                "trace_id": trace_id or uuid.uuid4().hex,
                "question": question,
                "started_at": time.time(),
            },
            "messages": _remove_dangling(messages),
            "role": state.get("role"),
            "decision": None,
            "strategy": None,
            "speaker": None,
            "tool_rounds": 0,
            "active_s": 0.0,
            "finish_reason": None,
        }

    return init


def _remove_dangling(messages: list[AnyMessage]) -> list[RemoveMessage]:
    """Tool calls that an abandoned turn left unanswered: no model API accepts them."""
    answered = {m.tool_call_id for m in messages if isinstance(m, ToolMessage)}
    dangling: list[RemoveMessage] = []
    dropped: set[str | None] = set()
    for message in messages:
        if isinstance(message, AIMessage) and message.tool_calls:
            ids = {call["id"] for call in message.tool_calls}
            if not ids <= answered:
                dangling.append(RemoveMessage(id=str(message.id)))
                dropped |= ids
        elif isinstance(message, ToolMessage) and message.tool_call_id in dropped:
            dangling.append(RemoveMessage(id=str(message.id)))
    return dangling
