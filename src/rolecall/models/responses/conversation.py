"""A conversation of items as the messages that models read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)

from rolecall.errors import BadInput
from rolecall.models.responses.items import Item, block_of
from rolecall.models.text.loose_json import read_value


class _Said:
    """One assistant message in the making, with the results of its calls."""

    def __init__(self) -> None:
        self.reasoning: list[str] = []
        self.texts: list[str] = []
        self.calls: list[ToolCall] = []
        self.results: dict[str, ToolMessage] = {}

    def messages(self) -> list[BaseMessage]:
        extras = {"reasoning_content": "\n\n".join(self.reasoning)} if self.reasoning else {}
        text = "\n\n".join(self.texts)
        if not text and not self.calls:
            return []
        said = AIMessage(text, tool_calls=self.calls, additional_kwargs=extras)
        return [said, *(self.results[str(call["id"])] for call in self.calls)]


def messages_from(items: Iterable[Item], instructions: str | None = None) -> list[BaseMessage]:
    """A conversation as models read it.

    Reasoning, text and calls of one answer become one message, and each call's result follows it
    at once, whatever the order of the items: chat templates know nothing else.

    Raises:
        BadInput: a call has no result, or a result no call.
    """
    done: list[SystemMessage | HumanMessage | _Said] = []
    said: _Said | None = None
    waiting: dict[str, _Said] = {}
    for item in items:
        kind = item["type"]
        if kind == "function_call_output":
            identity = item["call_id"]
            if identity not in waiting:
                raise BadInput(
                    f"the function_call_output for {identity!r} answers no function_call of the "
                    "conversation; give the previous_response_id, or the call itself"
                )
            waiting.pop(identity).results[identity] = ToolMessage(
                _content(item["output"]), tool_call_id=identity, name=_name_of(done, identity)
            )
            said = None
        elif kind == "message" and item["role"] != "assistant":
            make = HumanMessage if item["role"] == "user" else SystemMessage
            done.append(make(_content(item["content"])))
            said = None
        else:
            if said is None or _begins_another(said, item):
                said = _Said()
                done.append(said)
            _add(said, item, waiting)
    if waiting:
        missing = ", ".join(repr(identity) for identity in waiting)
        raise BadInput(
            f"no function_call_output for the function_call {missing}: send one for each call, "
            '{"type": "function_call_output", "call_id": …, "output": …}'
        )
    return _with_instructions(done, instructions)


def _add(said: _Said, item: Item, waiting: dict[str, _Said]) -> None:
    match item["type"]:
        case "reasoning":
            text = _plain(item.get("content") or "") or _plain(item.get("summary") or "")
            said.reasoning += [text] if text else []
        case "message":
            said.texts.append(_plain(item["content"]))
        case _:
            identity = item["call_id"]
            if identity in waiting:
                raise BadInput(f"two function_calls have the call_id {identity!r}")
            arguments = _arguments(item["arguments"])
            said.calls.append(ToolCall(name=item["name"], args=arguments, id=identity))
            waiting[identity] = said


def _begins_another(said: _Said, item: Item) -> bool:
    if item["type"] == "message":
        return bool(said.texts)
    return item["type"] == "reasoning" and bool(said.texts or said.calls)


def _arguments(text: str) -> dict[str, Any]:
    """A call's arguments as an object: some runners refuse a history with anything else."""
    found = read_value(text.strip())
    if found is not None and isinstance(found[0], dict):
        return found[0]
    return {"unreadable": text} if text.strip() else {}


def _name_of(done: Sequence[object], identity: str) -> str | None:
    for said in reversed(done):
        if isinstance(said, _Said):
            for call in said.calls:
                if call["id"] == identity:
                    return call["name"]
    return None


def _with_instructions(
    done: Sequence[SystemMessage | HumanMessage | _Said], instructions: str | None
) -> list[BaseMessage]:
    """Instructions and leading system messages become one: many templates take no second."""
    leading = [instructions] if instructions else []
    at = 0
    while at < len(done) and isinstance(first := done[at], SystemMessage):
        leading.append(first.text)
        at += 1
    messages: list[BaseMessage] = [SystemMessage("\n\n".join(leading))] if leading else []
    for one in done[at:]:
        messages += one.messages() if isinstance(one, _Said) else [one]
    return messages


def _content(content: str | list[Item]) -> str | list[str | dict[str, Any]]:
    if isinstance(content, str):
        return content
    blocks = [block_of(part, "content") for part in content]
    if all(isinstance(block, str) for block in blocks):
        return "".join(str(block) for block in blocks)
    return [{"type": "text", "text": b} if isinstance(b, str) else b for b in blocks]


def _plain(content: str | list[Item]) -> str:
    if isinstance(content, str):
        return content
    blocks = [block_of(part, "content") for part in content]
    return "".join(block for block in blocks if isinstance(block, str))
