"""Responses over each of the three wire APIs: the same items, conversations and events."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any

import pytest
from openai.types.responses import Response as OpenAIResponse
from openai.types.responses import ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from rolecall.errors import (
    AnswerTruncated,
    AnswerUnfit,
    BadInput,
    ModelCallFailed,
    NoModelReachable,
    StateError,
    UnknownResponse,
)
from rolecall.models.scripted import Fault, ScriptedReply, ScriptedRunner

ONE_WIRE = pytest.mark.parametrize("wire", ["chat_completions"], indirect=True)
CALL = {"name": "weather", "args": {"place": "Oslo"}}
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


class Town(BaseModel):
    name: str
    people: int


def kinds(response: Any) -> list[str]:
    return [item.type for item in response.output]


def sent(runner: ScriptedRunner) -> list[tuple[str, str]]:
    """What the model was sent last, in no dialect: who, and what."""
    said = []
    for message in runner.calls[-1].messages:
        content = message.get("content", message.get("output")) or ""
        text = content if isinstance(content, str) else "".join(p["text"] for p in content)
        said.append((message.get("role") or message["type"], text))
    return said


async def events_of(client: Any, *args: Any, into: list[Any] | None = None, **wanted: Any) -> Any:
    seen = [] if into is None else into
    async with aclosing(client.arespond_stream(*args, **wanted)) as stream:
        async for event in stream:
            seen.append(event)
    return seen


# --- one response ---------------------------------------------------------------------------------


async def test_a_response_has_typed_items_usage_and_origin(
    runner: ScriptedRunner, opened: Any, tools: Any
) -> None:
    runner.default = ScriptedReply(
        "I look.",
        reasoning="where?",
        tool_calls=[CALL, {"name": "clock", "args": {}}],
        usage=(11, 7),
    )
    async with opened(runner) as client:
        response = await client.arespond("coding", "Weather?", tools=tools, instructions="Short.")
    OpenAIResponse.model_validate(response.model_dump(), strict=True)
    assert kinds(response) == ["reasoning", "message", "function_call", "function_call"]
    assert response.output[0].content[0].text.strip() == "where?"
    assert response.output_text == "I look."
    calls = response.output[2:]
    assert [(c.name, json.loads(c.arguments)) for c in calls] == [
        ("weather", {"place": "Oslo"}),
        ("clock", {}),
    ]
    assert len({c.call_id for c in calls}) == 2
    assert (response.status, response.error, response.incomplete_details) == (
        "completed",
        None,
        None,
    )
    assert (response.usage.input_tokens, response.usage.total_tokens) == (11, 18)
    assert (response.model, response.role) == ("tiny", "coding")
    assert response.endpoint == runner.endpoint
    assert sent(runner)[0] in [("system", "Short."), ("developer", "Short.")]


async def test_an_answer_cut_off_is_incomplete(runner: ScriptedRunner, opened: Any) -> None:
    runner.default = ScriptedReply("one two", finish_reason="length")
    async with opened(runner) as client:
        response = await client.arespond("coding", "Count.", max_output_tokens=2)
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"
    assert response.output[0].status == "incomplete"
    assert response.output_text == "one two"


async def test_one_call_is_kept_when_parallel_calls_are_not_wanted(
    runner: ScriptedRunner, opened: Any, tools: Any
) -> None:
    runner.default = ScriptedReply(tool_calls=[CALL, {"name": "clock", "args": {}}])
    async with opened(runner) as client:
        response = await client.arespond("coding", "?", tools=tools, parallel_tool_calls=False)
    assert kinds(response) == ["function_call"]


async def test_the_object_under_a_format_is_an_instance(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.default = '{"name": "Oslo", "people": 700000}'
    form = {"type": "json_schema", "name": "town", "schema": Town.model_json_schema()}
    async with opened(runner) as client:
        made = await client.arespond("coding", "Oslo?", text_format=Town)
        plain = await client.arespond("coding", "Oslo?", text_format=form)
        kept = await client.aget_response(made.id)
    assert made.output_parsed == Town(name="Oslo", people=700000)
    assert plain.output_parsed == {"name": "Oslo", "people": 700000}
    assert plain.text.format.name == "town"
    assert runner.calls[0].schema is not None
    assert kept.output_text == made.output_text


@ONE_WIRE
async def test_an_object_that_does_not_fit_is_asked_for_once_more(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.enqueue(
        ScriptedReply('{"name": 5}', usage=(10, 5)),
        ScriptedReply('{"name": "Oslo", "people": 7}', usage=(20, 6)),
    )
    async with opened(runner) as client:
        response = await client.arespond("coding", "Oslo?", text_format=Town)
    assert response.output_parsed == Town(name="Oslo", people=7)
    assert response.usage.input_tokens == 30


@ONE_WIRE
async def test_an_object_that_never_fits_is_an_error_with_what_was_said(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.default = '{"name": 5}'
    async with opened(runner) as client:
        with pytest.raises(AnswerUnfit) as unfit:
            await client.arespond("coding", "Oslo?", text_format=Town)
        runner.default = ScriptedReply('{"name": "Os', finish_reason="length")
        with pytest.raises(AnswerTruncated) as cut:
            await client.arespond("coding", "Oslo?", text_format=Town)
    assert unfit.value.response is not None
    assert unfit.value.response.status == "failed"
    assert unfit.value.response.output_text == '{"name": 5}'
    assert cut.value.response is not None
    assert cut.value.response.status == "incomplete"


@ONE_WIRE
async def test_a_tool_call_under_a_format_is_a_call(
    runner: ScriptedRunner, opened: Any, tools: Any
) -> None:
    runner.default = ScriptedReply(tool_calls=[CALL])
    async with opened(runner) as client:
        response = await client.arespond("coding", "?", tools=tools, text_format=Town)
    assert (kinds(response), response.output_parsed) == (["function_call"], None)
    assert len(runner.calls) == 1


# --- conversations --------------------------------------------------------------------------------


async def test_a_conversation_goes_on_without_the_old_instructions(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.enqueue(ScriptedReply("Paris.", reasoning="France has"), "Two million.", "Yes.")
    async with opened(runner) as client:
        one = await client.arespond("coding", "Capital of France?", instructions="Be brief.")
        two = await client.arespond("coding", "People?", previous_response_id=one.id)
        assert sent(runner) == [
            ("user", "Capital of France?"),
            ("assistant", "Paris."),
            ("user", "People?"),
        ]
        await client.arespond(
            "coding", "Sure?", previous_response_id=two.id, instructions="Be kind."
        )
    assert [text for _, text in sent(runner)] == [
        "Be kind.",
        "Capital of France?",
        "Paris.",
        "People?",
        "Two million.",
        "Sure?",
    ]
    assert two.previous_response_id == one.id
    assert "France has" not in json.dumps(runner.calls[-1].body)


async def test_tool_results_go_back_behind_their_calls(
    runner: ScriptedRunner, opened: Any, tools: Any
) -> None:
    runner.enqueue(
        ScriptedReply(tool_calls=[CALL, {"name": "clock", "args": {}}]), "It rains at noon."
    )
    async with opened(runner) as client:
        asked = await client.arespond("coding", "Weather?", tools=tools)
        results = [
            {"role": "user", "content": "Hurry."},
            *(
                {"type": "function_call_output", "call_id": c.call_id, "output": f"{c.name}!"}
                for c in reversed(asked.output)
            ),
        ]
        answer = await client.arespond(
            "coding", results, previous_response_id=asked.id, tools=tools
        )
    assert answer.output_text == "It rains at noon."
    texts = [text for _, text in sent(runner) if text]
    assert texts == ["Weather?", "weather!", "clock!", "Hurry."]


async def test_the_output_of_a_response_is_taken_as_input(
    runner: ScriptedRunner, opened: Any, tools: Any
) -> None:
    runner.enqueue(ScriptedReply("Hm.", reasoning="so", tool_calls=[CALL]), "Rain.")
    async with opened(runner) as client:
        asked = await client.arespond("coding", "Weather?", tools=tools, store=False)
        call = asked.output[-1]
        done = {"type": "function_call_output", "call_id": call.call_id, "output": "wet"}
        given = [{"role": "user", "content": "Weather?"}, *asked.output, done]
        answer = await client.arespond("coding", given, tools=tools)
    assert answer.output_text == "Rain."
    assert [text for _, text in sent(runner) if text] == ["Weather?", "Hm.", "wet"]


@ONE_WIRE
async def test_a_call_without_a_result_is_told_of_before_anything_is_called(
    runner: ScriptedRunner, opened: Any, tools: Any
) -> None:
    runner.default = ScriptedReply(tool_calls=[CALL])
    async with opened(runner) as client:
        asked = await client.arespond("coding", "Weather?", tools=tools)
        with pytest.raises(BadInput, match=asked.output[0].call_id):
            await client.arespond("coding", "Well?", previous_response_id=asked.id)
    assert len(runner.calls) == 1


@ONE_WIRE
async def test_what_is_not_stored_cannot_be_continued(runner: ScriptedRunner, opened: Any) -> None:
    async with opened(runner) as client:
        unkept = await client.arespond("coding", "Hello", store=False)
        kept = await client.arespond("coding", "Hello")
        await client.adelete_response(kept.id)
        for identity in (unkept.id, kept.id, "resp_never"):
            with pytest.raises(UnknownResponse, match="store=False"):
                await client.arespond("coding", "More", previous_response_id=identity)
            with pytest.raises(UnknownResponse):
                await client.aget_response(identity)
    assert len(runner.calls) == 2


@ONE_WIRE
async def test_one_response_can_be_continued_in_several_ways_at_once(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.default = lambda request: f"on {request.text}"
    async with opened(runner) as client:
        root = await client.arespond("coding", "root")

        async def grow(name: str) -> list[str]:
            last = root
            for step in range(3):
                last = await client.arespond(
                    "coding", f"{name}{step}", previous_response_id=last.id
                )
            chain = await client._responder._store.conversation(last.id)
            return [i["content"] for i in chain if i.get("role") == "user"]

        grown = await asyncio.gather(*(grow(name) for name in "abcdef"))
    assert grown == [["root", *(f"{name}{step}" for step in range(3))] for name in "abcdef"]


def test_the_synchronous_calls_share_the_store_with_the_async_ones(
    runner: ScriptedRunner, wire: Any, client_of: Any, spec_of: Any
) -> None:
    client = client_of(spec_of(runner, api=wire.api))
    one = client.respond("coding", "Hello")
    client.close()
    last = list(client.respond_stream("coding", "More", previous_response_id=one.id))[-1]
    assert last.type == "response.completed"
    assert client.get_response(last.response.id).previous_response_id == one.id
    client.delete_response(one.id)
    with pytest.raises(UnknownResponse, match="was deleted"):
        client.respond("coding", "More", previous_response_id=last.response.id)
    client.close()


# --- streams --------------------------------------------------------------------------------------


async def test_a_stream_brings_the_documented_events_in_order(
    runner: ScriptedRunner, opened: Any, tools: Any
) -> None:
    runner.default = ScriptedReply("It rains", reasoning="look out", tool_calls=[CALL])
    async with opened(runner) as client:
        events = await events_of(client, "coding", "Weather?", tools=tools)
        kept = await client.aget_response(events[-1].response.id)
    for event in events:
        EVENT.validate_python(event.model_dump())
    assert [event.sequence_number for event in events] == list(range(len(events)))
    names = [event.type.removeprefix("response.") for event in events]
    assert [name for name in names if not name.endswith("delta")] == [
        "created", "in_progress",
        "output_item.added", "content_part.added",
        "output_item.added", "content_part.added",
        "reasoning_text.done", "content_part.done", "output_item.done",
        "output_text.done", "content_part.done", "output_item.done",
        "output_item.added", "function_call_arguments.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == "It rains"
    ended = [e.item for e in events if e.type == "response.output_item.done"]
    assert [item.to_dict() for item in ended] == [i.to_dict() for i in events[-1].response.output]
    assert kept.output == events[-1].response.output


@ONE_WIRE
async def test_a_stream_that_breaks_off_keeps_what_came(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.default = ScriptedReply("one two three", fault=Fault("cut_stream", after=2))
    seen: list[Any] = []
    async with opened(runner) as client:
        with pytest.raises(ModelCallFailed) as broken:
            await events_of(client, "coding", "Count.", into=seen)
        failed = broken.value.response
        assert failed is not None
        kept = await client.aget_response(failed.id)
    assert (seen[-1].type, seen[-1].response.id) == ("response.failed", failed.id)
    assert kept.status == "failed"
    assert kept.error is not None
    assert kept.output_text == "one two"
    assert kept.error.message == str(broken.value)


@ONE_WIRE
async def test_a_whole_response_that_breaks_off_keeps_what_came(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.default = ScriptedReply("one two three", fault=Fault("cut_stream", after=2))
    async with opened(runner) as client:
        with pytest.raises(ModelCallFailed) as broken:
            await client.arespond("coding", "Count.")
    assert broken.value.response is not None
    assert broken.value.response.output_text == "one two"


@ONE_WIRE
async def test_a_stream_left_early_ends_the_call_and_stores_nothing(
    runner: ScriptedRunner, opened: Any, rolecall_home: Any
) -> None:
    runner.default = ScriptedReply("a b c d", chunk_delay_s=0.4)
    async with opened(runner) as client:
        async with aclosing(client.arespond_stream("coding", "Go.")) as stream:
            async for event in stream:
                if event.type == "response.output_text.delta":
                    break
        for _ in range(300):
            if runner.cancelled:
                break
            await asyncio.sleep(0.01)
        rows = await client._responder._store._run(
            lambda db: db.execute("SELECT count(*) FROM responses").fetchone()[0]
        )
    assert (runner.cancelled, rows) == (1, 0)


@ONE_WIRE
async def test_an_object_that_streamed_is_checked_at_the_end(
    runner: ScriptedRunner, opened: Any
) -> None:
    runner.enqueue('{"name": "Oslo", "people": 7}', '{"name": "Oslo"}')
    async with opened(runner) as client:
        events = await events_of(client, "coding", "Oslo?", text_format=Town)
        assert events[-1].response.output_parsed == Town(name="Oslo", people=7)
        with pytest.raises(AnswerUnfit, match="people"):
            await events_of(client, "coding", "Oslo?", text_format=Town)


# --- what goes wrong ------------------------------------------------------------------------------


@ONE_WIRE
async def test_no_model_means_the_error_of_chat(runner: ScriptedRunner, opened: Any) -> None:
    runner.default = ScriptedReply(fault=400)
    async with opened(runner) as client:
        with pytest.raises(NoModelReachable) as unreachable:
            await client.arespond("coding", "Hello")
    assert unreachable.value.response is None


@ONE_WIRE
async def test_an_answer_that_cannot_be_stored_is_in_the_error(
    runner: ScriptedRunner, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(runner) as client:
        await client.arespond("coding", "Hello")

        async def full(*_: Any) -> None:
            raise StateError("the disk is full")

        monkeypatch.setattr(client._responder._store, "save", full)
        with pytest.raises(StateError, match="disk is full") as unsaved:
            await client.arespond("coding", "Hello")
    assert unsaved.value.response is not None
    assert unsaved.value.response.output_text == "ok"


@ONE_WIRE
@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"tools": [{"type": "web_search"}]}, "web_search"),
        ({"tool_choice": "clock"}, "no such tool"),
        ({"tool_choice": "required"}, "no such tool"),
        ({"max_output_tokens": 0}, "more than 0"),
        ({"deadline_s": -1}, "more than 0"),
        ({"text_format": {"type": "json_schema"}}, "needs 'schema'"),
        ({"text_format": "json"}, "neither a class nor a schema"),
        ({"metadata": {"a": 1}}, "texts by name"),
        ({"background": True}, "background"),
    ],
)
async def test_what_no_local_model_can_do_is_refused_at_once(
    runner: ScriptedRunner, opened: Any, wanted: dict[str, Any], says: str
) -> None:
    async with opened(runner) as client:
        with pytest.raises(BadInput, match=says):
            await client.arespond("coding", "Hello", **wanted)
    assert runner.calls == []


@ONE_WIRE
async def test_the_deadline_bounds_the_whole_call(runner: ScriptedRunner, opened: Any) -> None:
    runner.default = ScriptedReply("late", delay_s=10)
    started = asyncio.get_running_loop().time()
    async with opened(runner) as client:
        with pytest.raises((NoModelReachable, ModelCallFailed)):
            await client.arespond("coding", "Hello", deadline_s=0.3)
    assert asyncio.get_running_loop().time() - started < 5


@ONE_WIRE
async def test_what_is_not_stored_needs_no_store(
    runner: ScriptedRunner, opened: Any, rolecall_home: Any
) -> None:
    rolecall_home.mkdir(parents=True, exist_ok=True)
    (rolecall_home / "responses.db").write_bytes(b"no database" * 1000)
    async with opened(runner) as client:
        assert (await client.arespond("coding", "hi", store=False)).output_text == "ok"
        with pytest.raises(StateError, match="damaged"):
            await client.arespond("coding", "hi")
