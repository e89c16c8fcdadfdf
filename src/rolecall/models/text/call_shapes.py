"""What a decoded object must look like to be a tool call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rolecall.models.text.loose_json import read_value

Tools = Mapping[str, Mapping[str, Any]]
"""Names of the offered tools, and the JSON schema of the parameters of each."""

_NAME_KEYS = ("name", "tool_name", "function_name", "tool", "function", "function_call")
_WRAPPERS = ("function", "tool", "tool_call", "function_call")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "input")
_LABELS = {"type", "id", "index", *_NAME_KEYS}


@dataclass(frozen=True)
class TextCall:
    """A tool call found in text."""

    name: str
    arguments: dict[str, Any]

    @property
    def identity(self) -> str:
        """Equal for calls that do the same: ``1`` and ``true`` differ, the order of keys not."""
        return json.dumps([self.name, self.arguments], sort_keys=True, default=repr)


def calls_from(value: object, tools: Tools, *, known_only: bool) -> list[TextCall] | None:
    """The calls in an object, a list of them or ``{"tool_calls": […]}``; all count, or none.

    Args:
        known_only: a name that no tool has makes it plain JSON, not a call.
    """
    if isinstance(value, dict) and set(value) == {"tool_calls"}:
        value = value["tool_calls"]
    if not isinstance(value, list):
        call = _call_from(value, tools, known_only=known_only)
        return None if call is None else [call]
    calls = [_call_from(item, tools, known_only=known_only) for item in value]
    found = [call for call in calls if call is not None]
    return found if found and len(found) == len(calls) else None


def named_call(name: str, arguments: object, tools: Tools) -> TextCall | None:
    """The call of ``name``, if ``arguments`` can be the arguments of a call."""
    if isinstance(arguments, str):
        decoded = read_value(arguments.strip())
        arguments = decoded[0] if decoded is not None else arguments.strip() or None
    if arguments is None:
        arguments = {}
        if tools.get(name, {}).get("required"):
            return None
    if not isinstance(arguments, dict) or not all(isinstance(key, str) for key in arguments):
        return None
    if _is_schema(arguments) and "properties" not in tools.get(name, {}).get("properties", {}):
        return None
    return TextCall(name, arguments)


def bare_name(name: str) -> str:
    """The tool's name without the namespace that some templates put before it."""
    return name.strip().removeprefix("functions.")


def _call_from(value: object, tools: Tools, *, known_only: bool) -> TextCall | None:
    if not isinstance(value, dict):
        return None
    for wrapper in _WRAPPERS:
        if isinstance(value.get(wrapper), dict):
            return _call_from(value[wrapper], tools, known_only=known_only)
    name = next((value[key] for key in _NAME_KEYS if isinstance(value.get(key), str)), None)
    # An object that describes itself is a tool's definition, echoed from the prompt.
    if name is None or not name.strip() or "description" in value:
        return None
    name = bare_name(name)
    if known_only and name not in tools:
        return None
    key = next((key for key in _ARGUMENT_KEYS if key in value), None)
    if key is None and set(value) - _LABELS:
        return None
    return named_call(name, None if key is None else value[key], tools)


def _is_schema(arguments: Mapping[str, Any]) -> bool:
    return arguments.get("type") == "object" and isinstance(arguments.get("properties"), dict)
