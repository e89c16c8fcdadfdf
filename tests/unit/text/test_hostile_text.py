"""Text made to be slow: every piece of the reply's path costs what its length costs."""

from __future__ import annotations

import time
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from rolecall.models.native_calls import NativeCalls
from rolecall.models.reply import ReplyBuilder, final
from rolecall.models.text.redaction import Redactor
from rolecall.models.text.tool_calls import parse_tool_calls

TOOLS: dict[str, Any] = {
    "weather": {"properties": {"place": {"type": "string"}}, "required": ["place"]},
    "clock": {"properties": {}},
}
LENGTH = 50_000
STEP = 9
CPU_S = 3.0  # linear code takes about 0.3 s; what grows with the square took 2 s to minutes

UNITS = {
    "openers": "<tool_call>{",
    "glm": "<arg_key>a</arg_key><arg_value>",
    "parameters": "<function=weather><parameter=a>",
    "calls": '[TOOL_CALLS]weather{"place":"x"}',
    "harmony": "<|start|>assistant to=functions.weather<|channel|>commentary json<|message|>{",
    "closers": "x </think> y\n",
    "brackets": "[",
    "fences": "```json\n{",
    "keys": "sk-",
    "slack": "xoxb-",
    "jwt": "eyJ",
    "password": "password = ",
}
LONGER = {UNITS["glm"], UNITS["closers"]}  # slow only when they are long


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS.keys())
def test_hostile_text_costs_no_more_than_its_length(unit: str) -> None:
    text = "<tool_call>weather\n" if unit.startswith("<arg_key>") else ""
    length = LENGTH * (3 if unit in LONGER else 1)
    text += unit * (length // len(unit))
    builder = ReplyBuilder(TOOLS, Redactor())
    builder.finish_reason = "stop"
    chunks = []
    started = time.process_time()
    for at in range(0, len(text), STEP):
        message = AIMessageChunk(content=text[at : at + STEP])
        chunks += builder.feed(ChatGenerationChunk(message=message))
    final(chunks + builder.close())
    assert time.process_time() - started < CPU_S


def test_native_arguments_in_many_pieces_that_repeat_the_name() -> None:
    calls = NativeCalls()
    started = time.process_time()
    for piece in ['{"place": "', *["x" * STEP] * (4 * LENGTH // STEP), '"}']:
        calls.feed(tool_call_chunk(name="weather", args=piece, id="a", index=0))
    assert time.process_time() - started < CPU_S
    assert len(calls.close()) == 1


def test_a_token_in_pieces_is_blotted_out_however_long_it_is() -> None:
    for length in (20, 63, 64, 65, 127, 128, 129, 300, 1000, 5000):
        text = f"use sk-{'a1' * (length // 2)} now"
        stream = Redactor().stream()
        shown = "".join(stream.feed(char) for char in text) + stream.close()
        assert shown == Redactor().redact(text) == "use [redacted] now"


def test_half_an_argument_is_no_argument() -> None:
    calls = NativeCalls()
    calls.feed(tool_call_chunk(name="delete", args='{"path": "/home/me/', id="a", index=0))
    message = AIMessageChunk(content="", tool_call_chunks=calls.close(), chunk_position="last")
    assert message.tool_calls == []
    assert [call["name"] for call in message.invalid_tool_calls] == ["delete"]


@pytest.mark.parametrize(
    "text",
    [
        '```tool_code\nprint(weather(place="Oslo"))\n```',
        '```tool_code\nprint(default_api.weather(place="Oslo"))\n```',
        '<|tool_call|>[{"name": "weather", "arguments": {"place": "Oslo"}}]',
        '<|tool_call|>[{"name": "weather", "arguments": {"place": "Oslo"}}]<|/tool_call|>',
        '<|tool_call_start|>[weather(place="Oslo")]<|tool_call_end|>',
        '<|START_ACTION|>[{"tool_name": "weather", "parameters": {"place": "Oslo"}}]<|END_ACTION|>',
    ],
    ids=["gemma", "gemma-module", "granite", "phi-4-mini", "lfm2", "command-r"],
)
def test_further_templates_are_read(text: str) -> None:
    parsed = parse_tool_calls(text, TOOLS)
    assert [(call.name, call.arguments) for call in parsed.calls] == [
        ("weather", {"place": "Oslo"})
    ]
    assert parsed.text == ""


def test_a_fence_that_prints_something_else_is_no_call() -> None:
    text = "```tool_code\nprint(weather)\n```"
    assert parse_tool_calls(text, TOOLS).calls == []
