"""A tool call that is demanded, from runners that take ``tool_choice`` and do not mind it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import ToolMessage

from rolecall.models.calls import CallRecord
from rolecall.models.scripted import Request, ScriptedReply, ScriptedRunner
from rolecall.models.wire import CallOptions

QUESTION = [("user", "hi")]
WORDS = "Hello! How can I help you?"


def in_words(request: Request) -> ScriptedReply | str:
    """Obeys schemas and knows no tools."""
    if request.schema is None or request.body.get("tools"):
        return WORDS
    wanted = (request.schema.get("anyOf") or [request.schema])[0]["properties"]["name"]["enum"][0]
    return json.dumps({"name": wanted, "arguments": {"place": "Zürich"}}, ensure_ascii=False)


@pytest.mark.parametrize("choice", ["required", "weather"])
async def test_words_are_asked_for_again_as_a_call(
    runner: ScriptedRunner, opened: Any, tools: Any, choice: str
) -> None:
    runner.default = in_words
    records: list[CallRecord] = []
    options = CallOptions(tools=tools, tool_choice=choice)
    async with opened(runner) as client:
        reply = await client.achat("coding", QUESTION, options=options, on_call=records.append)
        chunks = [chunk async for chunk in client.astream("coding", QUESTION, options=options)]
    assert [(c["name"], c["args"]) for c in reply.tool_calls] == [("weather", {"place": "Zürich"})]
    assert reply.text == ""
    assert reply.tool_calls[0]["id"]
    assert reply.response_metadata["finish_reason"] == "tool_calls"
    assert reply.response_metadata["call_as_answer"] is True
    assert reply.usage_metadata is not None
    assert [record.status for record in records] == ["ok", "ok"]
    assert "".join(chunk.text for chunk in chunks) == ""
    assert chunks[-1].chunk_position == "last"
    assert chunks[-1].tool_call_chunks[0]["name"] == "weather"


async def test_a_call_that_is_made_at_once_is_not_asked_for_again(
    runner: ScriptedRunner, opened: Any, tools: Any
) -> None:
    runner.default = ScriptedReply(tool_calls=[{"name": "clock", "args": {}}])
    async with opened(runner) as client:
        options = CallOptions(tools=tools, tool_choice="required")
        reply = await client.achat("coding", QUESTION, options=options)
    assert [call["name"] for call in reply.tool_calls] == ["clock"]
    assert len(runner.calls) == 1


async def test_a_call_of_another_tool_than_the_demanded_one_does_not_do(
    runner: ScriptedRunner, opened: Any, tools: Any
) -> None:
    runner.enqueue(ScriptedReply(tool_calls=[{"name": "clock", "args": {}}]))
    runner.default = in_words
    async with opened(runner) as client:
        options = CallOptions(tools=tools, tool_choice="weather")
        reply = await client.achat("coding", QUESTION, options=options)
    assert [call["name"] for call in reply.tool_calls] == ["weather"]


async def test_a_runner_that_gives_no_call_at_all_is_not_asked_a_third_time(
    runner: ScriptedRunner, opened: Any, tools: Any
) -> None:
    runner.default = WORDS
    async with opened(runner) as client:
        options = CallOptions(tools=tools, tool_choice="required")
        reply = await client.achat("coding", QUESTION, options=options)
    assert (reply.text, reply.tool_calls) == (WORDS, [])
    assert len(runner.calls) == 2


@pytest.mark.parametrize("choice", [None, "auto", "none"])
async def test_words_will_do_where_no_call_is_demanded(
    runner: ScriptedRunner, opened: Any, tools: Any, choice: str | None
) -> None:
    runner.default = in_words
    async with opened(runner) as client:
        options = CallOptions(tools=tools, tool_choice=choice)
        assert (await client.achat("coding", QUESTION, options=options)).text == WORDS
    assert len(runner.calls) == 1


async def test_after_a_tools_result_the_demand_stands_in_a_message_of_its_own(
    runner: ScriptedRunner, opened: Any, tools: Any
) -> None:
    runner.enqueue(ScriptedReply(tool_calls=[{"name": "clock", "args": {}}]))
    runner.default = in_words
    async with opened(runner) as client:
        first = await client.achat("coding", QUESTION, options=CallOptions(tools=tools))
        heard = ToolMessage("12:00", tool_call_id=first.tool_calls[0]["id"])
        options = CallOptions(tools=tools, tool_choice="weather")
        asked = [("user", "hi"), first, heard]
        reply = await client.achat("coding", asked, options=options)
    assert [call["name"] for call in reply.tool_calls] == ["weather"]
    assert [message["role"] for message in runner.calls[-1].messages] == ["user"]
