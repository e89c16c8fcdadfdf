"""What is particular to Responses."""

from __future__ import annotations

from typing import Any

import pytest

from rolecall.models.scripted import ScriptedReply, ScriptedRunner
from rolecall.models.wire import CallOptions

pytestmark = pytest.mark.parametrize("wire", ["responses"], indirect=True)


async def test_reasoning_may_come_as_a_summary(reasoning_kept_apart: Any) -> None:
    reply = ScriptedReply("Four.", reasoning="two and two", reasoning_summary=True)
    await reasoning_kept_apart(reply)


async def test_a_schema_is_sent_as_a_strict_text_format(
    runner: ScriptedRunner, opened: Any, schema: Any
) -> None:
    runner.enqueue('{"ok": true}')
    async with opened(runner) as client:
        await client.achat("coding", [("user", "hello")], options=CallOptions(schema=schema))
    form = runner.calls[0].body["text"]["format"]
    assert form["type"] == "json_schema"
    assert form["strict"] is True


def test_sampling_arrives_under_the_names_that_the_runner_knows(sampled: Any) -> None:
    first, second = sampled
    expected = {
        "temperature": 0.3,
        "top_p": 0.9,
        "max_output_tokens": 77,
        "seed": 5,
        "stop": ["END"],
    }
    assert {key: first.get(key) for key in expected} == expected
    assert (second["max_output_tokens"], second["temperature"], second["stop"]) == (9, 0.0, ["X"])
    for body in sampled:
        assert body.get("store", False) is False
        assert "max_tokens" not in body
