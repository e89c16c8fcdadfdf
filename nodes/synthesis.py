"""SYNTHESIS: checks and cleans the answer, bounds the window, writes the transcript.

No model is called here: one specialist answered, and its answer stands.
"""

from __future__ import annotations

from typing import Any, Protocol

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig

from rolecall.graphs.state import AssistantState
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
    window_tokens: int,
    recorder: Recorder,
    redactor: Redactor | None,
    transcript: TurnWriter | None,
) -> Node[AssistantState]:
    """The SYNTHESIS node."""

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
        changes = bound([*state["messages"][:-1], answer], window_tokens)
        cut = next((m for m in changes if m.id == answer.id), None)
        return {
            "messages": changes if cut is not None else [answer, *changes],
            "role": None,
            "finish_reason": finish_reason,
        }

    return synthesis
