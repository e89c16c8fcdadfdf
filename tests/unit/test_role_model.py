"""A role as a LangChain chat model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from pydantic import BaseModel
from typing_extensions import TypedDict

from rolecall.config.schema import ModelSpec, Settings, Stack
from rolecall.errors import ModelCallFailed, RolecallError
from rolecall.models.client import LocalLLMClient
from rolecall.models.role_model import RoleChatModel
from rolecall.models.scripted import ScriptedReply, ScriptedRunner


class Person(BaseModel):
    """A person."""

    name: str
    age: int


class Town(TypedDict):
    """A town."""

    name: str


@tool
def clock(zone: str) -> str:
    """The time in a zone."""
    return zone


class Tokens(BaseCallbackHandler):
    def __init__(self) -> None:
        self.seen: list[str] = []
        self.ended = 0

    def on_llm_new_token(self, token: Any, **_: Any) -> None:
        self.seen.append(str(token))

    def on_llm_end(self, *_: Any, **__: Any) -> None:
        self.ended += 1


@pytest.fixture
def runner() -> Iterator[ScriptedRunner]:
    with ScriptedRunner() as running:
        yield running


@pytest.fixture
def model(runner: ScriptedRunner) -> Iterator[RoleChatModel]:
    spec = ModelSpec(id="tiny", endpoint=runner.endpoint)
    client = LocalLLMClient(Stack("t", Path("t"), "", {"coding": [spec]}, {}, Settings()))
    yield client.chat_model("coding")
    client.close()


def test_invoke_stream_and_batch(runner: ScriptedRunner, model: RoleChatModel) -> None:
    runner.default = "one two"
    assert model.invoke("hi").text == "one two"
    assert [chunk.text for chunk in model.stream("hi")][:2] == ["one", " two"]
    assert [reply.text for reply in model.batch(["a", "b", "c"])] == ["one two"] * 3


async def test_ainvoke_and_astream(runner: ScriptedRunner, model: RoleChatModel) -> None:
    runner.default = ScriptedReply("one two", reasoning="hm")
    reply = await model.ainvoke("hi")
    assert [block["type"] for block in reply.content_blocks] == ["reasoning", "text"]
    assert "".join([chunk.text async for chunk in model.astream("hi")]) == "one two"
    await model.client.aclose()


async def test_callbacks_get_each_token_once(runner: ScriptedRunner, model: RoleChatModel) -> None:
    runner.default = "one two three"
    streamed, synchronous, whole = Tokens(), Tokens(), Tokens()
    async for _ in model.astream("hi", {"callbacks": [streamed]}):
        pass
    await asyncio.to_thread(lambda: list(model.stream("hi", {"callbacks": [synchronous]})))
    await model.ainvoke("hi", {"callbacks": [whole]})
    assert [token for token in streamed.seen if token] == ["one", " two", " three"]
    assert synchronous.seen == streamed.seen
    assert "".join(whole.seen) in {"", "one two three"}
    assert (streamed.ended, synchronous.ended, whole.ended) == (1, 1, 1)
    await model.client.aclose()


async def test_a_stream_is_the_same_whether_anybody_listens_or_not(
    runner: ScriptedRunner, model: RoleChatModel
) -> None:
    runner.default = ScriptedReply("<think>hm</think>one two three", usage=(3, 4))
    alone = [chunk async for chunk in model.astream("x")]
    heard = [chunk async for chunk in model.astream("x", {"callbacks": [Tokens()]})]
    for chunks in (alone, heard):
        assert len({chunk.id for chunk in chunks}) == 1
        assert str(chunks[0].id).startswith("lc_run-")
    assert alone[0].id != heard[0].id
    kept = {"id", "response_metadata"}
    assert [c.model_dump(exclude=kept) for c in alone] == [
        c.model_dump(exclude=kept) for c in heard
    ]
    await model.client.aclose()


async def test_a_handler_of_the_model_itself_hears_a_stream(
    runner: ScriptedRunner, model: RoleChatModel
) -> None:
    runner.enqueue(ScriptedReply("one two"))
    handler = Tokens()
    listening = model.model_copy(update={"callbacks": [handler]})
    text = "".join([chunk.text async for chunk in listening.astream("x")])
    assert (text, "".join(handler.seen), handler.ended) == ("one two", "one two", 1)
    await model.client.aclose()


def test_bound_tools_are_offered_and_called(runner: ScriptedRunner, model: RoleChatModel) -> None:
    runner.enqueue(ScriptedReply(tool_calls=[{"name": "clock", "args": {"zone": "UTC"}}]))
    reply = model.bind_tools([clock], tool_choice="any").invoke("time?")
    assert [(c["name"], c["args"]) for c in reply.tool_calls] == [("clock", {"zone": "UTC"})]
    body = runner.calls[0].body
    assert body["tools"][0]["function"]["name"] == "clock"
    assert body["tool_choice"] == "required"


def test_it_stands_in_a_chain(runner: ScriptedRunner, model: RoleChatModel) -> None:
    runner.default = lambda request: f"echo {request.text}"
    chain = ChatPromptTemplate.from_template("say {word}") | model | StrOutputParser()
    assert chain.invoke({"word": "yes"}) == "echo say yes"
    assert "".join(chain.stream({"word": "yes"})) == "echo say yes"


def test_stop_and_temperature_are_passed_on(runner: ScriptedRunner, model: RoleChatModel) -> None:
    model.bind(temperature=0.1, max_tokens=3).invoke("hi", stop=["END"])
    body = runner.calls[0].body
    assert (body["stop"], body["temperature"], body["max_tokens"]) == (["END"], 0.1, 3)


def _with_own(model: RoleChatModel) -> RoleChatModel:
    return RoleChatModel(
        client=model.client, role="coding", temperature=0.2, max_tokens=9, stop=["END"]
    )


def test_its_own_settings_go_with_every_call(runner: ScriptedRunner, model: RoleChatModel) -> None:
    _with_own(model).invoke("hi")
    body = runner.calls[0].body
    assert (body["stop"], body["temperature"], body["max_tokens"]) == (["END"], 0.2, 9)


def test_a_calls_arguments_stand_above_its_own(
    runner: ScriptedRunner, model: RoleChatModel
) -> None:
    _with_own(model).bind(temperature=0.0, max_tokens=2).invoke("hi", stop=["STOP"])
    body = runner.calls[0].body
    assert (body["stop"], body["temperature"], body["max_tokens"]) == (["STOP"], 0.0, 2)


@pytest.mark.parametrize("bound", [True, False], ids=["of the call", "of the model"])
def test_a_time_limit_bounds_a_call_with_its_attempts(
    runner: ScriptedRunner, model: RoleChatModel, bound: bool
) -> None:
    runner.default = ScriptedReply("late", delay_s=30.0)
    own = RoleChatModel(client=model.client, role="coding", timeout=60.0 if bound else 0.5)
    begun = time.monotonic()
    with pytest.raises(RolecallError, match=r"time|finished"):
        (own.bind(timeout=0.5) if bound else own).invoke("hi")
    assert time.monotonic() - begun < 15


def test_a_pydantic_class_gives_instances(runner: ScriptedRunner, model: RoleChatModel) -> None:
    runner.enqueue('{"name": "Ada", "age": 36}')
    assert model.with_structured_output(Person).invoke("who?") == Person(name="Ada", age=36)
    schema = runner.calls[0].schema
    assert schema is not None
    assert set(schema["properties"]) == {"name", "age"}


@pytest.mark.parametrize("schema", [Town, Person.model_json_schema(), clock.args_schema])
async def test_every_form_of_schema_works(
    runner: ScriptedRunner, model: RoleChatModel, schema: Any
) -> None:
    runner.enqueue('Sure!\n```json\n{"name": "Ada", "age": 36, "zone": "UTC",}\n```')
    found = await model.with_structured_output(schema).ainvoke("who?")
    values = found if isinstance(found, dict) else found.model_dump()
    assert values.get("name", values.get("zone")) in {"Ada", "UTC"}
    await model.client.aclose()


def test_an_answer_that_does_not_fit_is_asked_for_once_more(
    runner: ScriptedRunner, model: RoleChatModel
) -> None:
    runner.enqueue('{"name": "Ada"}', '{"name": "Ada", "age": 36}')
    assert model.with_structured_output(Person).invoke("who?") == Person(name="Ada", age=36)
    assert "age" in runner.calls[1].text
    assert len(runner.calls) == 2


@pytest.mark.parametrize("schema", [Person, Person.model_json_schema()])
@pytest.mark.parametrize("answer", ["", "no idea", '{"name": "Ada", "age": "old"}', "[1]"])
def test_an_answer_that_never_fits_is_an_error_not_none(
    runner: ScriptedRunner, model: RoleChatModel, schema: Any, answer: str
) -> None:
    runner.default = answer
    with pytest.raises(ModelCallFailed, match="tiny: its answer does not fit the schema"):
        model.with_structured_output(schema).invoke("who?")
    assert len(runner.calls) == 2


def test_include_raw_reports_instead_of_raising(
    runner: ScriptedRunner, model: RoleChatModel
) -> None:
    structured = model.with_structured_output(Person, include_raw=True)
    runner.enqueue('{"name": "Ada", "age": 36}', "no", "no")
    good, bad = structured.invoke("who?"), structured.invoke("who?")
    assert (good["parsed"], good["parsing_error"]) == (Person(name="Ada", age=36), None)
    assert bad["raw"].text == "no"
    assert bad["parsed"] is None
    assert isinstance(bad["parsing_error"], ModelCallFailed)


def test_an_unknown_argument_is_refused(model: RoleChatModel) -> None:
    with pytest.raises(ValueError, match="tools"):
        model.with_structured_output(Person, tools=[])
    model.with_structured_output(Person, method="function_calling", strict=True)
