"""SYNTHESIS: checks and cleans the answer, bounds the window, writes the transcript.

No model is called here: one specialist answered, and its answer stands.
"""

from __future__ import annotations

from typing import Any, Protocol

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig

from rolecall.config.schema import MemorySettings
from rolecall.graphs.state import AssistantState
from rolecall.memory.notebook import Notebook
from rolecall.memory.summary import fold
from rolecall.models.reply import reasoning_of
from rolecall.models.text.reasoning import split_reasoning
from rolecall.models.text.redaction import Redactor
from rolecall.nodes.both_forms import Node
from rolecall.nodes.report import Report, run_ids
from rolecall.nodes.window import bound
from rolecall.telemetry.recorder import Recorder

EMPTY = "empty"


class TurnWriter(Protocol):
    """Takes the finished turn."""

    async def finish(self, turn_id: str, status: Any, changes: dict[str, Any]) -> None:
        """Record how a turn ended."""
        ...


def make_synthesis(
    memory: MemorySettings,
    recorder: Recorder,
    redactor: Redactor | None,
    transcript: TurnWriter | None,
    notebook: Notebook | None = None,
) -> Node[AssistantState]:
    """The SYNTHESIS node.

    Args:
        memory: bounds the window and the summary of what leaves it.
        recorder: takes telemetry.
        redactor: blots secrets out.
        transcript: takes the finished turn.
        notebook: told when turns have left the window.
    """

    room = 0 if memory.summary == "off" else memory.summary_tokens
    redact = str if redactor is None else redactor.redact

    async def synthesis(state: AssistantState, config: RunnableConfig) -> dict[str, Any]:
        report = Report(recorder, config, state["turn"], "synthesis")
        last = state["messages"][-1]
        shown = last.text
        leaked, text = split_reasoning(shown)
        reasoning = "\n".join(
            part
            for part in (reasoning_of(last) if isinstance(last, AIMessage) else "", leaked)
            if part
        )
        if redactor is not None:
            text, reasoning = redactor.redact(text), redactor.redact(reasoning)
        if text != shown:
            report.event("replaced", text=text, why="reasoning or a secret was taken out")
        finish_reason = state.get("finish_reason") or "stop"
        if not text.strip():
            finish_reason = EMPTY
        answer = AIMessage(
            content=text,
            id=last.id,
            additional_kwargs={"reasoning_content": reasoning} if reasoning else {},
            response_metadata=last.response_metadata,
            usage_metadata=last.usage_metadata if isinstance(last, AIMessage) else None,
        )
        outcome = {
            "answer": text,
            "reasoning": reasoning,
            "role": state["speaker"],
            "decision": state["decision"],
            "strategy": state["strategy"],
            "finish_reason": finish_reason,
        }
        turn_id = run_ids(config, state["turn"])[0]
        if transcript is not None and turn_id is not None:
            await transcript.finish(turn_id, "done", outcome)
        thread_id = (config.get("configurable") or {}).get("thread_id")
        report.finished(state["turn"], thread_id, outcome)
        report.event("answer", **outcome)
        window = bound([*state["messages"][:-1], answer], memory.window_tokens)
        cut = any(message.id == answer.id for message in window.changes)
        kept: dict[str, Any] = {}
        if window.left:
            kept["summary"] = summary = fold(state.get("summary"), window.left, room, redact)
            if summary is not None and notebook is not None and thread_id is not None:
                notebook.due(str(thread_id), summary)
        return {
            **kept,
            "messages": window.changes if cut else [answer, *window.changes],
            "role": None,
            "finish_reason": finish_reason,
        }

    return synthesis
