"""What goes out with a call: history without old reasoning, the schemas of the tools offered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from rolecall.config.schema import ModelSpec


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
    """The message with ``?`` for lone surrogates, as file names bring them: no API takes them."""
    content = message.content
    if isinstance(content, str) and not content.isascii():
        clean = content.encode("utf-8", "replace").decode()
        return message if clean == content else message.model_copy(update={"content": clean})
    return message


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
