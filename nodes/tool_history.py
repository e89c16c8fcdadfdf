"""What a turn's tool calls mean for its next model call."""

from __future__ import annotations

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolCall, ToolMessage

UNREADABLE = "arguments that are not JSON"


def with_unreadable_calls(reply: AIMessage) -> AIMessage:
    """A reply whose calls with unreadable arguments are calls too: the tool runner answers them.

    Left as they come they would end the turn without an answer.
    """
    calls = [
        ToolCall(name=call["name"] or "", args={UNREADABLE: call["args"] or ""}, id=call["id"])
        for call in reply.invalid_tool_calls
    ]
    if not calls:
        return reply
    update = {"tool_calls": [*reply.tool_calls, *calls], "invalid_tool_calls": []}
    return reply.model_copy(update=update)


def goes_in_circles(messages: list[AnyMessage]) -> bool:
    """Whether the model's last tool calls of this turn all repeat earlier ones."""
    seen: list[tuple[str, str]] = []
    last: list[tuple[str, str]] = []
    for message in messages:
        if isinstance(message, HumanMessage):
            seen, last = [], []
        elif isinstance(message, AIMessage) and message.tool_calls:
            seen += last
            last = [_signature(call) for call in message.tool_calls]
    return bool(last) and all(call in seen for call in last)


def results_as_text(messages: list[AnyMessage]) -> list[AnyMessage]:
    """Messages for a call that offers no tools: results stand in the user's message as text.

    Without the tools in its prompt a model has no use for calls in its history: templates refuse
    them, and small models go on calling instead of answering.
    """
    calls: dict[str, ToolCall] = {}
    kept: list[AnyMessage] = []
    notes: list[str] = []
    question: int | None = None
    for message in messages:
        if isinstance(message, HumanMessage):
            question, notes = len(kept), []
            kept.append(message)
        elif isinstance(message, AIMessage) and message.tool_calls:
            calls |= {str(call["id"]): call for call in message.tool_calls}
        elif isinstance(message, ToolMessage):
            notes.append(_note(calls.get(message.tool_call_id), message))
        else:
            kept.append(message)
            notes = []
    if question is not None and notes:
        asked = kept[question]
        lines = "\n".join(notes)
        text = f"{asked.text}\n\nTool results:\n{lines}\n\nAnswer with these results."
        kept[question] = asked.model_copy(update={"content": text})
    return kept


def _note(call: ToolCall | None, message: ToolMessage) -> str:
    if call is None:
        return f"{message.name}: {message.text}"
    arguments = ", ".join(f"{key}={value!r}" for key, value in call["args"].items())
    return f"{call['name']}({arguments}): {message.text}"


def _signature(call: ToolCall) -> tuple[str, str]:
    return call["name"], repr(sorted(call["args"].items()))
