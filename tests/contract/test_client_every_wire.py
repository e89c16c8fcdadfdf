"""The Local LLM Client: what holds over each of the three wire APIs."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage

from rolecall.errors import NoModelReachable
from rolecall.models.calls import CallRecord
from rolecall.models.scripted import Fault, ScriptedReply, ScriptedRunner
from rolecall.models.wire import CallOptions

QUESTION = [("user", "hello")]


async def eventually(happened: Callable[[], bool]) -> bool:
    end = time.monotonic() + 3
    while not happened() and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return happened()


def called(message: AIMessage) -> list[tuple[str, dict[str, Any]]]:
    return [(call["name"], call["args"]) for call in message.tool_calls]


async def test_text_streams_word_by_word_and_comes_whole(
    runner: ScriptedRunner, wire: Any, opened: Any
) -> None:
    runner.default = ScriptedReply("one two three")
    async with opened(runner) as client:
        parts = [chunk.text async for chunk in client.astream("coding", QUESTION)]
        whole = await client.achat("coding", QUESTION)
    assert parts == ["one", " two", " three", ""]
    assert whole.text == "one two three"
    assert [type(block) for block in whole.content_blocks] == [dict]
    assert {request.path for request in runner.calls} == {wire.path}


def test_the_synchronous_calls_give_the_same(
    runner: ScriptedRunner, wire: Any, client_of: Any, spec_of: Any
) -> None:
    runner.default = ScriptedReply("one two")
    client = client_of(spec_of(runner, api=wire.api))
    assert client.chat("coding", QUESTION).text == "one two"
    assert "".join(chunk.text for chunk in client.stream("coding", QUESTION)) == "one two"
    client.close()


@pytest.mark.parametrize(
    "reply",
    [
        ScriptedReply("Four.", reasoning="two and two"),
        ScriptedReply("<think>two and two</think>Four."),
    ],
    ids=["field", "tags"],
)
async def test_reasoning_is_kept_apart_from_text_and_out_of_history(
    reasoning_kept_apart: Any, reply: ScriptedReply
) -> None:
    await reasoning_kept_apart(reply)


async def test_reasoning_blocks_of_foreign_messages_are_not_sent(
    runner: ScriptedRunner, opened: Any
) -> None:
    old = AIMessage(
        [{"type": "reasoning", "reasoning": "secret thought"}, {"type": "text", "text": "Four."}]
    )
    async with opened(runner) as client:
        await client.achat("coding", [("user", "2+2?"), old, ("user", "sure?")])
    sent = json.dumps(runner.calls[-1].body)
    assert "Four." in sent
    assert "secret thought" not in sent


async def test_several_native_tool_calls_arrive_with_ids_of_their_own(
    runner: ScriptedRunner, wire: Any, opened: Any, tools: Any
) -> None:
    calls: list[dict[str, Any]] = [
        {"name": "weather", "args": {"place": "Oslo"}, "id": "same"},
        {"name": "weather", "args": {"place": "Rome"}, "id": "same"},
        {"name": "clock", "args": {}},
    ]
    runner.enqueue(ScriptedReply(tool_calls=calls))
    async with opened(runner) as client:
        message = await client.achat("coding", QUESTION, options=CallOptions(tools=tools))
    assert called(message) == [
        ("weather", {"place": "Oslo"}),
        ("weather", {"place": "Rome"}),
        ("clock", {}),
    ]
    ids = [call["id"] for call in message.tool_calls]
    assert len(set(ids)) == 3
    assert all(ids)
    assert message.response_metadata["finish_reason"] == "tool_calls"
    assert {wire.name_of(tool) for tool in runner.calls[0].body["tools"]} == {"weather", "clock"}


async def test_results_of_tools_go_back_beside_their_calls(
    runner: ScriptedRunner, opened: Any, tools: Any
) -> None:
    runner.enqueue(ScriptedReply(tool_calls=[{"name": "clock", "args": {}}]), "It is noon.")
    async with opened(runner) as client:
        asked = await client.achat("coding", QUESTION, options=CallOptions(tools=tools))
        result = ToolMessage("12:00", tool_call_id=asked.tool_calls[0]["id"])
        done = await client.achat("coding", [("user", "time?"), asked, result])
    assert done.text == "It is noon."
    sent = json.dumps(runner.calls[-1].body)
    assert "12:00" in sent
    assert "clock" in sent


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"name": "weather", "arguments": {"place": "Oslo"}}\n```',
        '{"name": "weather", "arguments": {"place": "Oslo"}}',
        '<tool_call>\n{"name": "weather", "arguments": {"place": "Oslo"}}\n</tool_call>',
        '<name>weather</name>\n<arguments>{"place": "Oslo"}</arguments>',
    ],
)
async def test_a_tool_call_written_as_text_becomes_one_and_is_not_shown(
    runner: ScriptedRunner, text: str, opened: Any, tools: Any
) -> None:
    runner.default = ScriptedReply(text)
    options = CallOptions(tools=tools)
    async with opened(runner) as client:
        chunks = [chunk async for chunk in client.astream("coding", QUESTION, options=options)]
        message = await client.achat("coding", QUESTION, options=options)
    assert "".join(chunk.text for chunk in chunks) == ""
    assert called(message) == [("weather", {"place": "Oslo"})]
    assert message.tool_calls[0]["id"]


async def test_usage_and_the_finish_reason_length(runner: ScriptedRunner, opened: Any) -> None:
    runner.enqueue(ScriptedReply("cut", finish_reason="length", usage=(11, 7)))
    async with opened(runner) as client:
        message = await client.achat("coding", QUESTION)
    assert message.usage_metadata is not None
    assert message.usage_metadata["input_tokens"] == 11
    assert message.usage_metadata["output_tokens"] == 7
    assert message.response_metadata["finish_reason"] == "length"
    assert message.response_metadata["model_name"] == "tiny"


async def test_an_answer_of_a_schema_is_asked_for(
    runner: ScriptedRunner, opened: Any, schema: Any
) -> None:
    runner.enqueue('{"ok": true}')
    async with opened(runner) as client:
        message = await client.achat("coding", QUESTION, options=CallOptions(schema=schema))
    assert message.text == '{"ok": true}'
    assert runner.calls[0].schema == schema | {"additionalProperties": False}


async def test_label_logprobs_are_those_of_the_first_token(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.enqueue(ScriptedReply("A", logprobs={"A": -0.1, " B": -2.5, "x": -3.0}))
    async with opened(runner) as client:
        scores = await client.label_logprobs("coding", QUESTION, ["A", "B", "C"])
    assert scores == {"A": -0.1, "B": -2.5}


async def test_label_logprobs_are_none_where_the_runner_gives_none(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.enqueue(ScriptedReply("Z", logprobs={"Z": -0.1}))
    async with opened(runner) as client:
        assert await client.label_logprobs("coding", QUESTION, ["A", "B"]) is None


async def test_the_key_of_api_key_env_is_sent_and_no_other(
    runner: ScriptedRunner, monkeypatch: pytest.MonkeyPatch, opened: Any
) -> None:
    monkeypatch.setenv("MY_KEY", "s3cret")
    for name in ("OPENAI_API_KEY", "OLLAMA_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "not-for-this-server")
    async with opened(runner, api_key_env="MY_KEY") as client:
        await client.achat("coding", QUESTION)
    assert {r.headers.get("authorization") for r in runner.requests} == {"Bearer s3cret"}
    async with opened(runner) as client:
        await client.achat("coding", QUESTION)
    assert "not-for-this-server" not in str([request.headers for request in runner.requests])


async def test_proxies_of_the_environment_are_not_used(
    runner: ScriptedRunner, monkeypatch: pytest.MonkeyPatch, opened: Any
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "OPENAI_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with opened(runner) as client:
        assert (await client.achat("coding", QUESTION)).text == "ok"


async def test_redirects_are_not_followed(runner: ScriptedRunner, wire: Any, opened: Any) -> None:
    with ScriptedRunner(dialect=wire.dialect) as elsewhere:
        runner.default = ScriptedReply(fault=Fault("redirect", location=elsewhere.url + wire.path))
        async with opened(runner) as client:
            with pytest.raises(NoModelReachable, match="redirect"):
                await client.achat("coding", QUESTION)
        assert elsewhere.requests == []


async def test_leaving_a_stream_early_ends_the_call_at_the_runner(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.default = ScriptedReply("one two three four five six", chunk_delay_s=0.2)
    records: list[CallRecord] = []
    async with opened(runner) as client:
        stream = client.astream("coding", QUESTION, on_call=records.append)
        async with aclosing(stream):
            async for _ in stream:
                break
        assert [record.status for record in records] == ["cancelled"]
        assert await eventually(lambda: runner.cancelled == 1)


def test_leaving_a_synchronous_stream_early_ends_the_call_too(
    runner: ScriptedRunner, wire: Any, client_of: Any, spec_of: Any
) -> None:
    runner.default = ScriptedReply("one two three four five six", chunk_delay_s=0.2)
    client = client_of(spec_of(runner, api=wire.api))
    for _ in client.stream("coding", QUESTION):
        break
    assert asyncio.run(eventually(lambda: runner.cancelled == 1))
    client.close()
