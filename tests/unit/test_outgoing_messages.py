"""What a caller may give as messages, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from rolecall.config.schema import ModelSpec, Settings, Stack
from rolecall.errors import BadInput
from rolecall.models.client import LocalLLMClient
from rolecall.models.outgoing import conversation
from rolecall.models.scripted import ScriptedRunner


@pytest.mark.parametrize(
    "given",
    [
        "how are you",
        HumanMessage("how are you"),
        {"role": "user", "content": "how are you"},
        ["how are you"],
        [("user", "how are you")],
        [HumanMessage("how are you")],
    ],
    ids=["text", "message", "dict", "list of texts", "pair", "list of messages"],
)
def test_one_question_is_one_message_however_it_is_given(given: Any) -> None:
    assert conversation(given) == [HumanMessage("how are you")]


def test_a_conversation_keeps_its_order() -> None:
    given = [SystemMessage("be brief"), ("user", "hi"), AIMessage("hello"), ("user", "bye")]
    assert [message.type for message in conversation(given)] == ["system", "human", "ai", "human"]


@pytest.mark.parametrize(
    "given", [[], (), None, b"hi", 3, [3], [{"rol": "user"}], [("shout", "hi")]], ids=repr
)
def test_what_is_no_message_is_told_of(given: Any) -> None:
    with pytest.raises(BadInput, match="message"):
        conversation(given)


@pytest.fixture
def client() -> Iterator[tuple[LocalLLMClient, ScriptedRunner]]:
    with ScriptedRunner() as runner:
        spec = ModelSpec(id="tiny", endpoint=runner.endpoint)
        made = LocalLLMClient(Stack("t", Path("t"), "", {"coding": [spec]}, {}, Settings()))
        yield made, runner
        made.close()


def test_a_text_arrives_as_it_was_written(client: tuple[LocalLLMClient, ScriptedRunner]) -> None:
    made, runner = client
    made.chat("coding", "how are you")
    assert [(m["role"], m["content"]) for m in runner.calls[0].messages] == [
        ("user", "how are you")
    ]


@pytest.mark.parametrize("api", ["chat_completions", "responses", "ollama"])
def test_half_a_character_does_not_keep_a_message_from_being_sent(api: Any) -> None:
    calls = [{"name": "clock", "args": {"zone": ["\ud83d"]}, "id": "c1", "type": "tool_call"}]
    given: Any = [
        HumanMessage([{"type": "text", "text": "a\ud800b é"}]),
        AIMessage("", tool_calls=calls),
        ToolMessage("noon\udc80", tool_call_id="c1"),
    ]
    with ScriptedRunner(dialect="ollama" if api == "ollama" else "openai") as runner:
        spec = ModelSpec(id="tiny", endpoint=runner.endpoint, api=api)
        made = LocalLLMClient(Stack("t", Path("t"), "", {"coding": [spec]}, {}, Settings()))
        assert made.chat("coding", given).text == "ok"
        made.close()
        sent = str(runner.calls[-1].body)
    assert "a?b é" in sent
    assert "noon?" in sent
    assert given[1].tool_calls[0]["args"] == {"zone": ["\ud83d"]}
