"""INIT: takes the question in, gives the turn its ids, clears what the last turn left."""

from __future__ import annotations

import time
import uuid
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig

from rolecall.config.schema import MemorySettings
from rolecall.errors import BadInput
from rolecall.graphs.state import AssistantState
from rolecall.memory.notebook import Notebook
from rolecall.memory.summary import with_prose
from rolecall.nodes.both_forms import Node
from rolecall.nodes.journal import Journal
from rolecall.nodes.left_behind import without_dangling
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


def make_init(
    max_input_chars: int,
    memory: MemorySettings | None = None,
    notebook: Notebook | None = None,
    journal: Journal | None = None,
) -> Node[AssistantState]:
    """The INIT node.

    Args:
        max_input_chars: a longer question is refused.
        memory: bounds the summary.
        notebook: where a model's text for the summary may be found.
        journal: knows of tool calls that an abandoned turn left.
    """
    bounds = memory or MemorySettings()

    async def init(state: AssistantState, config: RunnableConfig) -> dict[str, Any]:
        messages = state.get("messages") or []
        if not messages or not isinstance(messages[-1], HumanMessage):
            raise BadInput("the last message must be the user's")
        question = check_question(messages[-1].text, max_input_chars)
        turn_id, trace_id = run_ids(config)
        changes: dict[str, Any] = {}
        summary = state.get("summary")
        thread_id = (config.get("configurable") or {}).get("thread_id")
        if summary and bounds.summary == "off" and (summary["prose"] or summary["notes"]):
            changes["summary"] = {**summary, "prose": "", "notes": []}
        elif summary and notebook is not None and thread_id is not None:
            prose = await notebook.prose(str(thread_id), summary)
            if prose is not None:
                changes["summary"] = with_prose(summary, prose, bounds.summary_tokens)
        return {
            **changes,
            "turn": {
                "turn_id": turn_id or uuid.uuid4().hex,
                "trace_id": trace_id or uuid.uuid4().hex,
                "question": question,
                "started_at": time.time(),
            },
            "messages": await without_dangling(messages, journal, config),
            "role": state.get("role"),
            "decision": None,
            "strategy": None,
            "speaker": None,
            "tool_rounds": 0,
            "active_s": 0.0,
            "finish_reason": None,
        }

    return init
