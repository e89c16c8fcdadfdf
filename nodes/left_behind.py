"""What an abandoned turn left in the messages: unanswered calls, questions too long."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    HumanMessage,
    RemoveMessage,
    ToolMessage,
)
from langchain_core.runnables import RunnableConfig

from rolecall.nodes.journal import CallAsLeft, Journal

_LONGEST_RESULT = 300
_LONGEST_QUESTION = 2_000


async def without_dangling(
    messages: list[AnyMessage], journal: Journal | None, config: RunnableConfig
) -> list[AnyMessage | RemoveMessage]:
    """Changes that take tool calls out that were never answered, and cut long questions.

    What such a call did, or may have done, is not forgotten: of calls in the journal a note stays.
    """
    thread_id = (config.get("configurable") or {}).get("thread_id")
    answered = {m.tool_call_id for m in messages if isinstance(m, ToolMessage)}
    changes: list[AnyMessage | RemoveMessage] = []
    dropped: set[str | None] = set()
    for message in messages:
        if isinstance(message, AIMessage) and message.tool_calls:
            ids = {call["id"] for call in message.tool_calls}
            if not ids <= answered:
                calls: Sequence[CallAsLeft] = ()
                if journal is not None and thread_id is not None:
                    calls = await journal.calls_of(str(thread_id), str(message.id))
                changes.append(_note(message, calls) if calls else _removed(message))
                dropped |= ids
        elif isinstance(message, ToolMessage) and message.tool_call_id in dropped:
            changes.append(_removed(message))
    return changes + _cut_questions(messages[:-1])


def _cut_questions(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Unanswered questions, shortened: one that no model could read would block all that follow."""
    changes: list[AnyMessage] = []
    for message in reversed(messages):
        if isinstance(message, AIMessage) and not message.tool_calls:
            break
        if isinstance(message, HumanMessage) and len(message.text) > _LONGEST_QUESTION:
            cut = f"{message.text[:_LONGEST_QUESTION]} … (cut; this was not answered)"
            changes.append(HumanMessage(cut, id=message.id))
    return changes


def _removed(message: AnyMessage) -> RemoveMessage:
    return RemoveMessage(id=str(message.id))


def _note(message: AIMessage, calls: Sequence[CallAsLeft]) -> AIMessage:
    lines = "\n".join(f"- {_told(call)}" for call in calls)
    return AIMessage(f"(I was stopped while these calls ran:\n{lines})", id=message.id)


def _told(call: CallAsLeft) -> str:
    arguments = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
    if call.status == "done":
        became = (call.result or "")[:_LONGEST_RESULT]
    elif call.status == "waiting":
        became = "it waited for the user and was not finished"
    else:
        became = "it may or may not have happened"
    return f"{call.name}({arguments}): {became}"
