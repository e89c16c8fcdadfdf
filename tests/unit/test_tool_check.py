"""What speaks for a tool call, and when a model's calls are checked at all."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk

from rolecall.config.schema import ModelSpec
from rolecall.errors import ArtefactDamaged
from rolecall.models.call_evidence import groundedness
from rolecall.models.tool_check import ToolCheck, wants_check, without_tools
from rolecall.models.wire import CallOptions

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "place": {"type": "string"},
        "days": {"type": "integer"},
        "unit": {"type": "string", "enum": ["metric", "imperial"]},
        "names": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["place", "days", "unit", "names"],
}
FORECAST = {
    "name": "get_forecast",
    "description": "Weather forecast for a town",
    "parameters": {
        "type": "object",
        "properties": {"town": {"type": "string", "description": "Name of the town"}},
        "required": ["town"],
    },
}
OPTIONS = CallOptions(tools=({"type": "function", "function": FORECAST},))


def chunk(*calls: tuple[str, str]) -> AIMessageChunk:
    pieces = [
        tool_call_chunk(name=name, args=arguments, id=f"c{index}", index=index)
        for index, (name, arguments) in enumerate(calls)
    ]
    return AIMessageChunk(content="", tool_call_chunks=pieces, chunk_position="last")


OSLO = ("get_forecast", '{"town": "Oslo"}')


@pytest.mark.parametrize(
    ("arguments", "heard", "share"),
    [
        ({"place": "Oslo"}, "Weather in Oslo?", 1.0),
        ({"place": "São Paulo"}, "weather in sao paulo", 1.0),
        ({"place": "New York"}, "Hello!", 0.0),
        ({"place": "東京"}, "東京の天気は？", 1.0),
        ({"place": "the harbour"}, "at the harbours", 1.0),
        ({"days": 3}, "for three days", 1.0),
        ({"days": 3}, "the next 3.0 days", 1.0),
        ({"days": 3}, "for a while", 0.0),
        ({"names": ["Kim", "Lou"]}, "Kim and Max", 0.5),
        ({"place": "Oslo", "days": 5}, "weather in Oslo", 0.5),
        ({"unit": "metric"}, "Hello!", None),
        ({"extra": "anything"}, "Hello!", None),
        ({}, "Hello!", None),
    ],
)
def test_groundedness_is_the_share_of_what_was_said(
    arguments: dict[str, Any], heard: str, share: float | None
) -> None:
    assert groundedness(arguments, PARAMETERS, heard) == share


@pytest.mark.parametrize(
    ("setting", "makes_up_calls", "unmarked", "checked"),
    [
        ("auto", None, True, True),
        ("auto", None, False, False),
        ("auto", False, True, False),
        ("auto", True, False, True),
        ("always", False, False, True),
        ("never", True, True, False),
    ],
)
def test_a_model_is_checked_where_it_pays(
    setting: str, makes_up_calls: bool | None, unmarked: bool, checked: bool
) -> None:
    spec = ModelSpec.model_validate({"id": "m", "endpoint": "embedded", "tool_check": setting})
    assert wants_check(spec, makes_up_calls, unmarked=unmarked) is checked


@pytest.mark.parametrize(
    "said",
    [
        "What will the weather be like in Oslo tomorrow?",
        "Oslo forecast please",
        "Wie wird das Wetter morgen in Oslo?",
        "¿Qué tiempo hará mañana en Oslo?",
    ],
)
async def test_a_call_that_the_message_asks_for_is_meant(said: str) -> None:
    assert await ToolCheck().not_meant([HumanMessage(said)], OPTIONS, chunk(OSLO)) == {}


@pytest.mark.parametrize("said", ["Hello!", "Who wrote Hamlet?", "Write two lines about the sea."])
async def test_a_call_for_small_talk_knowledge_or_writing_is_not(said: str) -> None:
    found = await ToolCheck().not_meant([HumanMessage(said)], OPTIONS, chunk(OSLO))
    assert list(found) == [0]
    assert found[0].as_dict()["args"] == {"town": "Oslo"}


async def test_a_tool_for_writing_may_be_called_for_writing() -> None:
    setup = {"type": "string", "description": "The first line"}
    joke = {
        "name": "joke",
        "description": "Joke to tell the user",
        "parameters": {"type": "object", "properties": {"setup": setup}, "required": ["setup"]},
    }
    options = CallOptions(tools=({"type": "function", "function": joke},))
    made = chunk(("joke", '{"setup": "Why did the cat cross the road?"}'))
    assert await ToolCheck().not_meant([HumanMessage("Tell me a joke")], options, made) == {}


async def test_a_follow_up_is_read_with_what_was_said_before() -> None:
    messages = [
        HumanMessage("What will the weather be like in Oslo tomorrow?"),
        AIMessage("Sunny."),
        HumanMessage("And in Bergen?"),
    ]
    bergen = chunk(("get_forecast", '{"town": "Bergen"}'))
    assert await ToolCheck().not_meant(messages, OPTIONS, bergen) == {}


async def test_a_name_that_no_tool_has_is_not_meant() -> None:
    found = await ToolCheck().not_meant([HumanMessage("hi")], OPTIONS, chunk(("hello", "{}")))
    assert found[0].why == "there is no such tool"


async def test_a_demanded_call_is_not_questioned() -> None:
    for choice in ("required", "get_forecast"):
        options = CallOptions(tools=OPTIONS.tools, tool_choice=choice)
        assert await ToolCheck().not_meant([HumanMessage("Hello!")], options, chunk(OSLO)) == {}


async def test_a_call_after_a_tools_result_is_not_questioned() -> None:
    messages = [
        HumanMessage("Hello!"),
        AIMessage("", tool_calls=[{"name": "get_forecast", "args": {}, "id": "1"}]),
        ToolMessage("Sunny.", tool_call_id="1"),
    ]
    assert await ToolCheck().not_meant(messages, OPTIONS, chunk(OSLO)) == {}


async def test_without_a_usable_encoder_calls_pass() -> None:
    def damaged(_text: str) -> Any:
        raise ArtefactDamaged("no encoder")

    check = ToolCheck(damaged)
    for _ in range(2):
        assert await check.not_meant([HumanMessage("Hello!")], OPTIONS, chunk(OSLO)) == {}


def test_without_tools_the_history_has_no_calls() -> None:
    messages = [
        HumanMessage("weather?"),
        AIMessage("Let me see.", tool_calls=[{"name": "get_forecast", "args": {}, "id": "1"}]),
        ToolMessage("Sunny.", tool_call_id="1"),
        AIMessage("Sunny."),
        HumanMessage("thanks"),
    ]
    kept = [(message.type, message.text) for message in without_tools(messages)]
    assert kept == [
        ("human", "weather?"),
        ("ai", "Let me see."),
        ("ai", "Sunny."),
        ("human", "thanks"),
    ]
