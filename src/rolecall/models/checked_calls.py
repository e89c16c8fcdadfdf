"""A candidate's reply without the tool calls that were not meant."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace

from langchain_core.messages import AIMessageChunk

from rolecall.models.attempts import Call, Candidate, attempt
from rolecall.models.pool import ModelPool
from rolecall.models.tool_check import (
    NotMeant,
    ToolCheck,
    function_of,
    noted,
    wants_check,
    without,
    without_tools,
)


async def checked_attempt(
    pool: ModelPool,
    check: ToolCheck,
    call: Call,
    candidate: Candidate,
    number: int,
    one_more: Callable[[], int],
) -> AsyncGenerator[AIMessageChunk, None]:
    """Ask one model, and once more with other tools when none of the calls it makes is meant.

    Text passes as it comes; calls stand in the last chunk of a reply, so they can still be taken
    out. What was taken out stands in that chunk's ``response_metadata["calls_not_meant"]``.

    Args:
        number: of this attempt.
        one_more: counts the second one, and gives its number.

    Raises:
        RolecallError: as :func:`attempt`.
    """
    refused: dict[int, NotMeant] = {}
    spoke = False
    async with aclosing(attempt(pool, call, candidate, number)) as chunks:
        async for chunk in chunks:
            if chunk.tool_call_chunks and await _is_wanted(pool, candidate, chunk):
                refused = await check.not_meant(call.messages, call.options, chunk)
                if refused and len(refused) == len(chunk.tool_call_chunks):
                    continue  # to its end, so that the attempt is recorded as it was
                chunk = without(chunk, refused) if refused else chunk
                refused = {}
            spoke = spoke or bool(chunk.text.strip())
            yield chunk
    if not refused:
        return
    asked = await _other_call(check, call, refused)
    async with aclosing(attempt(pool, asked, candidate, one_more())) as chunks:
        async for chunk in chunks:
            if spoke and chunk.text:
                spoke = False
                yield AIMessageChunk(content="\n\n")
            if chunk.chunk_position == "last":
                chunk.response_metadata |= noted(refused)
            yield chunk


async def _other_call(check: ToolCheck, call: Call, refused: Mapping[int, NotMeant]) -> Call:
    """What the model is asked instead."""
    tool = await check.wanted(call.messages, call.options)
    if tool is not None and function_of(tool)["name"] not in {n.name for n in refused.values()}:
        return replace(call, options=replace(call.options, tools=(tool,)))
    bare = replace(call.options, tools=(), tool_choice=None)
    return replace(call, messages=without_tools(call.messages), options=bare)


async def _is_wanted(pool: ModelPool, candidate: Candidate, last: AIMessageChunk) -> bool:
    seen = (await pool.wire(candidate.spec)).capability
    return wants_check(
        candidate.spec,
        None if seen is None else seen.makes_up_calls,
        unmarked=last.response_metadata.get("calls_as_text") == "plain",
    )
