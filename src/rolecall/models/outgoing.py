"""What goes out with a call: history without old reasoning, the schemas of the tools offered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage


def without_reasoning(message: BaseMessage) -> BaseMessage:
    """Old reasoning is not sent back: models are trained without it in their history."""
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
