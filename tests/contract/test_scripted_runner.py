"""The scripted runner is taken for a real one by the clients that people use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessageChunk
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from rolecall.models.scripted import Request, ScriptedReply, ScriptedRunner

CLOCK = {
    "type": "function",
    "function": {
        "name": "clock",
        "description": "the time in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
CALL = {"name": "clock", "args": {"city": "Paris"}}
SCHEMA = {
    "title": "Verdict",
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
}


@pytest.fixture
def runner() -> Iterator[ScriptedRunner]:
    with ScriptedRunner(models=["tiny"]) as running:
        yield running


@pytest.fixture
def ollama() -> Iterator[ScriptedRunner]:
    with ScriptedRunner(models=["tiny"], dialect="ollama") as running:
        yield running


class Clients(ExitStack):
    """Models whose connections are closed with the test."""

    def openai(self, runner: ScriptedRunner, *, responses: bool, **more: Any) -> ChatOpenAI:
        http = self.enter_context(httpx.Client())
        return ChatOpenAI(
            model="tiny",
            base_url=runner.url + "/v1",
            api_key=SecretStr("none"),
            use_responses_api=responses,
            stream_usage=True,
            max_retries=0,
            timeout=5,
            http_client=http,
            **more,
        )

    def ollama(self, runner: ScriptedRunner, **more: Any) -> ChatOllama:
        model = ChatOllama(model="tiny", base_url=runner.url, **more)
        self.callback(model._client._client.close)
        return model


@pytest.fixture
def clients() -> Iterator[Clients]:
    with Clients() as opened:
        yield opened


def put_together(chunks: Iterator[Any]) -> AIMessageChunk:
    first, *others = chunks
    for chunk in others:
        first += chunk
    assert isinstance(first, AIMessageChunk)
    return first


@pytest.mark.parametrize("responses", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_openai_client_reads_text_and_usage(
    clients: Clients, runner: ScriptedRunner, responses: bool, stream: bool
) -> None:
    runner.enqueue(ScriptedReply("Hello, I am here", usage=(11, 7)))
    model = clients.openai(runner, responses=responses)
    answer = put_together(model.stream("hi")) if stream else model.invoke("hi")
    assert answer.text == "Hello, I am here"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] == 11
    assert answer.usage_metadata["output_tokens"] == 7
    assert runner.requests[0].path == ("/v1/responses" if responses else "/v1/chat/completions")
    assert runner.requests[0].text == "hi"


@pytest.mark.parametrize("responses", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_openai_client_reads_tool_calls(
    clients: Clients, runner: ScriptedRunner, responses: bool, stream: bool
) -> None:
    runner.enqueue(ScriptedReply(tool_calls=[{**CALL, "id": "call_a"}, CALL]))
    model = clients.openai(runner, responses=responses).bind_tools([CLOCK])
    answer: Any = put_together(model.stream("time?")) if stream else model.invoke("time?")
    assert [(c["name"], c["args"]) for c in answer.tool_calls] == [("clock", CALL["args"])] * 2
    assert answer.tool_calls[0]["id"] == "call_a"
    assert answer.tool_calls[1]["id"] not in {None, "call_a"}
    if not responses:
        assert answer.response_metadata["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("stream", [False, True])
def test_openai_client_reads_logprobs(
    clients: Clients, runner: ScriptedRunner, stream: bool
) -> None:
    runner.enqueue(ScriptedReply("A because", logprobs={"A": -0.1, "B": -2.3, "C": -9.0}))
    model = clients.openai(runner, responses=False).bind(logprobs=True, top_logprobs=2)
    answer: Any = put_together(model.stream("A or B?")) if stream else model.invoke("A or B?")
    first = answer.response_metadata["logprobs"]["content"][0]
    assert (first["token"], first["logprob"]) == ("A", -0.1)
    assert [one["token"] for one in first["top_logprobs"]] == ["A", "B"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_reasoning_summary_reaches_the_openai_client(
    clients: Clients, runner: ScriptedRunner, stream: bool
) -> None:
    runner.enqueue(ScriptedReply("4", reasoning="two and two", reasoning_summary=True))
    model = clients.openai(runner, responses=True, output_version="v1")
    answer: Any = put_together(model.stream("2+2")) if stream else model.invoke("2+2")
    thoughts = [b["reasoning"] for b in answer.content_blocks if b["type"] == "reasoning"]
    assert thoughts == ["two and two"]
    assert answer.text == "4"


def test_a_cut_answer_is_incomplete_in_both_dialects(
    clients: Clients, runner: ScriptedRunner
) -> None:
    runner.enqueue(*[ScriptedReply("long", finish_reason="length")] * 3)
    chat = clients.openai(runner, responses=False).invoke("hi")
    assert chat.response_metadata["finish_reason"] == "length"
    for answer in (
        clients.openai(runner, responses=True).invoke("hi"),
        put_together(clients.openai(runner, responses=True).stream("hi")),
    ):
        assert answer.response_metadata["status"] == "incomplete"
        reason = answer.response_metadata["incomplete_details"]["reason"]
        assert reason == "max_output_tokens"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_has_its_own_field(runner: ScriptedRunner, field: Any) -> None:
    runner.default = ScriptedReply("4", reasoning="two and two", reasoning_field=field)
    body = {"model": "tiny", "messages": [{"role": "user", "content": "2+2"}]}
    url = f"{runner.endpoint}/chat/completions"
    message = httpx.post(url, json=body).json()["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "4", field: "two and two"}
    lines = httpx.post(url, json=body | {"stream": True}).text.split("\n\n")
    assert lines[-2] == "data: [DONE]"
    deltas = [json.loads(line.removeprefix("data: "))["choices"][0]["delta"] for line in lines[:-2]]
    assert "".join(delta.get(field, "") for delta in deltas) == "two and two"


def test_usage_in_a_stream_only_when_asked_for(runner: ScriptedRunner) -> None:
    body = {"model": "tiny", "messages": [], "stream": True}
    url = f"{runner.endpoint}/chat/completions"
    assert "usage" not in httpx.post(url, json=body).text
    wanted = {"stream_options": {"include_usage": True}}
    assert '"usage"' in httpx.post(url, json=body | wanted).text


def test_responses_events_come_in_order(runner: ScriptedRunner) -> None:
    runner.enqueue(ScriptedReply("Hi", reasoning="hm", tool_calls=[CALL]))
    body = {"model": "tiny", "input": "hi", "stream": True}
    text = httpx.post(f"{runner.endpoint}/responses", json=body).text
    events = [json.loads(one.partition("data: ")[2]) for one in text.split("\n\n") if one]
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_text.delta",
        "reasoning_text.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call"]


@pytest.mark.parametrize("stream", [False, True])
def test_ollama_client_reads_text_thinking_usage(
    clients: Clients, ollama: ScriptedRunner, stream: bool
) -> None:
    ollama.enqueue(ScriptedReply("It is 4", reasoning="two and two", usage=(9, 5)))
    model = clients.ollama(ollama, reasoning=True, num_ctx=2048)
    answer = put_together(model.stream("2+2")) if stream else model.invoke("2+2")
    assert answer.text == "It is 4"
    assert answer.additional_kwargs["reasoning_content"] == "two and two"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["total_tokens"] == 14
    assert answer.response_metadata["done_reason"] == "stop"
    asked = ollama.calls[0]
    assert (asked.path, asked.body["options"]["num_ctx"]) == ("/api/chat", 2048)


@pytest.mark.parametrize("stream", [False, True])
def test_ollama_client_reads_tool_calls(
    clients: Clients, ollama: ScriptedRunner, stream: bool
) -> None:
    ollama.enqueue(ScriptedReply(tool_calls=[CALL]))
    model = clients.ollama(ollama).bind_tools([CLOCK])
    answer: Any = put_together(model.stream("time?")) if stream else model.invoke("time?")
    assert [(c["name"], c["args"]) for c in answer.tool_calls] == [("clock", CALL["args"])]


def test_ollama_client_reads_logprobs(clients: Clients, ollama: ScriptedRunner) -> None:
    ollama.enqueue(ScriptedReply("A", logprobs={"A": -0.1, "B": -2.3}))
    answer = clients.ollama(ollama, logprobs=True, top_logprobs=2).invoke("A or B?")
    first = answer.response_metadata["logprobs"][0]
    assert [one["token"] for one in first["top_logprobs"]] == ["A", "B"]


def test_ollama_client_finds_the_model_before_use(clients: Clients, ollama: ScriptedRunner) -> None:
    clients.ollama(ollama, validate_model_on_init=True)
    shown = httpx.post(f"{ollama.url}/api/show", json={"model": "tiny"}).json()
    assert shown["model_info"]["scripted.context_length"] == 8192
    assert "tools" in shown["capabilities"]
    assert httpx.get(f"{ollama.url}/api/version").json()["version"]
    assert ollama.calls == []


def test_a_schema_is_seen_wherever_the_dialect_puts_it() -> None:
    chat = {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}
    responses = {"text": {"format": {"type": "json_schema", "schema": SCHEMA}}}
    for body in (chat, responses, {"format": SCHEMA}):
        assert Request("POST", "/", {}, body).schema == SCHEMA
    assert Request("POST", "/", {}, {"response_format": {"type": "text"}}).schema is None


def test_one_rule_serves_every_role(clients: Clients, runner: ScriptedRunner) -> None:
    def rule(request: Request) -> ScriptedReply | str:
        return '{"ok": true}' if request.schema else f"you said {request.text}"

    runner.default = rule
    runner.enqueue("first")
    model = clients.openai(runner, responses=False)
    assert model.invoke("a").text == "first"
    assert model.invoke("b").text == "you said b"
    assert model.with_structured_output(SCHEMA, method="json_schema").invoke("c") == {"ok": True}


def test_unknown_paths_models_and_bodies_are_refused(runner: ScriptedRunner) -> None:
    url = f"{runner.endpoint}/chat/completions"
    assert httpx.get(f"{runner.url}/health").json() == {"status": "ok"}
    assert httpx.get(f"{runner.endpoint}/models").json()["data"][0]["id"] == "tiny"
    assert httpx.get(f"{runner.url}/api/tags").status_code == 404
    assert httpx.get(url).status_code == 405
    assert httpx.post(url, content=b"{bad").status_code == 400
    missing = httpx.post(url, json={"model": "huge", "messages": []})
    assert missing.status_code == 404
    assert "'huge' not found" in missing.json()["error"]["message"]
    with ScriptedRunner(dialect="chat_completions") as old:
        assert httpx.post(f"{old.endpoint}/responses", json={"model": "tiny"}).status_code == 404


def test_a_rule_that_raises_is_reported_to_the_client(runner: ScriptedRunner) -> None:
    def rule(request: Request) -> str:
        raise LookupError("no such scene")

    runner.default = rule
    answer = httpx.post(f"{runner.endpoint}/chat/completions", json={"model": "tiny"})
    assert answer.status_code == 500
    assert "LookupError: no such scene" in answer.json()["error"]["message"]
