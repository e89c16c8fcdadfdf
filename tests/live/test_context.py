"""The guard against silent truncation on a real llama.cpp with a small context."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from rolecall import bridge
from rolecall.config.schema import ModelSpec, Settings, Stack
from rolecall.errors import ContextTooLong
from rolecall.models import pool
from rolecall.models.calls import CallRecord
from rolecall.models.client import LocalLLMClient
from rolecall.models.context_report import note_of
from rolecall.models.embedded.runner import EmbeddedRunner
from rolecall.models.endpoint import Address
from rolecall.models.server_facts import FactsCache, ServerFacts, read_facts
from rolecall.models.token_counts import count_exactly
from rolecall.models.wire import CallOptions

pytestmark = [pytest.mark.live, pytest.mark.enable_socket, pytest.mark.timeout(300)]
MODEL = "smollm2-135m"
CONTEXT = 768
TOOL = {
    "type": "function",
    "function": {
        "name": "clock",
        "description": "Tells the time of day in a time zone.",
        "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}},
    },
}


@pytest.fixture(autouse=True)
def embedded(live_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedRunner]:
    monkeypatch.setenv("ROLECALL_IDLE_S", "120")
    runner = EmbeddedRunner()
    runner.stop(MODEL)
    yield runner
    runner.stop(MODEL)


@pytest.fixture
def client(embedded: EmbeddedRunner) -> Iterator[LocalLLMClient]:
    sampling = {"max_tokens": 16, "temperature": 0.0}
    spec = ModelSpec.model_validate(
        {"id": MODEL, "endpoint": "embedded", "context_length": CONTEXT, "sampling": sampling}
    )
    client = LocalLLMClient(Stack("live", Path("live"), "", {"coding": [spec]}, {}, Settings()))
    yield client
    client.close()


def conversation(turns: int) -> list[BaseMessage]:
    """Turns of some 60 tokens each."""
    messages: list[BaseMessage] = [SystemMessage("You answer in one word.")]
    for turn in range(turns):
        messages.append(HumanMessage(f"Fact {turn}: " + "The river bends to the east. " * 6))
        messages.append(AIMessage("Noted, thank you. " * 3))
    return [*messages, HumanMessage("What is the capital of France?")]


def test_a_conversation_that_is_too_long_is_brought_down_before_it_is_sent(
    client: LocalLLMClient,
) -> None:
    messages = conversation(20)
    reply = client.chat("coding", messages)
    context = reply.response_metadata["context"]
    assert reply.text.strip()
    assert context["limit"] == CONTEXT
    assert context["estimated"] is False
    assert 10 < context["dropped_messages"] < len(messages) - 3
    assert CONTEXT - 16 - 150 < context["sent"] <= CONTEXT - 16  # no more is lost than must be
    assert context["truncated"] is None
    assert "were left out" in str(note_of(context))
    assert reply.usage_metadata is not None
    assert abs(reply.usage_metadata["input_tokens"] - context["sent"]) <= 2


def test_a_question_that_cannot_fit_is_refused_before_it_is_sent(client: LocalLLMClient) -> None:
    with pytest.raises(ContextTooLong, match="newest message"):
        client.chat("coding", [HumanMessage("The river bends to the east. " * 200)])


def test_the_server_tells_its_context_and_counts_as_it_reads(embedded: EmbeddedRunner) -> None:
    server = embedded.ensure(MODEL, context_length=CONTEXT)
    address = Address(server.base_url, server.api_key)
    facts = bridge.run(read_facts(address, MODEL))
    assert facts.runner == "llama.cpp"
    assert facts.version
    assert facts.context_length == CONTEXT
    assert facts.max_context_length == 8192
    question = [HumanMessage("What is the capital of France?")]
    plain = bridge.run(count_exactly(address, facts.runner, MODEL, [*question], ()))
    tooled = bridge.run(count_exactly(address, facts.runner, MODEL, [*question], (TOOL,)))
    with httpx.Client(headers=address.headers, timeout=120) as http:
        for tools, counted in ((None, plain), ([TOOL], tooled)):
            body = {"messages": [{"role": "user", "content": question[0].text}], "max_tokens": 1}
            body |= {"tools": tools} if tools else {}
            asked = http.post(f"{address.openai_base}/chat/completions", json=body).json()
            assert asked["usage"]["prompt_tokens"] == counted


def test_a_short_conversation_is_sent_as_it_is(client: LocalLLMClient) -> None:
    reply = client.chat("coding", conversation(1), options=CallOptions(max_tokens=4))
    context = reply.response_metadata["context"]
    assert (context["dropped_messages"], context["truncated"]) == (0, None)


def test_what_the_server_refuses_as_too_long_is_sent_shorter(
    client: LocalLLMClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(self: FactsCache, address: Address, model: str) -> ServerFacts:
        return ServerFacts()

    monkeypatch.setattr(FactsCache, "facts", nothing)
    records: list[CallRecord] = []
    spec = client.stack.models["coding"][0]
    client.stack.models["coding"][0] = spec.model_copy(update={"context_length": None})
    EmbeddedRunner().ensure(MODEL, context_length=CONTEXT)
    monkeypatch.setattr(pool, "_EMBEDDED_CONTEXT", CONTEXT)
    reply = client.chat("coding", conversation(20), on_call=records.append)
    assert [record.status for record in records] == ["error", "ok"]
    assert "exceeds the available context size" in str(records[0].error)
    assert reply.response_metadata["context"]["limit"] == CONTEXT
