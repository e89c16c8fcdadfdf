"""What is particular to Ollama's native API."""

from __future__ import annotations

from typing import Any

import pytest

from rolecall.models.scripted import ScriptedRunner, Verbatim
from rolecall.models.wire import CallOptions

pytestmark = pytest.mark.parametrize("wire", ["ollama"], indirect=True)


async def test_a_schema_is_sent_as_the_format(
    runner: ScriptedRunner, opened: Any, schema: Any
) -> None:
    runner.enqueue('{"ok": true}')
    async with opened(runner) as client:
        await client.achat("coding", [("user", "hello")], options=CallOptions(schema=schema))
    assert runner.calls[0].body["format"] == {**schema, "additionalProperties": False}


def test_sampling_arrives_under_the_names_that_the_runner_knows(sampled: Any) -> None:
    first, second = sampled
    assert first["options"] == {
        "temperature": 0.3,
        "top_p": 0.9,
        "num_predict": 77,
        "num_ctx": 4096,
        "seed": 5,
        "stop": ["END"],
    }
    later = second["options"]
    assert (later["num_predict"], later["temperature"], later["stop"]) == (9, 0.0, ["X"])
    assert [body.get("think") for body in sampled] == [None, None]


async def test_arguments_written_as_a_json_text_are_read(
    runner: ScriptedRunner, opened: Any
) -> None:
    call = {"function": {"name": "weather", "arguments": '{"city": "Lima"}'}}
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    runner.enqueue(
        Verbatim(
            content_type="application/x-ndjson",
            events=[
                {"message": {"role": "assistant", "content": "", "tool_calls": [call]}},
                {"message": {"role": "assistant"}, "done": True, "done_reason": "stop"},
            ],
        )
    )
    async with opened(runner) as client:
        reply = await client.achat(
            "coding", [("user", "weather in Lima?")], options=CallOptions(tools=[tool])
        )
    assert [(made["name"], made["args"]) for made in reply.tool_calls] == [
        ("weather", {"city": "Lima"})
    ]
