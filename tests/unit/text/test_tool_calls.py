"""Calls written as text are found, examples of calls are not, however the reply is cut."""

from __future__ import annotations

import time
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rolecall.models.text.tool_calls import ToolCallGate, parse_tool_calls

TOOLS: dict[str, dict[str, Any]] = {
    "calculator": {"properties": {"expression": {"type": "string"}}, "required": ["expression"]},
    "clock": {"properties": {"zone": {"type": "string"}}},
    "add": {
        "properties": {"a": {"type": "integer"}, "b": {"type": "number"}},
        "required": ["a", "b"],
    },
}
CALC = '{"name": "calculator", "arguments": {"expression": "2+2"}}'
CLOCK = '{"name": "clock", "arguments": {"zone": "UTC"}}'
CALC_CALL = ("calculator", {"expression": "2+2"})
CLOCK_CALL = ("clock", {"zone": "UTC"})
ADD_CALL = ("add", {"a": 1, "b": 2.5})

CALLS = [
    # Hermes and Qwen
    (f"<tool_call>\n{CALC}\n</tool_call>", [CALC_CALL], ""),
    (f"<tool_call>{CALC}", [CALC_CALL], ""),
    (f"<tools>{CALC}</tools>", [CALC_CALL], ""),
    (f"<tool_call>\n{CALC[:-1]}\n</tool_call>", [CALC_CALL], ""),
    (f"<tool_call>{CALC}</tool_call>\n<tool_call>{CLOCK}</tool_call>", [CALC_CALL, CLOCK_CALL], ""),
    (f"Let me see.<tool_call>{CALC}</tool_call>Done.", [CALC_CALL], "Let me see.Done."),
    ('Hm.\n<tool_call>{"name": "nope", "arguments": {}}</tool_call>', [("nope", {})], "Hm."),
    (f"{'Long prose. ' * 50}\n<tool_call>{CALC}</tool_call>", [CALC_CALL],
     ("Long prose. " * 50).strip()),
    ("<tool_call>add\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n<arg_key>b</arg_key>"
     "<arg_value>2.5</arg_value></tool_call>", [ADD_CALL], ""),
    # <name>
    ('<name>weather</name>\n<arguments>{"city": "Bonn"}', [("weather", {"city": "Bonn"})], ""),
    ('<name>weather</name><arguments>{"city": "Bonn"</arguments>', [("weather", {"city": "Bonn"})],
     ""),
    # <function=
    ('<function=add>{"a": 1, "b": 2.5}</function>', [ADD_CALL], ""),
    ("<function=add>\n<parameter=a>\n1\n</parameter>\n<parameter=b>2.5</parameter>\n</function>\n"
     "</tool_call>", [ADD_CALL], ""),
    ("<tool_call>\n<function=calculator>\n<parameter=expression>\n2+2\n</parameter>\n</function>\n"
     "</tool_call>", [CALC_CALL], ""),
    ("<function=clock></function>", [("clock", {})], ""),
    # Mistral, Llama, gpt-oss
    (f"[TOOL_CALLS][{CALC}, {CLOCK}]", [CALC_CALL, CLOCK_CALL], ""),
    ('Sure[TOOL_CALLS]add{"a": 1, "b": 2.5}[TOOL_CALLS]clock[ARGS]{"zone": "UTC"}',
     [ADD_CALL, CLOCK_CALL], "Sure"),
    (f"<|python_tag|>{CALC}<|eom_id|>", [CALC_CALL], ""),
    ('<|python_tag|>search.call(query="x")', [("search", {"query": "x"})], ""),
    ('<|channel|>commentary to=functions.clock <|constrain|>json<|message|>{"zone": "UTC"}'
     "<|call|>", [CLOCK_CALL], ""),
    # fences
    (f"```json\n{CALC}\n```", [CALC_CALL], ""),
    (f"```\n{CALC}\n```", [CALC_CALL], ""),
    (f"```tool_call\n{CALC}", [CALC_CALL], ""),
    (f"```json\n[{CALC},\n{CLOCK}]\n```", [CALC_CALL, CLOCK_CALL], ""),
    (f"```json\n{CALC}\n```\n\n```json\n{CLOCK}\n```", [CALC_CALL, CLOCK_CALL], ""),
    (f"I will compute it:\n```json\n{CALC}\n```\nOne moment.", [CALC_CALL],
     "I will compute it:\nOne moment."),
    (f"```xml\n<tool_call>{CALC}</tool_call>\n```", [CALC_CALL], ""),
    ('```tool_code\ncalculator(expression="2+2")\n```', [CALC_CALL], ""),
    # bare
    (f"{CALC} The result is 4.", [CALC_CALL], "The result is 4."),
    (f"{CALC}\n{CLOCK}", [CALC_CALL, CLOCK_CALL], ""),
    (f"[{CALC}]", [CALC_CALL], ""),
    (f"I will compute it.\n{CALC}", [CALC_CALL], "I will compute it."),
    ('{"name": "clock"}', [("clock", {})], ""),
    ('{"tool": "clock", "args": {"zone": "UTC"}}', [CLOCK_CALL], ""),
    ('{"function": {"name": "clock", "arguments": "{\\"zone\\": \\"UTC\\"}"}}', [CLOCK_CALL], ""),
    ('{"type": "function", "name": "clock", "parameters": {"zone": "UTC"}}', [CLOCK_CALL], ""),
    ('{"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": {}}}',
     [("clock", {})], ""),
    ('{"function": "clock", "input": {"zone": "UTC"}}', [CLOCK_CALL], ""),
    ('{"arguments": {"zone": "UTC"}, "name": "functions.clock"}', [CLOCK_CALL], ""),
    (f'{{"tool_calls": [{CALC}]}}', [CALC_CALL], ""),
    # repaired
    ("{'name': 'add', 'arguments': {'a': 1, 'b': 2.5,},}", [ADD_CALL], ""),
    ("{'name': 'clock', 'arguments': {'zone': None, 'x': True}}",
     [("clock", {"zone": None, "x": True})], ""),
    ('{name: "clock", arguments: {zone: "UTC"}', [CLOCK_CALL], ""),
    ("{'name': 'clock', 'arguments': {'zone': 'it\\'s \"here\"'}}",
     [("clock", {"zone": 'it\'s "here"'})], ""),
    # Python
    ('calculator(expression="2+2")', [CALC_CALL], ""),
    (' [add(a=1, b=2.5), clock("UTC")]\n', [ADD_CALL, CLOCK_CALL], ""),
    # a name that no tool has, and nothing else
    ('{"name": "hello", "arguments": {}}', [("hello", {})], ""),
    ('```json\n{"name": "hello", "arguments": {"to": "you"}}\n```\n', [("hello", {"to": "you"})],
     ""),
    ('[{"name": "hello", "parameters": {}}]', [("hello", {})], ""),
    # duplicates
    (f"{CALC}\n{CALC}", [CALC_CALL], ""),
]  # fmt: skip

TEXTS = [
    "",
    "Plain prose, a < b, [1] and {braces}.",
    f"I would use the calculator with {CALC}.",
    f"Write `<tool_call>{CALC}</tool_call>` to call it.",
    f"Models write\n```xml\n<tool_call>{CALC}</tool_call>\n```\nas in the template. {'So. ' * 80}",
    f"Here is an example of a call:\n```json\n{CALC}\n```",
    f"{'A long explanation of tools. ' * 10}\n```json\n{CALC}\n```",
    f"```python\nprint(1)\n```\n```json\n{CALC}\n```",
    f"First this:\n```json\n{CALC}\n```\n{'And a long explanation. ' * 12}",
    f"```json\n{CALC}\nand more\n```",
    '{"name": "Anna", "age": 7}',
    '{"name": "clock", "price": 10}',
    '{"name": "calculator"}',
    '{"name": "unknown", "arguments": {}} is what I would call.',
    '```json\n{"name": "unknown", "arguments": {}}\n```\nSo it goes.',
    'Look:\n{"name": "unknown", "arguments": {}}',
    '{"name": "unknown", "arguments": {}, "price": ',
    '{"name": "unknown", "city": "Bonn"}',
    '{"name": "two words", "arguments": {}}',
    '{"type": "function", "function": {"name": "clock", "description": "The time.", '
    '"parameters": {"type": "object", "properties": {}}}}',
    '{"name": "clock", "parameters": {"type": "object", "properties": {"zone": {}}}}',
    '{"name": "clock", "arguments": {"zone": "UT',
    "<tool_call> is the tag that opens a call.",
    "<tool_call>{broken</tool_call>",
    'calculator(expression="2+2") is what I would call.',
    "calculator(expression=open('x'))",
    "clock is a tool",
    "[calculator](https://example.org)",
    "[1, 2, 3]",
    "<div>\n<name>x</name>\n</div>",
    "- item\n- `code`\n\n```",
    "`",
]


def run_gate(chunks: list[str]) -> tuple[str, str, list[tuple[str, dict[str, Any]]]]:
    gate = ToolCallGate(TOOLS)
    shown = "".join([gate.feed(chunk) for chunk in chunks])
    rest, calls = gate.close()
    return shown, rest, [(call.name, call.arguments) for call in calls]


@pytest.mark.parametrize(("reply", "calls", "text"), CALLS)
def test_a_call_is_found(reply: str, calls: list[tuple[str, Any]], text: str) -> None:
    parsed = parse_tool_calls(reply, TOOLS)
    assert [(call.name, call.arguments) for call in parsed.calls] == calls
    assert parsed.text == text
    whole = run_gate([reply])
    for size in (1, 2, 5):
        assert run_gate([reply[at : at + size] for at in range(0, len(reply), size)]) == whole


@pytest.mark.parametrize("reply", TEXTS)
def test_text_is_not_a_call(reply: str) -> None:
    parsed = parse_tool_calls(reply, TOOLS)
    assert (parsed.calls, parsed.text) == ([], reply)
    for size in (1, 2, 5):
        shown, rest, calls = run_gate([reply[at : at + size] for at in range(0, len(reply), size)])
        assert (shown + rest, calls) == (reply, [])


def test_one_and_true_are_different_arguments() -> None:
    reply = '[TOOL_CALLS][{"name": "x", "args": {"a": 1}}, {"name": "x", "args": {"a": true}}]'
    assert len(parse_tool_calls(reply, TOOLS).calls) == 2


def test_at_most_16_calls() -> None:
    reply = "\n".join(f'<tool_call>{{"name": "t{n}"}}</tool_call>' for n in range(40))
    assert len(parse_tool_calls(reply, TOOLS).calls) == 16


def test_prose_goes_out_in_the_call_in_which_it_came() -> None:
    gate = ToolCallGate(TOOLS)
    for chunk in ("The", " time", " is", "\n\n", "Now", ".\n- one", "\n  two", "```python", "\nx"):
        assert gate.feed(chunk) == chunk


@pytest.mark.parametrize("chunk", ["```python", '{"city"', "<div", "[link", "{ x"])
def test_what_cannot_be_a_call_is_released_at_once(chunk: str) -> None:
    gate = ToolCallGate(TOOLS)
    assert gate.feed(chunk) == chunk


def test_nothing_of_a_call_is_shown_before_the_end() -> None:
    gate = ToolCallGate(TOOLS)
    assert gate.feed("Let me see.\n{") == "Let me see.\n"
    assert [gate.feed(char) for char in CALC[1:] + " prose"] == [""] * len(CALC[1:] + " prose")
    assert gate.close()[0] == "prose"


def test_without_tools_everything_passes() -> None:
    gate = ToolCallGate({})
    assert gate.feed(CALC) == CALC
    assert gate.close() == ("", [])


def test_hostile_text_takes_no_time() -> None:
    began = time.perf_counter()
    for text in ("<tool_call>{" * 20_000, "[" * 50_000, '{"name": "clock", "args":' * 5_000):
        assert parse_tool_calls(text, TOOLS).calls == []
    assert time.perf_counter() - began < 5


PARTS = st.sampled_from(
    [CALC, CLOCK, "<tool_call>", "</tool_call>", "```", "```json\n", "\n", "{", "}", "[", "]",
     "[TOOL_CALLS]", "clock", "(", ")", "<name>", "prose ", "`", " ", "<function=clock>",
     "</function>", '"name": "clock"', "calculator(expression='1')", "<|python_tag|>", "<"]
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.lists(PARTS, max_size=12).map("".join), st.integers(0, 9999))
def test_chunking_never_changes_the_result(text: str, seed: int) -> None:
    random = Random(seed)
    bounds = [0, *sorted(random.randint(0, len(text)) for _ in range(6)), len(text)]
    whole = run_gate([text])
    for chunks in ([text[a:b] for a, b in pairwise(bounds)], list(text)):
        shown, rest, calls = run_gate(chunks)
        if calls:
            assert (shown, rest, calls) == whole
        else:
            assert (shown + rest, calls) == (text, whole[2])


@settings(deadline=None, max_examples=200)
@given(st.lists(st.text(alphabet="ab ={}[]<>()`\n'\"", max_size=8), max_size=8))
def test_text_without_calls_is_unchanged(chunks: list[str]) -> None:
    shown, rest, calls = run_gate(chunks)
    assert (shown + rest, calls) == ("".join(chunks), [])
