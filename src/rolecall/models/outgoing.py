"""What goes out with a call: messages, without old reasoning, and the schemas of the tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    ToolMessage,
    convert_to_messages,
)

from rolecall.config.schema import ModelSpec
from rolecall.errors import BadInput

Messages = str | Sequence[BaseMessage | Mapping[str, Any] | tuple[str, str] | str]
"""A question, or a conversation."""


def conversation(given: Messages) -> list[BaseMessage]:
    """The messages that a caller gave; a text alone is one of the user's.

    Raises:
        BadInput: there are none, or something among them is none.
    """
    single = isinstance(given, str | Mapping | BaseMessage)  # else they fall apart into their parts
    try:
        messages = convert_to_messages([given] if single else given)  # type: ignore[arg-type,list-item]
    except (NotImplementedError, TypeError, ValueError) as error:
        what = str(error).split("\n", 1)[0]
        raise BadInput(f"expected a text or a list of messages: {what}") from error
    if not messages:
        raise BadInput("there is no message to answer")
    return messages


def history(messages: list[BaseMessage], spec: ModelSpec) -> list[BaseMessage]:
    """The conversation as a model wants it.

    Old reasoning is left out, models are trained without it in their history. One with
    ``keep_reasoning`` keeps what it thought since the last question, between its tool calls.
    """
    kept_from = len(messages)
    if spec.keep_reasoning:
        questions = [i for i, message in enumerate(messages) if isinstance(message, HumanMessage)]
        kept_from = questions[-1] if questions else 0
    kept = [without_reasoning(m) for m in messages[:kept_from]] + messages[kept_from:]
    return [_encodable(message) for message in kept]


def _encodable(message: BaseMessage) -> BaseMessage:
    """The message with ``?`` for lone surrogates: no API takes them.

    File names bring them, and so do models that write half of a ``\\ud83d\\ude00`` into arguments.
    """
    update: dict[str, Any] = {}
    if (content := _clean(message.content)) != message.content:
        update["content"] = content
    if isinstance(message, AIMessage):
        calls = [{**call, "args": _clean(call["args"])} for call in message.tool_calls]
        if calls != message.tool_calls:
            update["tool_calls"] = calls
    return message.model_copy(update=update) if update else message


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_clean(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    return value


def without_reasoning(message: BaseMessage) -> BaseMessage:
    """The message without its reasoning."""
    if not isinstance(message, AIMessage):
        return message
    update: dict[str, Any] = {}
    if "reasoning_content" in message.additional_kwargs:
        kept = {k: v for k, v in message.additional_kwargs.items() if k != "reasoning_content"}
        update["additional_kwargs"] = kept
    if isinstance(message.content, list):
        update["content"] = [part for part in message.content if not _is_reasoning(part)]
    return message.model_copy(update=update) if update else message


def heard(messages: list[BaseMessage]) -> list[str]:
    """What tools have answered."""
    return [message.text for message in messages if isinstance(message, ToolMessage)]


def argument_schemas(tools: Sequence[dict[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The JSON schema of each tool's arguments, by the tool's name."""
    functions = [tool.get("function", tool) for tool in tools]
    return {str(f["name"]): f.get("parameters") or {} for f in functions if "name" in f}


def _is_reasoning(part: str | dict[str, Any]) -> bool:
    return isinstance(part, dict) and part.get("type") in {"reasoning", "thinking"}
