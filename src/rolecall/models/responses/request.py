"""What a caller asks for, checked and put into the client's own words."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from langchain_core.messages import BaseMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from rolecall.errors import BadInput
from rolecall.models.calls import OnCall
from rolecall.models.outgoing import argument_schemas
from rolecall.models.responses.conversation import messages_from
from rolecall.models.responses.items import GivenItems, Item, items_from, new_id
from rolecall.models.schema_validation import check_schema
from rolecall.models.structured import Schema
from rolecall.models.target import schema_of
from rolecall.models.wire import CallOptions

if TYPE_CHECKING:
    from rolecall.models.text.redaction import Redactor

Tool = Mapping[str, Any] | type | Callable[..., Any] | BaseTool
"""A function: in the form of Responses or of chat completions, or whatever LangChain takes."""

_CHOICES = ("auto", "none", "required")


class Wanted(TypedDict, total=False):
    """What a request may ask for.

    Attributes:
        instructions: a system message for this response only; the next one does not inherit it.
        previous_response_id: the stored response that this one continues.
        tools: functions that the model may call.
        tool_choice: ``auto``, ``none``, ``required``, or a function's name, alone or in a dict.
        parallel_tool_calls: ``False`` keeps only the first call of an answer.
        text_format: a pydantic class, a TypedDict, a JSON schema, or ``text.format`` of the API.
        max_output_tokens: at most so many, reasoning included.
        temperature: of the sampling.
        metadata: texts by name, kept with the response.
        store: ``False`` keeps nothing; such a response cannot be continued by its id.
        deadline_s: seconds for the whole call, with its retries and fallbacks.
        on_call: told of every attempt, also the failed ones.
        redactor: blots out secrets of the answer.
    """

    instructions: str | None
    previous_response_id: str | None
    tools: Sequence[Tool]
    tool_choice: str | Mapping[str, Any] | None
    parallel_tool_calls: bool
    text_format: Schema | None
    max_output_tokens: int | None
    temperature: float | None
    metadata: Mapping[str, str] | None
    store: bool
    deadline_s: float | None
    on_call: OnCall | None
    redactor: Redactor | None


@dataclass(frozen=True)
class Request:
    """A request that was checked.

    Attributes:
        given: the items that are new in it.
        head: the fields of the response that are known before the answer.
    """

    given: list[Item]
    messages: list[BaseMessage]
    options: CallOptions
    schema: Schema | None
    store: bool
    one_call: bool
    on_call: OnCall | None
    redactor: Redactor | None
    head: dict[str, Any]


def request_from(role: str, given: GivenItems, before: Sequence[Item], wanted: Wanted) -> Request:
    """Check a request.

    Args:
        before: the items of the conversation that it continues.

    Raises:
        BadInput: something in it cannot be put to a local model; the message names it.
    """
    if unknown := set(wanted) - set(Wanted.__annotations__):
        raise BadInput(f"respond does not know {', '.join(sorted(unknown))}")
    items = items_from(given)
    if not items and not before:
        raise BadInput("the input is empty")
    instructions = wanted.get("instructions")
    tools = [_function(tool, index) for index, tool in enumerate(wanted.get("tools") or ())]
    choice = _choice(wanted.get("tool_choice"), tools)
    name, schema = _format(wanted.get("text_format"))
    most = _positive("max_output_tokens", wanted.get("max_output_tokens"))
    seconds = _positive("deadline_s", wanted.get("deadline_s"))
    options = CallOptions(
        tools=tuple(tools),
        tool_choice=choice,
        schema=None if schema is None else schema_of(schema),
        max_tokens=None if most is None else int(most),
        temperature=wanted.get("temperature"),
        deadline=None if seconds is None else time.monotonic() + seconds,
    )
    if options.schema is not None:
        check_schema(options.schema)
    head = {
        "id": new_id("resp"),
        "object": "response",
        "created_at": time.time(),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": instructions,
        "max_output_tokens": options.max_tokens,
        "metadata": _texts(wanted.get("metadata")),
        "model": "",
        "output": [],
        "parallel_tool_calls": bool(wanted.get("parallel_tool_calls", True)),
        "previous_response_id": wanted.get("previous_response_id"),
        "store": bool(wanted.get("store", True)),
        "temperature": options.temperature,
        "text": {"format": _described(name, options.schema)},
        "tool_choice": _documented(choice),
        "tools": [{"type": "function", "strict": False, **tool["function"]} for tool in tools],
        "usage": None,
        "role": str(role),
        "endpoint": "",
    }
    return Request(
        given=items,
        messages=messages_from([*before, *items], instructions),
        options=options,
        schema=schema,
        store=wanted.get("store", True),
        one_call=not wanted.get("parallel_tool_calls", True),
        on_call=wanted.get("on_call"),
        redactor=wanted.get("redactor"),
        head=head,
    )


def _function(tool: Any, index: int) -> dict[str, Any]:
    if isinstance(tool, Mapping) and tool.get("type", "function") != "function":
        raise BadInput(
            f"tools[{index}] is of type {tool['type']!r}: a local model calls functions only"
        )
    try:
        return convert_to_openai_tool(dict(tool) if isinstance(tool, Mapping) else tool)
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(f"tools[{index}] is no function: {error}") from error


def _choice(choice: Any, tools: Sequence[dict[str, Any]]) -> str | None:
    if isinstance(choice, Mapping):
        choice = choice.get("name") or (choice.get("function") or {}).get("name") or ""
    if choice is None or choice in ("auto", "none"):
        return None if choice is None else str(choice)
    names = list(argument_schemas(tools))
    if choice == "required" and names:
        return str(choice)
    if choice not in names:
        offered = ", ".join(names) or "none"
        raise BadInput(f"tool_choice {choice!r}: no such tool is offered (offered: {offered})")
    return str(choice)


def _documented(choice: str | None) -> str | dict[str, str]:
    if choice is None or choice in _CHOICES:
        return choice or "auto"
    return {"type": "function", "name": choice}


def _format(wanted: Any) -> tuple[str, Schema | None]:
    """The name and the schema that an answer must obey."""
    if isinstance(wanted, dict):
        match wanted.get("type"):
            case "text":
                return "", None
            case "json_object":
                return "answer", {"type": "object"}
            case "json_schema":
                inner = wanted.get("json_schema") or wanted
                if not isinstance(inner.get("schema"), dict):
                    raise BadInput("text_format of type json_schema needs 'schema', an object")
                return str(inner.get("name") or "answer"), inner["schema"]
    if wanted is None:
        return "", None
    if not isinstance(wanted, dict | type):
        raise BadInput(f"text_format {wanted!r} is neither a class nor a schema")
    return getattr(wanted, "__name__", "answer"), wanted


def _described(name: str, schema: dict[str, Any] | None) -> dict[str, Any]:
    if schema is None:
        return {"type": "text"}
    return {"type": "json_schema", "name": name, "schema": schema, "strict": True}


def _positive(name: str, value: float | None) -> float | None:
    if value is not None and not value > 0:
        raise BadInput(f"{name} is {value!r}; it must be more than 0")
    return value


def _texts(metadata: Mapping[str, str] | None) -> dict[str, str]:
    given = dict(metadata or {})
    if not all(isinstance(part, str) for pair in given.items() for part in pair):
        raise BadInput("metadata holds texts by name")
    return given
