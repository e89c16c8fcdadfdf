"""A call that was not meant is taken out, and the same model is asked once more without tools."""

from __future__ import annotations

from typing import Any

import pytest

from rolecall.models.calls import CallRecord
from rolecall.models.reply import final
from rolecall.models.scripted import ScriptedReply, ScriptedRunner
from rolecall.models.wire import CallOptions

OSLO = '```json\n{"name": "weather", "arguments": {"place": "Oslo"}}\n```'
MARKED = f"<tool_call>\n{OSLO[8:-4]}\n</tool_call>"
HELLO = '{"name": "hello", "arguments": {"to": "you"}}'


async def streamed(client: Any, question: str, tools: Any, **more: Any) -> Any:
    options = CallOptions(tools=tools)
    stream = client.astream("coding", [("user", question)], options=options, **more)
    chunks = [chunk async for chunk in stream]
    return "".join(chunk.text for chunk in chunks), final(chunks)


@pytest.mark.parametrize("made_up", [OSLO, HELLO])
async def test_a_made_up_call_becomes_an_answer(
    runner: ScriptedRunner, opened: Any, tools: Any, made_up: str
) -> None:
    runner.enqueue(ScriptedReply(made_up), ScriptedReply("Good morning!"))
    records: list[CallRecord] = []
    async with opened(runner, tool_check="auto") as client:
        shown, reply = await streamed(client, "Good morning!", tools, on_call=records.append)
    assert shown == reply.text == "Good morning!"
    assert reply.tool_calls == []
    assert reply.response_metadata["finish_reason"] == "stop"
    assert len(reply.response_metadata["calls_not_meant"]) == 1
    assert [(record.attempt, record.status) for record in records] == [(1, "ok"), (2, "ok")]
    assert [bool(request.body.get("tools")) for request in runner.calls] == [True, False]


async def test_the_model_is_asked_once_more_and_not_twice(
    runner: ScriptedRunner, opened: Any, tools: Any
) -> None:
    runner.default = ScriptedReply(HELLO)
    async with opened(runner, tool_check="auto") as client:
        shown, reply = await streamed(client, "Good morning!", tools)
    assert shown == HELLO
    assert reply.tool_calls == []
    assert len(runner.calls) == 2


async def test_a_tool_that_nobody_offered_gives_way_to_the_one_that_was_asked_for(
    runner: ScriptedRunner, opened: Any, tools: Any
) -> None:
    runner.enqueue(ScriptedReply(HELLO.replace("hello", "oslo_weather")), ScriptedReply(OSLO))
    async with opened(runner, tool_check="auto") as client:
        shown, reply = await streamed(client, "How is the weather in Oslo?", tools)
    assert shown == ""
    assert [call["name"] for call in reply.tool_calls] == ["weather"]
    assert [len(request.body.get("tools") or ()) for request in runner.calls] == [2, 1]


async def test_a_call_of_the_wrong_tool_gives_way_to_the_one_that_is_nearer(
    runner: ScriptedRunner, opened: Any
) -> None:
    amount = {"type": "object", "properties": {"amount": {"type": "number"}}}
    functions = [
        {"name": "price_alert", "description": "Tell when a share passes a price"},
        {"name": "convert_currency", "description": "Convert money into another currency"},
    ]
    tools = tuple({"type": "function", "function": f | {"parameters": amount}} for f in functions)
    wrong = '{"name": "price_alert", "arguments": {"amount": 250}}'
    right = wrong.replace("price_alert", "convert_currency")
    runner.enqueue(ScriptedReply(wrong), ScriptedReply(right))
    async with opened(runner, tool_check="auto") as client:
        _, reply = await streamed(client, "How much is 250 USD in EUR?", tools)
    assert [call["name"] for call in reply.tool_calls] == ["convert_currency"]
    assert "nearer" in reply.response_metadata["calls_not_meant"][0]["why"]
    assert [len(request.body.get("tools") or ()) for request in runner.calls] == [2, 1]


async def test_a_call_that_was_asked_for_is_made(
    runner: ScriptedRunner, opened: Any, tools: Any
) -> None:
    runner.default = ScriptedReply(OSLO)
    async with opened(runner, tool_check="always") as client:
        shown, reply = await streamed(client, "How is the weather in Oslo?", tools)
    assert shown == ""
    assert [call["args"] for call in reply.tool_calls] == [{"place": "Oslo"}]
    assert "calls_not_meant" not in reply.response_metadata
    assert len(runner.calls) == 1


async def test_only_the_call_that_was_not_meant_is_taken_out(
    runner: ScriptedRunner, opened: Any, tools: Any
) -> None:
    both = OSLO + "\n" + OSLO.replace("weather", "unheard_of").replace("json", "tool_call")
    marked = both.replace("```tool_call", "<tool_call>").removesuffix("```") + "</tool_call>"
    runner.default = ScriptedReply(marked)
    async with opened(runner, tool_check="always") as client:
        _, reply = await streamed(client, "How is the weather in Oslo?", tools)
    assert [call["name"] for call in reply.tool_calls] == ["weather"]
    assert [call["name"] for call in reply.response_metadata["calls_not_meant"]] == ["unheard_of"]
    assert len(runner.calls) == 1


@pytest.mark.parametrize(
    ("reply", "setting"),
    [
        (ScriptedReply(OSLO), "never"),
        (ScriptedReply(MARKED), "auto"),
        (ScriptedReply(tool_calls=[{"name": "weather", "args": {"place": "Oslo"}}]), "auto"),
    ],
)
async def test_who_keeps_to_a_call_format_is_believed(
    runner: ScriptedRunner, opened: Any, tools: Any, reply: ScriptedReply, setting: str
) -> None:
    runner.default = reply
    async with opened(runner, tool_check=setting) as client:
        _, found = await streamed(client, "Good morning!", tools)
    assert [call["name"] for call in found.tool_calls] == ["weather"]


async def test_text_that_was_shown_before_the_call_stays(
    runner: ScriptedRunner, opened: Any, tools: Any
) -> None:
    runner.enqueue(ScriptedReply(f"Let me see.\n{OSLO}"), ScriptedReply("Good morning!"))
    async with opened(runner, tool_check="auto") as client:
        shown, reply = await streamed(client, "Good morning!", tools)
    assert shown == reply.text
    assert shown.split() == ["Let", "me", "see.", "Good", "morning!"]


async def test_arguments_come_in_the_types_of_the_schema(
    runner: ScriptedRunner, opened: Any
) -> None:
    properties = {"minutes": {"type": "integer"}, "loud": {"type": "boolean"}}
    timer = {"name": "timer", "parameters": {"type": "object", "properties": properties}}
    args = {"minutes": "8", "loud": "true"}
    runner.default = ScriptedReply(tool_calls=[{"name": "timer", "args": args}])
    async with opened(runner) as client:
        options = CallOptions(tools=({"type": "function", "function": timer},))
        reply = await client.achat("coding", [("user", "8 minutes")], options=options)
    assert reply.tool_calls[0]["args"] == {"minutes": 8, "loud": True}
