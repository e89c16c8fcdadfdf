"""What is particular to chat completions, and what a client does over any API, shown on it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rolecall.models.calls import CallRecord
from rolecall.models.scripted import ScriptedReply, ScriptedRunner
from rolecall.models.wire import CallOptions

pytestmark = pytest.mark.parametrize("wire", ["chat_completions"], indirect=True)

QUESTION = [("user", "hello")]


async def test_reasoning_may_come_in_the_field_reasoning(reasoning_kept_apart: Any) -> None:
    reply = ScriptedReply("Four.", reasoning="two and two", reasoning_field="reasoning")
    await reasoning_kept_apart(reply)


async def test_a_schema_is_sent_as_a_strict_response_format(
    runner: ScriptedRunner, opened: Any, schema: Any
) -> None:
    runner.enqueue('{"ok": true}')
    async with opened(runner) as client:
        await client.achat("coding", QUESTION, options=CallOptions(schema=schema))
    form = runner.calls[0].body["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["strict"] is True


def test_sampling_arrives_under_the_names_that_the_runner_knows(sampled: Any) -> None:
    first, second = sampled
    expected = {"temperature": 0.3, "top_p": 0.9, "max_tokens": 77, "seed": 5, "stop": ["END"]}
    assert {key: first.get(key) for key in expected} == expected
    assert (second["max_tokens"], second["temperature"], second["stop"]) == (9, 0.0, ["X"])
    assert not any("max_completion_tokens" in body for body in sampled)


async def test_one_function_can_be_demanded(
    runner: ScriptedRunner, opened: Any, tools: Any
) -> None:
    async with opened(runner) as client:
        for choice in ("weather", "required"):
            options = CallOptions(tools=tools, tool_choice=choice)
            await client.achat("coding", QUESTION, options=options)
    asked = [request.body for request in runner.calls]
    named, required = (body["tool_choice"] for body in asked if "tools" in body)
    assert named == {"type": "function", "function": {"name": "weather"}}
    assert required == "required"


async def test_the_name_that_the_runner_lists_is_the_name_it_is_called_by(opened: Any) -> None:
    with ScriptedRunner(models=["lab/Tiny-Q4_K_M.gguf"]) as runner:
        records: list[CallRecord] = []
        async with opened(runner) as client:
            await client.achat("coding", QUESTION, on_call=records.append)
    assert runner.calls[0].model == "lab/Tiny-Q4_K_M.gguf"
    assert records[0].model == "tiny"


async def test_max_concurrency_bounds_the_calls_at_a_time(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.default = ScriptedReply("ok", delay_s=0.05)
    async with opened(runner, max_concurrency=2) as client:
        await asyncio.gather(*(client.achat("coding", QUESTION) for _ in range(6)))
    assert runner.most_at_once == 2


async def test_the_same_id_at_two_endpoints_shares_the_load(
    runner: ScriptedRunner, client_of: Any, spec_of: Any
) -> None:
    with ScriptedRunner() as other:
        runner.default = other.default = ScriptedReply("ok", delay_s=0.1)
        client = client_of(spec_of(runner), spec_of(other))
        await asyncio.gather(*(client.achat("coding", QUESTION) for _ in range(4)))
        await client.aclose()
        assert (len(runner.calls), len(other.calls)) == (2, 2)
