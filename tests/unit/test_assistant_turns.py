"""A turn from question to answer: asked, streamed and awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from rolecall import bridge
from rolecall.assistant import Assistant
from rolecall.errors import BadInput, UnknownRole, UsageError
from rolecall.models.scripted import ScriptedReply, ScriptedRunner
from rolecall.reply import Part

# --- one turn -------------------------------------------------------------------------------------


def test_a_handled_question_is_answered_by_the_router_model(
    assistant: Assistant, brain: Any
) -> None:
    brain.say(ScriptedReply("Lima.", usage=(11, 2)))
    reply = assistant.ask("What is the capital of Peru?", thread="t1")
    assert (reply.text, reply.thread_id, reply.error) == ("Lima.", "t1", None)
    assert reply.path == ["init", "router", "answer", "synthesis"]
    assert reply.decision is not None
    assert reply.decision["routing_decision"] == "HANDLE"
    assert reply.decision["target_model"] is None
    assert reply.decision["confidence"] > 0.9
    assert reply.strategy == "llm"
    last = reply.calls[-1]
    assert (last["role"], last["model"], last["status"]) == ("router", "router-model", "ok")
    assert (last["input_tokens"], last["output_tokens"]) == (11, 2)
    assert reply.usage["output_tokens"] == sum(c["output_tokens"] for c in reply.calls)
    assert 0 <= reply.timings_ms["overhead"] <= reply.timings_ms["total"]
    assert last["ttft_ms"] <= last["latency_ms"] <= reply.timings_ms["total"]
    assert reply.finish_reason == "stop"


@pytest.mark.parametrize("role", ["reasoning", "coding"])
def test_a_delegated_question_is_answered_by_its_specialist(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, role: str
) -> None:
    brain.route = role.upper()
    reply = assistant.ask("Something harder")
    assert reply.path == ["init", "router", role, "synthesis"]
    assert reply.decision is not None
    assert reply.decision["routing_decision"] == "DELEGATE"
    assert reply.decision["target_model"] == role.upper()
    assert runner.calls[-1].model == f"{role}-model"


def test_the_json_form_has_exactly_the_keys_of_the_design(assistant: Assistant, brain: Any) -> None:
    shown = assistant.ask("Hello").as_json()
    assert set(shown) == {
        *("thread_id", "turn_id", "trace_id", "answer", "reasoning", "decision", "strategy"),
        *("path", "calls", "timings_ms", "finish_reason", "error", "waiting_for"),
    }
    assert set(shown["decision"]) == {"routing_decision", "target_model", "confidence", "reason"}
    assert set(shown["timings_ms"]) == {"total", "overhead"}
    assert set(shown["calls"][-1]) == {
        *("role", "model", "endpoint", "api", "status", "attempt"),
        *("input_tokens", "output_tokens", "ttft_ms", "latency_ms"),
    }


def test_a_conversation_goes_on_with_what_was_said(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, said_to: Any
) -> None:
    brain.say("Merge sort.", "sort_by is stable.")
    assistant.ask("Which sort is stable?", thread="t1")
    assistant.ask("And in Rust?", thread="t1")
    assert said_to(runner.calls[-1]) == [
        ("user", "Which sort is stable?"),
        ("assistant", "Merge sort."),
        ("user", "And in Rust?"),
    ]


def test_threads_do_not_see_each_other(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, said_to: Any
) -> None:
    assistant.ask("one", thread="a")
    assistant.ask("two", thread="b")
    assert said_to(runner.calls[-1]) == [("user", "two")]
    made_up = {assistant.ask("three").thread_id for _ in range(3)}
    assert len(made_up) == 3


def test_a_conversation_goes_on_in_another_assistant(
    opened: Any, brain: Any, runner: ScriptedRunner, said_to: Any
) -> None:
    with opened() as first:
        first.ask("one", thread="t")
    with opened() as second:
        second.ask("two", thread="t")
    assert ("user", "one") in said_to(runner.calls[-1])


def test_a_role_fixed_by_the_user_is_not_routed(assistant: Assistant, brain: Any) -> None:
    reply = assistant.ask("Hello", role="coding")
    assert brain.routed == 0
    assert reply.strategy == "fixed"
    assert reply.decision == {
        "routing_decision": "DELEGATE",
        "target_model": "CODING",
        "confidence": 1.0,
        "reason": "chosen by the user",
    }
    assistant.ask("Hello again", thread=reply.thread_id)
    assert brain.routed == 1  # it was fixed for one turn only


def test_what_cannot_be_accepted_saves_nothing(assistant: Assistant, brain: Any) -> None:
    with pytest.raises(UnknownRole, match="router, reasoning, coding"):
        assistant.ask("Hello", role="legal")
    for question in ("", "  \n", "x" * 200_001, "bad \ud800"):
        with pytest.raises(BadInput):
            assistant.ask(question, thread="t")
    for thread in ("", "../x", "a b", "x" * 65, "-x"):
        with pytest.raises(UsageError):
            assistant.ask("Hello", thread=thread or " ")
    assert bridge.run(assistant.transcript.threads()) == []


def test_a_turn_and_its_trace_are_on_disk(assistant: Assistant, brain: Any, turns: Any) -> None:
    from rolecall.telemetry.open import open_traces

    brain.say("Lima.")
    reply = assistant.ask("Capital of Peru?", thread="t1")
    (turn,) = turns(assistant, "t1")
    assert (turn["question"], turn["answer"], turn["status"]) == (
        "Capital of Peru?",
        "Lima.",
        "done",
    )
    assert turn["decision"] == reply.decision
    assistant.flush()
    trace = open_traces().show(reply.trace_id[:8])
    assert (trace["turn"]["status"], trace["turn"]["answer"]) == ("done", "Lima.")
    assert [c["status"] for c in trace["model_calls"]] == ["ok"] * len(reply.calls)
    assert trace["decisions"][0]["routing_decision"] == "HANDLE"


# --- streaming ------------------------------------------------------------------------------------


def test_parts_come_in_order(assistant: Assistant, brain: Any) -> None:
    brain.route = "CODING"
    brain.say(ScriptedReply(tool_calls=[{"name": "calculator", "args": {"expression": "6*7"}}]))
    brain.say("It is 42.")
    parts = list(assistant.stream("What is 6*7?", thread="t"))
    kinds = [p.type for p in parts]
    assert (kinds[0], kinds[-1]) == ("started", "finished")
    order = ["decision", "tool_started", "tool_finished", "text", "finished"]
    assert [k for k in dict.fromkeys(kinds) if k in order] == order
    assert "".join(p.text for p in parts if p.type == "text") == "It is 42."
    assert [p.data["node"] for p in parts if p.type == "node"] == parts[-1].data["reply"].path
    assert "answer" not in kinds


def test_text_arrives_before_the_answer_is_complete(assistant: Assistant, brain: Any) -> None:
    brain.say(ScriptedReply("one two three four five six", chunk_delay_s=0.1))
    seen: list[float] = []
    for part in assistant.stream("count", role="reasoning"):
        if part.type == "text":
            seen.append(time.monotonic())
    assert seen[-1] - seen[0] > 0.25


def test_leaving_a_stream_early_interrupts_the_turn(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, turns: Any
) -> None:
    brain.say(ScriptedReply("one two three", chunk_delay_s=0.5), "done now")
    stream = assistant.stream("count", thread="t", role="reasoning")
    for part in stream:
        if part.type == "text":
            break
    stream.close()  # type: ignore[attr-defined]
    (turn,) = turns(assistant, "t")
    assert turn["status"] == "interrupted"
    assert assistant.resume("t").text == "done now"
    (turn,) = turns(assistant, "t")
    assert (turn["status"], turn["error"]) == ("done", None)
    assert runner.cancelled == 1


# --- asynchronous ---------------------------------------------------------------------------------


@asynccontextmanager
async def _closing(source: AsyncIterator[Part]) -> AsyncIterator[AsyncIterator[Part]]:
    try:
        yield source
    finally:
        await source.aclose()  # type: ignore[attr-defined]


async def test_it_is_awaited_from_a_loop_of_ones_own(assistant: Assistant, brain: Any) -> None:
    brain.say("one", "two")
    assert (await assistant.aask("first", "t", "reasoning")).text == "one"
    kinds = [part.type async for part in assistant.astream("second", "t", "reasoning")]
    assert (kinds[0], kinds[-1]) == ("started", "finished")
    with pytest.raises(UsageError):
        await assistant.aresume("t")


async def test_several_threads_at_once(assistant: Assistant, brain: Any) -> None:
    brain.default = ScriptedReply("ok", delay_s=0.2)
    started = time.monotonic()
    replies = await asyncio.gather(
        *(assistant.aask(f"q{n}", f"t{n}", "reasoning") for n in range(4))
    )
    assert [r.text for r in replies] == ["ok"] * 4
    assert time.monotonic() - started < 3


async def test_leaving_an_async_stream_early_saves_the_turn_before_it_returns(
    assistant: Assistant, brain: Any, turns: Any
) -> None:
    brain.say(ScriptedReply("one two three", chunk_delay_s=0.5), "whole")
    async with _closing(assistant.astream("count", "t", "reasoning")) as stream:
        async for part in stream:
            if part.type == "text":
                break
    (turn,) = await asyncio.to_thread(turns, assistant, "t")
    assert turn["status"] == "interrupted"
    assert (await assistant.aresume("t")).text == "whole"


async def test_a_cancelled_task_interrupts_its_turn(
    assistant: Assistant, brain: Any, turns: Any
) -> None:
    brain.say(ScriptedReply("late", delay_s=10), "whole")
    task = asyncio.create_task(assistant.aask("hello", "t", "reasoning"))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await asyncio.to_thread(turns, assistant, "t"))[0]["status"] == "interrupted"
    assert (await assistant.aresume("t")).text == "whole"


def test_closing_twice_is_fine(runner: ScriptedRunner, stack_for: Any) -> None:
    assistant = Assistant.open(stack_for(runner))
    assistant.close()
    assistant.close()
