"""A tool call that the caller demands (``tool_choice``), also from runners that do not force one.

llama.cpp takes ``tool_choice: required`` and still lets some models answer in words. What every
runner can be made to give is JSON of a schema, so the second time the call itself is the answer.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, NamedTuple

from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.tool import tool_call_chunk

from rolecall.models.attempts import Call
from rolecall.models.native_calls import new_id
from rolecall.models.text.loose_json import read_value
from rolecall.models.tool_check import without_tools
from rolecall.models.wire import CallOptions

Chunks = AsyncGenerator[AIMessageChunk, None]


class _Said(NamedTuple):
    """A reply that has ended: what was shown of it, and its last chunk."""

    chunks: list[AIMessageChunk]
    names: list[str]


def demands_call(options: CallOptions) -> bool:
    """Whether the caller wants a tool call and nothing else."""
    return bool(options.tools) and options.tool_choice not in {None, "auto", "none"}


def as_answer(call: Call) -> Call:
    """The same call with the tool call as its answer: an object under a schema, no tools."""
    functions = _wanted(call.options)
    return replace(
        call,
        messages=_with_demand(without_tools(call.messages), functions),
        options=replace(call.options, tools=(), tool_choice=None, schema=_schema(functions)),
    )


async def demanded(options: CallOptions, first: Chunks, second: Callable[[], Chunks]) -> Chunks:
    """The first reply if it makes a call that is wanted, else the second's answer as a call.

    Nothing is passed on before a reply has ended: words are not what was asked for. When the
    second gives no call either, the first reply stands as it is.

    Args:
        second: begins a reply to :func:`as_answer`.

    Raises:
        RolecallError: as the replies.
    """
    wanted = {str(function["name"]) for function in _wanted(options)}
    said = await _all(first)
    if not wanted.intersection(said.names):
        again = await _all(second())
        if (call := _call_in(again, wanted)) is not None:
            said = _Said([call], [])
    for chunk in said.chunks:
        yield chunk


async def _all(chunks: Chunks) -> _Said:
    async with aclosing(chunks):
        said = [chunk async for chunk in chunks]
    return _Said(said, [call["name"] or "" for chunk in said for call in chunk.tool_call_chunks])


def _call_in(said: _Said, wanted: set[str]) -> AIMessageChunk | None:
    """The last chunk of a reply with its text as a call; ``None`` when that is none."""
    text = "".join(chunk.text for chunk in said.chunks)
    found = read_value(text.strip())
    answer = found[0] if found is not None else None
    if not isinstance(answer, dict) or answer.get("name") not in wanted:
        return None
    last = said.chunks[-1]
    arguments = answer.get("arguments")
    call = tool_call_chunk(
        name=str(answer["name"]),
        args=json.dumps(arguments if isinstance(arguments, dict) else {}, ensure_ascii=False),
        id=new_id(),
        index=0,
    )
    metadata = {**last.response_metadata, "finish_reason": "tool_calls", "call_as_answer": True}
    return AIMessageChunk(
        content="",
        tool_call_chunks=[call],
        usage_metadata=last.usage_metadata,
        response_metadata=metadata,
        chunk_position="last",
    )


def _wanted(options: CallOptions) -> list[Mapping[str, Any]]:
    functions = [tool.get("function", tool) for tool in options.tools]
    named = [function for function in functions if function.get("name") == options.tool_choice]
    return named or functions


def _schema(functions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    calls = [
        {
            "type": "object",
            "properties": {
                "name": {"type": "string", "enum": [function["name"]]},
                "arguments": function.get("parameters") or {"type": "object"},
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for function in functions
    ]
    return calls[0] if len(calls) == 1 else {"anyOf": calls}


def _with_demand(
    messages: list[BaseMessage], functions: Sequence[Mapping[str, Any]]
) -> list[BaseMessage]:
    offered = "\n".join(json.dumps(function, ensure_ascii=False) for function in functions)
    demand = (
        "Call one of these functions. Reply with nothing but a JSON object with its name and "
        f'its arguments: {{"name": …, "arguments": {{…}}}}\n{offered}'
    )
    last = messages[-1] if messages else None
    if isinstance(last, HumanMessage) and isinstance(last.content, str):
        # in the same message: some chat templates refuse two of the user's in a row
        said = last.model_copy(update={"content": f"{last.content}\n\n{demand}"})
        return [*messages[:-1], said]
    return [*messages, HumanMessage(demand)]
