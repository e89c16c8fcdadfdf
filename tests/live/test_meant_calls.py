"""Qwen2.5-Coder-0.5B with the project's own tools: a greeting is answered, a request calls."""

from __future__ import annotations

from pathlib import Path

import pytest
from langchain_core.utils.function_calling import convert_to_openai_tool

from rolecall import LocalLLMClient, load_stack
from rolecall.models.wire import CallOptions
from rolecall.tools.registry import load_tools

pytestmark = [pytest.mark.live, pytest.mark.enable_socket]


@pytest.fixture
def options(tmp_path: Path) -> CallOptions:
    tools = load_tools(tmp_path, None).values()
    offered = tuple(convert_to_openai_tool(tool) for tool in tools)
    return CallOptions(tools=offered, temperature=0.0, max_tokens=64)


@pytest.mark.parametrize("said", ["hello", "Who wrote Faust?"])
async def test_what_needs_no_tool_is_answered_in_words(
    live_home: Path, options: CallOptions, said: str
) -> None:
    client = LocalLLMClient(load_stack("embedded"))
    reply = await client.achat("reasoning", [("user", said)], options=options)
    await client.aclose()
    assert reply.tool_calls == []
    assert reply.text.strip()
    assert '"arguments"' not in reply.text


async def test_a_calculation_calls_the_calculator(live_home: Path, options: CallOptions) -> None:
    client = LocalLLMClient(load_stack("embedded"))
    question = [("user", "Use a tool: what is 123 * 456?")]
    reply = await client.achat("reasoning", question, options=options)
    await client.aclose()
    assert [call["name"] for call in reply.tool_calls] == ["calculator"]
