"""Structured output: the way that a runner obeys, one repair, and no cut answer taken for whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from rolecall.config.schema import ModelSpec
from rolecall.errors import AnswerTruncated, AnswerUnfit, ModelCallFailed, UsageError
from rolecall.models.capabilities import ApiSeen, Capability
from rolecall.models.endpoint import Address
from rolecall.models.schema_modes import Form, SchemaModes, Way
from rolecall.models.scripted import Request, ScriptedReply, ScriptedRunner
from rolecall.models.text.redaction import Redactor
from rolecall.models.wire import CallOptions, Wire, open_wire

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"


class Person(BaseModel):
    """A person."""

    name: str
    age: int


ADA = Person(name="Ada", age=36)
JSON_ADA = '{"name": "Ada", "age": 36}'


def form_of(request: Request) -> str:
    """How a request asks for a schema."""
    form = request.body.get("response_format") or (request.body.get("text") or {}).get("format")
    form = form or request.body.get("format")
    if isinstance(form, dict):
        return str(form.get("type")) if "properties" not in form else "json_schema"
    return {"json": "json_object"}.get(str(form), "text")


def refusing(*forms: str) -> Any:
    """A runner that answers 400 to these, else as it should."""

    def rule(request: Request) -> ScriptedReply:
        form = form_of(request)
        if form == "json_schema" and "pattern" in json.dumps(request.schema):
            form = "pattern"
        return ScriptedReply(fault=400) if form in forms else ScriptedReply(JSON_ADA)

    return rule


async def test_a_schema_that_is_refused_is_put_in_simpler_ways(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.default = refusing("pattern", "json_schema", "json_object")
    async with opened(runner) as client:
        model = client.chat_model("coding").with_structured_output(Person)
        assert await model.ainvoke("who?") == ADA
        forms = [form_of(request) for request in runner.calls]
        assert forms[0] == "json_schema"
        assert forms[-1] == "text"
        assert "json_object" in forms
        assert '"age"' in runner.calls[-1].text  # the model is told what the runner is not
        seen = len(runner.calls)
        assert await model.ainvoke("who?") == ADA
        assert len(runner.calls) == seen + 1  # what was refused is not tried again


@pytest.mark.parametrize("wire", ["chat_completions"], indirect=True)
async def test_a_pattern_that_the_runner_cannot_read_is_left_out(
    runner: ScriptedRunner, opened: Any
) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "pattern": "^A"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    }
    runner.default = refusing("pattern")
    async with opened(runner) as client:
        model = client.chat_model("coding").with_structured_output(schema)
        assert await model.ainvoke("who?") == {"name": "Ada", "age": 36}
    assert [form_of(request) for request in runner.calls] == ["json_schema", "json_schema"]
    assert runner.calls[-1].schema is not None
    assert "pattern" not in json.dumps(runner.calls[-1].schema)


@pytest.mark.parametrize("wire", ["responses"], indirect=True)
async def test_a_responses_path_that_ignores_schemas_is_left_for_one_that_obeys(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.default = lambda request: (
        "Ada, who is 36." if request.path == RESPONSES else ScriptedReply(JSON_ADA)
    )
    async with opened(runner) as client:
        model = client.chat_model("coding").with_structured_output(Person)
        assert await model.ainvoke("who?") == ADA
        assert [request.path for request in runner.calls] == [RESPONSES, CHAT]
        assert await model.ainvoke("who?") == ADA
        assert [request.path for request in runner.calls] == [RESPONSES, CHAT, CHAT]
        plain = await client.achat("coding", [("user", "hello")])
    assert plain.text == "Ada, who is 36."  # only calls with a schema change the path


async def test_a_runner_that_ignores_every_way_gets_one_repair(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.enqueue("Ada", "Her name is Ada.\n```json\n" + JSON_ADA + "\n```")
    async with opened(runner) as client:
        model = client.chat_model("coding").with_structured_output(Person, include_raw=True)
        answer = await model.ainvoke("who?")
    assert answer["parsed"] == ADA
    note = answer["raw"].response_metadata["structured"]
    assert note == {"attempts": 2, "why": "no JSON in the answer"}
    assert '"age"' in runner.calls[-1].text


async def test_a_schema_may_go_without_validation(runner: ScriptedRunner, opened: Any) -> None:
    runner.default = "no JSON at all"
    async with opened(runner) as client:
        options = CallOptions(schema=Person.model_json_schema())
        assert (await client.achat("coding", ["who?"], options=options)).text == "no JSON at all"


async def test_what_is_no_schema_is_refused_without_a_call(
    runner: ScriptedRunner, opened: Any
) -> None:
    async with opened(runner) as client:
        with pytest.raises(UsageError, match="not a JSON schema"):
            await client.achat("coding", ["who?"], options=CallOptions(schema={"type": "x"}))
    assert not runner.calls


async def test_an_answer_whose_end_is_held_back_is_judged_whole(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.default = JSON_ADA  # its end is held back until the stream is over
    async with opened(runner) as client:
        redactor = Redactor([r"36\} and more"])
        model = client.chat_model("coding", redactor=redactor).with_structured_output(Person)
        for _ in range(3):
            assert await model.ainvoke("who?") == ADA
    assert [form_of(request) for request in runner.calls] == ["json_schema"] * 3


async def test_a_cut_answer_is_an_error_of_its_own_and_is_not_asked_for_again(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.default = ScriptedReply('{"name": "Ada", "age": 3', finish_reason="length")
    async with opened(runner) as client:
        model = client.chat_model("coding").with_structured_output(Person)
        with pytest.raises(AnswerTruncated, match="max_tokens") as caught:
            await model.ainvoke("who?")
    assert caught.value.partial == '{"name": "Ada", "age": 3'
    assert len(runner.calls) == 1


async def test_an_answer_that_went_round_is_asked_for_once_more_with_bounds(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.enqueue(ScriptedReply('{"name": "' + "Ada Ada " * 80, finish_reason="length"), JSON_ADA)
    async with opened(runner) as client:
        model = client.chat_model("coding").with_structured_output(Person)
        assert await model.ainvoke("who?") == ADA
    first, second = (request.schema or {} for request in runner.calls)
    assert "maxLength" not in first["properties"]["name"]
    assert second["properties"]["name"]["maxLength"] > 0


async def test_an_answer_that_goes_round_twice_is_truncated(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.default = ScriptedReply('{"name": "' + "Ada Ada " * 80, finish_reason="length")
    async with opened(runner) as client:
        model = client.chat_model("coding").with_structured_output(Person)
        with pytest.raises(AnswerTruncated, match="round in circles"):
            await model.ainvoke("who?")
    assert len(runner.calls) == 2


async def test_a_repair_that_does_not_fit_either_is_an_error(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.default = '{"name": "Ada"}'
    async with opened(runner) as client:
        model = client.chat_model("coding").with_structured_output(Person)
        with pytest.raises(AnswerUnfit, match="age: Field required") as caught:
            await model.ainvoke("who?")
    assert isinstance(caught.value, ModelCallFailed)
    assert caught.value.partial == '{"name": "Ada"}'
    assert len(runner.calls) == 2


async def test_a_map_whose_keys_do_not_fit_is_asked_for_as_entries(
    runner: ScriptedRunner, opened: Any
) -> None:
    schema = {
        "type": "object",
        "patternProperties": {"^bay-[0-9]+$": {"type": "string"}},
        "additionalProperties": False,
    }
    runner.enqueue('{"1": "Ada"}', '{"entries": [{"key": "bay-1", "value": "Ada"}]}')
    async with opened(runner) as client:
        model = client.chat_model("coding").with_structured_output(schema, include_raw=True)
        answer = await model.ainvoke("who?")
    assert answer["parsed"] == {"bay-1": "Ada"}
    assert json.loads(answer["raw"].text) == answer["parsed"]
    assert "bay-[0-9]+" in runner.calls[-1].text
    sent = json.dumps(runner.calls[-1].schema)
    assert '"pattern": "^bay-[0-9]+$"' in sent


async def test_a_repair_that_keeps_to_the_first_words_is_taken_too(
    runner: ScriptedRunner, opened: Any
) -> None:
    schema = {"type": "object", "minProperties": 1}
    runner.enqueue("{}", '{"a": 1}')
    async with opened(runner) as client:
        model = client.chat_model("coding").with_structured_output(schema)
        assert await model.ainvoke("who?") == {"a": 1}


async def test_an_answer_that_only_breaks_a_bound_does_not_condemn_the_way(
    runner: ScriptedRunner, opened: Any
) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "number", "maximum": 5}}}
    schema["required"] = ["n"]
    runner.enqueue('{"n": 7}', '{"n": 5}')
    async with opened(runner) as client:
        model = client.chat_model("coding").with_structured_output(schema)
        assert await model.ainvoke("how many?") == {"n": 5}
    assert [form_of(request) for request in runner.calls] == ["json_schema", "json_schema"]


async def test_a_refusal_for_another_reason_ends_the_call_and_is_forgotten(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.default = ScriptedReply(fault=400)
    async with opened(runner) as client:
        model = client.chat_model("coding").with_structured_output(Person)
        with pytest.raises(Exception, match="400"):
            await model.ainvoke("who?")
        runner.default, count = JSON_ADA, len(runner.calls)
        assert await model.ainvoke("who?") == ADA
    assert [form_of(request) for request in runner.calls[count:]] == ["json_schema"]


@pytest.mark.parametrize("wire", ["chat_completions"], indirect=True)
def test_what_is_no_schema_is_refused_before_any_call(
    runner: ScriptedRunner, spec_of: Any, client_of: Any
) -> None:
    client = client_of(spec_of(runner))
    with pytest.raises(UsageError, match="not a JSON schema"):
        client.chat_model("coding").with_structured_output({"type": "nonsense"})
    assert not runner.calls


def _wire(spec: ModelSpec, seen: Capability | None = None) -> Wire:
    return open_wire(spec, Address("http://127.0.0.1:9", None), seen)


async def test_what_doctor_measured_is_obeyed_before_anything_is_tried() -> None:
    spec = ModelSpec(id="tiny", endpoint="http://127.0.0.1:9", api="responses")
    options = CallOptions(schema={"type": "object"})
    apis = {"responses": ApiSeen(json_schema=False), "chat_completions": ApiSeen(json_schema=True)}
    seen = Capability(
        endpoint=spec.endpoint, model="tiny", fingerprint="f", apis=apis, measured_at=0.0
    )
    for known, way in (
        (None, Way("responses", Form.SCHEMA)),
        (seen, Way("chat_completions", Form.SCHEMA)),
    ):
        wire = _wire(spec, known)
        plan = SchemaModes().plan(spec, wire, options)
        await wire.close()
        assert plan is not None
        assert plan.way == way


async def test_the_embedded_runner_is_asked_where_it_obeys() -> None:
    spec = ModelSpec(id="tiny", endpoint="embedded", api="responses")
    wire = _wire(spec)
    plan = SchemaModes().plan(spec, wire, CallOptions(schema={"type": "object"}))
    await wire.close()
    assert plan is not None
    assert plan.way == Way("chat_completions", Form.SCHEMA)


async def test_a_way_that_two_schemas_broke_is_not_tried_for_a_third() -> None:
    spec = ModelSpec(id="tiny", endpoint="http://127.0.0.1:9")
    wire, modes = _wire(spec), SchemaModes()
    for name in ("a", "b", "c"):
        plan = modes.plan(spec, wire, CallOptions(schema={"type": "object", "required": [name]}))
        assert plan is not None
        if name != "c":
            assert plan.way.form is Form.SCHEMA
            modes.judge(plan, "prose", "stop")
    await wire.close()
    assert plan.way.form is Form.JSON
