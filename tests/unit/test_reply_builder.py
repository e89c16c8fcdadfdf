"""A reply comes out the same however its stream was cut into chunks."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from rolecall.models.native_calls import NativeCalls
from rolecall.models.reply import ReplyBuilder, final, reasoning_of
from rolecall.models.text.redaction import Redactor

TOOLS = {"clock": {"type": "object"}, "weather": {"type": "object", "required": ["place"]}}


def piece(text: str = "", **more: Any) -> ChatGenerationChunk:
    info = more.pop("info", None)
    message = AIMessageChunk(content=text, **more)
    return ChatGenerationChunk(message=message, generation_info=info)


def built(parts: list[str], redactor: Redactor | None = None) -> AIMessage:
    builder = ReplyBuilder(TOOLS, redactor)
    chunks = [chunk for part in parts for chunk in builder.feed(piece(part))]
    return final([*chunks, *builder.close()])


def seen(message: AIMessage) -> tuple[Any, ...]:
    calls = [(call["name"], json.dumps(call["args"])) for call in message.tool_calls]
    return message.text, reasoning_of(message), calls


REPLIES = [
    "plain words, a < b and [1] too",
    "<think>hm\nhm</think>\n\nFour.",
    "hm, so</think>Four.",
    '<think>call it</think><tool_call>{"name": "clock", "arguments": {}}</tool_call>',
    '```json\n{"name": "weather", "arguments": {"place": "Oslo"}}\n```',
    '{"name": "weather", "arguments": {"place": "Oslo"}}',
    '{"answer": 4}',
    "my key is sk-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH and so on",
    "",
]


@pytest.mark.parametrize("redactor", [None, Redactor()])
@given(data=st.data(), reply=st.sampled_from(REPLIES))
def test_chunking_never_changes_the_result(
    data: st.DataObject, reply: str, redactor: Redactor | None
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(reply)), max_size=12)))
    edges = [0, *cuts, len(reply)]
    parts = [reply[a:b] for a, b in itertools.pairwise(edges)]
    assert seen(built(parts, redactor)) == seen(built([reply], redactor))


@given(st.lists(st.text(max_size=8), max_size=12))
def test_any_text_arrives_the_same_however_it_is_cut(parts: list[str]) -> None:
    assert seen(built(parts)) == seen(built(["".join(parts)]))


def test_usage_counts_once_when_it_comes_with_every_chunk() -> None:
    builder = ReplyBuilder({})
    for written in (1, 2, 3):
        usage = {"input_tokens": 5, "output_tokens": written, "total_tokens": 5 + written}
        builder.feed(piece("x", usage_metadata=usage))
    assert builder.usage is not None
    assert (builder.usage["input_tokens"], builder.usage["output_tokens"]) == (5, 3)


def test_a_stream_without_an_end_is_incomplete() -> None:
    builder = ReplyBuilder({})
    builder.feed(piece("half"))
    assert not builder.complete
    builder.feed(piece("", info={"finish_reason": "stop"}))
    assert builder.complete


def test_half_of_a_call_is_not_made() -> None:
    builder = ReplyBuilder(TOOLS)
    call = tool_call_chunk(name="weather", args='{"place": ["Oslo"', id="1", index=0)
    builder.feed(piece("", tool_call_chunks=[call], info={"finish_reason": "length"}))
    message = final(builder.close())
    assert builder.finish_reason == "length"
    assert message.tool_calls == []


def gathered(*pieces: dict[str, Any]) -> list[tuple[str | None, str | None]]:
    calls = NativeCalls()
    for one in pieces:
        calls.feed(tool_call_chunk(**one))
    closed: list[ToolCallChunk] = calls.close()
    ids = [call["id"] for call in closed]
    assert all(ids)
    assert len(set(ids)) == len(ids)
    return [(call["name"], call["args"]) for call in closed]


def test_pieces_with_an_index_are_put_together() -> None:
    assert gathered(
        {"name": "a", "args": "", "id": "1", "index": 0},
        {"args": '{"x"', "index": 0},
        {"name": "b", "args": "{", "id": "2", "index": 1},
        {"args": ": 1}", "index": 0},
        {"args": "}", "index": 1},
    ) == [("a", '{"x": 1}'), ("b", "{}")]


def test_calls_without_index_or_id_stay_apart() -> None:
    assert gathered({"name": "a", "args": "{}"}, {"name": "a", "args": '{"x": 1}'}) == [
        ("a", "{}"),
        ("a", '{"x": 1}'),
    ]


def test_calls_that_all_claim_index_0_stay_apart() -> None:
    assert gathered(
        {"name": "a", "args": '{"x": 1}', "id": "1", "index": 0},
        {"name": "a", "args": '{"x": 2}', "id": "2", "index": 0},
        {"name": "b", "args": "{}", "id": "2", "index": 0},
    ) == [("a", '{"x": 1}'), ("a", '{"x": 2}'), ("b", "{}")]


def test_a_name_repeated_with_every_piece_counts_once() -> None:
    assert gathered(
        {"name": "a", "args": '{"x":', "id": "1", "index": 0},
        {"name": "a", "args": " 1}", "id": "1", "index": 0},
    ) == [("a", '{"x": 1}')]


@pytest.mark.parametrize(
    "written", ["{'x': 1}", '{"x": 1,}', '"{\\"x\\": 1}"', ' {"x": 1} ', '{"x": 1']
)
def test_arguments_that_are_not_quite_json_are_mended(written: str) -> None:
    ((_, arguments),) = gathered({"name": "a", "args": written, "index": 0})
    assert json.loads(str(arguments)) == {"x": 1}


@pytest.mark.parametrize("written", ["", "null", None])
def test_no_arguments_are_an_empty_object(written: str | None) -> None:
    assert gathered({"name": "a", "args": written, "index": 0}) == [("a", "{}")]


def test_a_call_that_is_only_quoted_from_a_file_is_not_made() -> None:
    written = '<tool_call>{"name": "calculator", "arguments": {"expression": "6*7"}}</tool_call>'
    tools = {"calculator": {"type": "object", "properties": {"expression": {"type": "string"}}}}

    def calls(heard: list[str]) -> list[str]:
        builder = ReplyBuilder(tools, None, heard)
        chunk = ChatGenerationChunk(message=AIMessageChunk(content=written))
        return [c["name"] for c in final([*builder.feed(chunk), *builder.close()]).tool_calls]

    assert calls([]) == ["calculator"]
    assert calls(["42"]) == ["calculator"]
    assert calls([f"notes.txt says: {written}"]) == []
