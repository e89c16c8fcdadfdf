"""A turn from question to answer: what it gives back, saves, resumes and refuses."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from rolecall import bridge
from rolecall.assistant import Assistant
from rolecall.errors import (
    BadInput,
    NoModelReachable,
    StateError,
    ThreadBusy,
    TurnFailed,
    UnknownRole,
    UnknownThread,
    UsageError,
)
from rolecall.models.scripted import Request, ScriptedReply, ScriptedRunner
from rolecall.reply import Part, Reply

TOOLS = '''
import os, time
from pathlib import Path
from langgraph.types import interrupt

def ask_user(question: str) -> str:
    """Ask the user.

    Args:
        question: what to ask.
    """
    return "the user said " + str(interrupt(question))

def count(label: str) -> str:
    """Count calls.

    Args:
        label: which counter.
    """
    path = Path(os.environ["ROLECALL_HOME"]) / f"count-{label}"
    with path.open("a") as file:
        file.write("x")
    return f"{label} counted"

def broken(why: str) -> str:
    """Fail.

    Args:
        why: the message.
    """
    raise ValueError(why)

def leave(code: int) -> str:
    """Exit.

    Args:
        code: the exit code.
    """
    raise SystemExit(code)

def dawdle(seconds: float) -> str:
    """Wait.

    Args:
        seconds: how long.
    """
    time.sleep(seconds)
    return "waited"
'''
FIXED = {"routing": {"strategy": "fixed", "role": "reasoning"}}


def call(name: str, **args: Any) -> ScriptedReply:
    return ScriptedReply(tool_calls=[{"name": name, "args": args}])


def said_to(request: Request) -> list[tuple[str, str]]:
    """Roles and texts of what a model was sent, without the system prompt."""
    return [
        (str(m["role"]), m.get("content") or "") for m in request.messages if m["role"] != "system"
    ]


def tool_results(request: Request) -> list[str]:
    return [text for role, text in said_to(request) if role == "tool"]


def turns(assistant: Assistant, thread: str, **more: Any) -> list[dict[str, Any]]:
    return bridge.run(assistant.transcript.turns(thread, **more))


def counted(home: Path, label: str) -> int:
    path = home / f"count-{label}"
    return len(path.read_text()) if path.exists() else 0


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "user-tools"
    folder.mkdir()
    (folder / "mine.py").write_text(TOOLS, encoding="utf-8")
    return {"tools_folder": str(folder)}


@pytest.fixture
def assistant(runner: ScriptedRunner, stack_for: Any, settings: Any) -> Iterator[Assistant]:
    with Assistant.open(stack_for(runner, settings)) as opened:
        yield opened


@pytest.fixture
def opened(runner: ScriptedRunner, stack_for: Any, settings: Any) -> Callable[..., Any]:
    """An assistant with other settings."""

    @contextmanager
    def open_with(more: dict[str, Any] | None = None, **model: Any) -> Iterator[Assistant]:
        with Assistant.open(stack_for(runner, settings | (more or {}), **model)) as one:
            yield one

    return open_with


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
    assistant: Assistant, brain: Any, runner: ScriptedRunner
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
    assistant: Assistant, brain: Any, runner: ScriptedRunner
) -> None:
    assistant.ask("one", thread="a")
    assistant.ask("two", thread="b")
    assert said_to(runner.calls[-1]) == [("user", "two")]
    made_up = {assistant.ask("three").thread_id for _ in range(3)}
    assert len(made_up) == 3


def test_a_conversation_goes_on_in_another_assistant(
    opened: Any, brain: Any, runner: ScriptedRunner
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


def test_a_turn_and_its_trace_are_on_disk(assistant: Assistant, brain: Any) -> None:
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
    assistant: Assistant, brain: Any, runner: ScriptedRunner
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


# --- failing and resuming -------------------------------------------------------------------------


def test_a_failed_turn_resumes_without_repeating_what_was_done(
    assistant: Assistant, brain: Any, runner: ScriptedRunner
) -> None:
    brain.route = "CODING"
    brain.say(*[ScriptedReply(fault=500)] * 2, "finally")
    with pytest.raises(NoModelReachable) as failed:
        assistant.ask("Write a sort", thread="t")
    assert "rolecall resume t" in str(failed.value)
    assert failed.value.reply is not None
    assert failed.value.reply.path == ["init", "router"]
    (saved,) = turns(assistant, "t")
    assert saved["status"] == "failed"
    assert "500" in saved["error"]
    reply = assistant.resume("t")
    assert (reply.text, reply.turn_id) == ("finally", saved["turn_id"])
    assert reply.path == ["coding", "synthesis"]
    assert brain.routed == 1
    (done,) = turns(assistant, "t")
    assert (done["status"], done["answer"], done["error"]) == ("done", "finally", None)
    assert said_to(runner.calls[-1]) == [("user", "Write a sort")]


def test_a_runner_that_was_down_is_asked_again_on_resume(stack_for: Any, brain: Any) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    stack = stack_for(f"http://127.0.0.1:{port}/v1", FIXED)
    with Assistant.open(stack) as assistant:
        with pytest.raises(NoModelReachable, match="nothing answers there") as failed:
            assistant.ask("Hello", thread="t")
        assert failed.value.exit_code == 3
        with ScriptedRunner(models=["reasoning-model", "router-model"], port=port) as late:
            late.enqueue("here now")
            assert assistant.resume("t").text == "here now"


def test_text_that_broke_off_is_a_failed_turn_with_exit_code_4(
    assistant: Assistant, brain: Any
) -> None:
    brain.say(ScriptedReply("one two three four", fault="cut_stream"), "whole")
    with pytest.raises(TurnFailed) as failed:
        assistant.ask("count", thread="t", role="reasoning")
    assert failed.value.exit_code == 4
    assert assistant.resume("t").text == "whole"


def test_nothing_to_resume_is_a_usage_error(assistant: Assistant, brain: Any) -> None:
    with pytest.raises(UnknownThread, match="rolecall threads list"):
        assistant.resume("nobody")
    assistant.ask("Hello", thread="t")
    with pytest.raises(UsageError, match="no unfinished turn"):
        assistant.resume("t")


def test_a_question_after_a_failed_turn_keeps_the_conversation_whole(
    assistant: Assistant, brain: Any, runner: ScriptedRunner
) -> None:
    brain.say(call("count", label="a"), *[ScriptedReply(fault=500)] * 2, "second answer")
    with pytest.raises(NoModelReachable):
        assistant.ask("first", thread="t", role="reasoning")
    assert assistant.ask("second", thread="t", role="reasoning").text == "second answer"
    sent = said_to(runner.calls[-1])
    assert sent[-1][1].endswith("second")
    assert [t["status"] for t in turns(assistant, "t")] == ["failed", "done"]


def test_a_turn_that_saved_no_step_starts_again_though_the_one_before_failed(
    assistant: Assistant, brain: Any, runner: ScriptedRunner
) -> None:
    """Killed between accepting and the first step: the turn before must not be taken for it."""
    brain.say(*[ScriptedReply(fault=500)] * 2, "to the second")
    with pytest.raises(NoModelReachable):
        assistant.ask("first question", thread="t", role="reasoning")
    bridge.run(assistant.transcript.accept("t", "turn-2", "trace-2", "second question", "coding"))
    reply = assistant.resume("t")
    assert (reply.text, reply.turn_id) == ("to the second", "turn-2")
    assert said_to(runner.calls[-1])[-1][1].endswith("second question")
    assert runner.calls[-1].model == "coding-model"


def test_a_step_that_cannot_be_saved_is_a_state_error(
    assistant: Assistant, brain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    async def full(*_: Any, **__: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(AsyncSqliteSaver, "aput", full)
        with pytest.raises(StateError, match="Free some space") as failed:
            assistant.ask("Hello", thread="t", role="reasoning")
    assert failed.value.exit_code == 5
    assert assistant.resume("t").text == "ok"


def test_the_turn_has_a_deadline(opened: Any, brain: Any) -> None:
    brain.say(ScriptedReply("late", delay_s=5), "in time")
    with opened({"turn": {"deadline_s": 0.3}}) as assistant:
        started = time.monotonic()
        with pytest.raises(TurnFailed, match=r"turn\.deadline_s"):
            assistant.ask("Hello", thread="t", role="reasoning")
        assert time.monotonic() - started < 3
        assert turns(assistant, "t")[0]["status"] == "failed"
        assert assistant.resume("t").text == "in time"


def test_a_busy_thread_is_refused_with_exit_code_6(assistant: Assistant, brain: Any) -> None:
    brain.say(ScriptedReply("slow", delay_s=1.0))
    replies: list[Reply] = []
    other = threading.Thread(
        target=lambda: replies.append(assistant.ask("one", thread="t", role="reasoning"))
    )
    other.start()
    time.sleep(0.4)
    with pytest.raises(ThreadBusy, match=r"thread t is busy.*process \d+") as busy:
        assistant.ask("two", thread="t", role="reasoning")
    assert busy.value.exit_code == 6
    with pytest.raises(ThreadBusy):
        assistant.resume("t")
    with pytest.raises(ThreadBusy):
        assistant.delete("t")
    assert assistant.ask("three", thread="other", role="reasoning").text == "ok"
    other.join()
    assert replies[0].text == "slow"
    assert [t["question"] for t in turns(assistant, "t")] == ["one"]


def test_a_second_turn_waits_for_the_first_when_it_may(opened: Any, brain: Any) -> None:
    brain.default = ScriptedReply("ok", delay_s=0.2)
    with opened({"turn": {"wait_for_thread_s": 10}}) as assistant:
        threads = [
            threading.Thread(target=assistant.ask, args=(f"q{n}", "t", "reasoning"))
            for n in range(4)
        ]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        saved = turns(assistant, "t")
    assert sorted(t["question"] for t in saved) == ["q0", "q1", "q2", "q3"]
    assert [t["number"] for t in saved] == [1, 2, 3, 4]
    assert {t["status"] for t in saved} == {"done"}


# --- forks and steps ------------------------------------------------------------------------------


def test_a_fork_goes_on_without_touching_the_original(
    assistant: Assistant, brain: Any, runner: ScriptedRunner
) -> None:
    for question in ("one", "two", "three"):
        assistant.ask(question, thread="t", role="reasoning")
    before = turns(assistant, "t")
    steps = assistant.steps("t", limit=100)
    second = next(
        s for s in steps if s["turn_id"] == before[1]["turn_id"] and s["next"] == []
    )  # the last step of turn two
    for step, new in ((str(second["step"]), "f1"), (second["checkpoint_id"], "f2")):
        assert assistant.fork("t", step, new) == new
        assert [t["question"] for t in turns(assistant, new)] == ["one", "two"]
        assistant.ask("another", thread=new, role="reasoning")
        asked = [text for role, text in said_to(runner.calls[-1]) if role == "user"]
        assert asked == ["one", "two", "another"]
    assert turns(assistant, "t") == before
    assert assistant.steps("t", limit=100) == steps


def test_a_fork_of_the_latest_step_and_of_a_fork(assistant: Assistant, brain: Any) -> None:
    assistant.ask("one", thread="t")
    first = assistant.fork("t")
    second = assistant.fork(first)
    assert [t["question"] for t in turns(assistant, second)] == ["one"]
    with pytest.raises(UsageError, match="exists already"):
        assistant.fork("t", new=first)
    with pytest.raises(UsageError, match="no step 99"):
        assistant.fork("t", step="99")
    with pytest.raises(UsageError, match="no step nonsense"):
        assistant.fork("t", step="nonsense")
    with pytest.raises(UnknownThread):
        assistant.fork("nobody")


def test_a_fork_inside_a_turn_runs_on_from_there(
    assistant: Assistant, brain: Any, runner: ScriptedRunner
) -> None:
    brain.route = "CODING"
    brain.say("first answer", "second answer")
    original = assistant.ask("Write a sort", thread="t")
    step = next(s for s in assistant.steps("t") if s["next"] == ["coding"])
    assistant.fork("t", str(step["step"]), "f")
    (copied,) = turns(assistant, "f")
    assert (copied["status"], copied["answer"]) == ("interrupted", None)
    reply = assistant.resume("f")
    assert reply.text == "second answer"
    assert reply.path == ["coding", "synthesis"]
    assert reply.turn_id != original.turn_id
    assert reply.trace_id != original.trace_id
    assert brain.routed == 1
    assert turns(assistant, "t")[0]["answer"] == "first answer"
    assert turns(assistant, "f")[0]["answer"] == "second answer"


def test_a_fork_of_a_failed_turn_can_be_resumed_as_well(assistant: Assistant, brain: Any) -> None:
    brain.say(*[ScriptedReply(fault=500)] * 2, "in the copy", "in the original")
    with pytest.raises(NoModelReachable):
        assistant.ask("Hello", thread="t", role="reasoning")
    assistant.fork("t", new="f")
    assert assistant.resume("f").text == "in the copy"
    assert turns(assistant, "t")[0]["status"] == "failed"
    assert assistant.resume("t").text == "in the original"


def test_steps_are_paged(assistant: Assistant, brain: Any) -> None:
    assistant.ask("one", thread="t", role="reasoning")
    whole = assistant.steps("t", limit=100)
    assert [s["step"] for s in whole] == sorted((s["step"] for s in whole), reverse=True)
    first = assistant.steps("t", limit=2)
    assert first + assistant.steps("t", limit=100, before=first[-1]["checkpoint_id"]) == whole
    with pytest.raises(UnknownThread):
        assistant.steps("nobody")


def test_a_deleted_thread_is_gone(assistant: Assistant, brain: Any, runner: ScriptedRunner) -> None:
    assistant.ask("one", thread="t")
    assistant.delete("t")
    with pytest.raises(UnknownThread):
        assistant.delete("t")
    assistant.ask("two", thread="t")
    assert said_to(runner.calls[-1]) == [("user", "two")]
    assert [t["number"] for t in turns(assistant, "t")] == [1]


# --- tools ----------------------------------------------------------------------------------------


def test_tool_calls_of_one_message_all_run(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, rolecall_home: Path
) -> None:
    calls = [{"name": "count", "args": {"label": label}} for label in ("a", "b", "c")]
    brain.say(ScriptedReply(tool_calls=calls), "all done")
    reply = assistant.ask("count all", role="reasoning")
    assert reply.text == "all done"
    assert tool_results(runner.calls[-1]) == ["a counted", "b counted", "c counted"]
    assert [counted(rolecall_home, label) for label in "abc"] == [1, 1, 1]
    assert reply.path.count("tool_runner") == 3


def test_a_resume_after_a_failure_does_not_repeat_finished_tools(
    assistant: Assistant, brain: Any, rolecall_home: Path
) -> None:
    brain.say(call("count", label="a"), *[ScriptedReply(fault=500)] * 2, "after")
    with pytest.raises(NoModelReachable):
        assistant.ask("count", thread="t", role="reasoning")
    assert assistant.resume("t").text == "after"
    assert counted(rolecall_home, "a") == 1


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (call("broken", why="no luck"), "ValueError: no luck"),
        (call("no_such_tool"), "there is no tool 'no_such_tool'"),
        (call("count", wrong=1), "wrong arguments"),
        (call("leave", code=3), "SystemExit"),
    ],
    ids=["raises", "unknown", "arguments", "exits"],
)
def test_a_failing_tool_answers_the_model(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, wanted: ScriptedReply, told: str
) -> None:
    brain.say(wanted, "I could not")
    assert assistant.ask("try", role="reasoning").text == "I could not"
    (result,) = tool_results(runner.calls[-1])
    assert result.startswith("Error: ")
    assert told in result


def test_a_slow_tool_is_given_up(opened: Any, brain: Any, runner: ScriptedRunner) -> None:
    brain.say(call("dawdle", seconds=1.5), "too slow")
    with opened({"turn": {"tool_timeout_s": 0.2}}) as assistant:
        assert assistant.ask("wait", role="reasoning").text == "too slow"
    assert "no result within 0.2 seconds" in tool_results(runner.calls[-1])[0]


def test_tool_rounds_are_bounded(opened: Any, brain: Any, runner: ScriptedRunner) -> None:
    def more(request: Request) -> ScriptedReply:
        if not request.body.get("tools"):
            return ScriptedReply("enough")
        return call("count", label=f"n{len(request.messages)}")

    brain.default = more
    with opened({"turn": {"max_tool_rounds": 3}}) as assistant:
        reply = assistant.ask("go on", role="reasoning")
    assert reply.text == "enough"
    assert reply.path.count("tool_runner") == 3


def test_the_same_call_again_and_again_is_stopped(
    assistant: Assistant, brain: Any, rolecall_home: Path
) -> None:
    def again(request: Request) -> ScriptedReply:
        return call("count", label="same") if request.body.get("tools") else ScriptedReply("stop")

    brain.default = again
    assert assistant.ask("loop", role="reasoning").text == "stop"
    assert counted(rolecall_home, "same") == 2


def test_a_tool_that_asks_the_user_waits_and_goes_on(
    assistant: Assistant, brain: Any, runner: ScriptedRunner
) -> None:
    brain.say(call("ask_user", question="Which town?"), "Then Cusco.")
    reply = assistant.ask("Plan it", thread="t", role="reasoning")
    assert (reply.waiting_for, reply.text, reply.error) == ("Which town?", "", None)
    assert turns(assistant, "t")[0]["status"] == "interrupted"
    with pytest.raises(UsageError, match="Which town"):
        assistant.resume("t")
    done = assistant.resume("t", "Cusco")
    assert (done.text, done.turn_id, done.waiting_for) == ("Then Cusco.", reply.turn_id, None)
    assert tool_results(runner.calls[-1]) == ["the user said Cusco"]
    assert turns(assistant, "t")[0]["status"] == "done"


def test_another_assistant_can_give_the_answer(opened: Any, brain: Any) -> None:
    brain.say(call("ask_user", question="Which town?"), "Then Cusco.")
    with opened() as first:
        parts = list(first.stream("Plan it", thread="t", role="reasoning"))
        assert [p.data["question"] for p in parts if p.type == "waiting"] == ["Which town?"]
    with opened() as second:
        assert second.resume("t", "Cusco").text == "Then Cusco."


def test_two_tools_of_one_message_ask_one_after_the_other(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, rolecall_home: Path
) -> None:
    calls = [
        {"name": "ask_user", "args": {"question": "From?"}},
        {"name": "ask_user", "args": {"question": "To?"}},
        {"name": "count", "args": {"label": "once"}},
    ]
    brain.say(ScriptedReply(tool_calls=calls), "Booked.")
    first = assistant.ask("Book it", thread="t", role="reasoning")
    second = assistant.resume("t", "Lima")
    assert {first.waiting_for, second.waiting_for} == {"From?", "To?"}
    assert assistant.resume("t", "Cusco").text == "Booked."
    assert counted(rolecall_home, "once") == 1
    told = tool_results(runner.calls[-1])
    assert sorted(told) == ["once counted", "the user said Cusco", "the user said Lima"]


def test_a_new_question_leaves_a_waiting_tool_behind(
    assistant: Assistant, brain: Any, runner: ScriptedRunner
) -> None:
    brain.say(call("ask_user", question="Which town?"), "Something else.")
    assistant.ask("Plan it", thread="t", role="reasoning")
    assert assistant.ask("Never mind", thread="t", role="reasoning").text == "Something else."
    assert "tool_calls" not in str(runner.calls[-1].messages)


# --- what is kept and what is shown ---------------------------------------------------------------


def test_the_window_stays_bounded_while_the_transcript_keeps_everything(
    opened: Any, brain: Any, runner: ScriptedRunner
) -> None:
    brain.default = "word " * 60
    sizes: list[int] = []
    with opened(FIXED | {"memory": {"window_tokens": 512}}) as assistant:
        for number in range(30):
            assistant.ask(f"question {number} " + "text " * 40, thread="t")
            sizes.append(sum(len(text) for _, text in said_to(runner.calls[-1])))
        assert max(sizes[15:]) <= max(sizes[:15])
        assert max(sizes) < 4 * 512 + 1000
        assert said_to(runner.calls[-1])[0][0] == "user"
        kept = turns(assistant, "t", limit=100)
    assert [t["number"] for t in kept] == list(range(1, 31))
    assert all(t["answer"].startswith("word word") for t in kept)


SECRET = "sk-proj-" + "Ab1" * 16


def test_secrets_are_blotted_out_in_the_stream_and_in_what_is_saved(
    assistant: Assistant, brain: Any, runner: ScriptedRunner
) -> None:
    pieces = ["The key is ", SECRET[:10], SECRET[10:30], SECRET[30:], " as", " you", " asked"]
    brain.say(ScriptedReply(pieces=pieces), "ok")
    parts = list(assistant.stream("What is the key?", thread="t", role="reasoning"))
    streamed = "".join(p.text for p in parts if p.type == "text")
    reply = parts[-1].data["reply"]
    saved = turns(assistant, "t")[0]["answer"]
    assert streamed == reply.text == saved
    assert saved.startswith("The key is ")
    assert saved.endswith(" as you asked")
    assert SECRET[:20] not in saved
    assert SECRET[-8:] not in saved
    assistant.ask("And?", thread="t", role="reasoning")
    assert SECRET[10:30] not in str(runner.calls[-1].messages)
    assistant.flush()
    for path in assistant._path.parent.glob("*.db*"):
        assert SECRET[10:30].encode() not in path.read_bytes(), path


def test_an_own_pattern_is_blotted_out(opened: Any, brain: Any) -> None:
    brain.say("Call Project Heron now.")
    with opened({"filters": {"patterns": ["Project [A-Z]\\w+"]}}) as assistant:
        assert assistant.ask("Hi", role="reasoning").text == "Call [redacted] now."


def test_an_empty_answer_of_the_router_is_given_to_reasoning_once(
    assistant: Assistant, brain: Any, runner: ScriptedRunner
) -> None:
    brain.say("  ", "A real answer.")
    parts = list(assistant.stream("Hello", thread="t"))
    reply = parts[-1].data["reply"]
    assert reply.text == "A real answer."
    assert reply.path == ["init", "router", "answer", "reasoning", "synthesis"]
    assert reply.strategy == "escalation"
    assert reply.decision["target_model"] == "REASONING"
    assert len([p for p in parts if p.type == "decision"]) == 2
    (turn,) = turns(assistant, "t")
    assert turn["decision"]["target_model"] == "REASONING"
    assert turn["strategy"] == "escalation"
    assert said_to(runner.calls[-1]) == [("user", "Hello")]


def test_an_empty_answer_of_reasoning_is_not_given_on(assistant: Assistant, brain: Any) -> None:
    brain.say("", "")
    reply = assistant.ask("Hello")
    assert reply.path == ["init", "router", "answer", "reasoning", "synthesis"]
    assert (reply.text, reply.finish_reason) == ("", "empty")


@pytest.mark.parametrize(
    "said",
    [
        ScriptedReply("Because.", reasoning="Let me think about why."),
        ScriptedReply("<think>Let me think about why.</think>Because."),
        ScriptedReply("Because.", reasoning="Let me think about why.", reasoning_field="reasoning"),
    ],
    ids=["field", "tags", "other-field"],
)
def test_reasoning_is_never_in_the_answer(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, said: ScriptedReply
) -> None:
    brain.say(said)
    parts = list(assistant.stream("Why?", thread="t", role="reasoning"))
    reply = parts[-1].data["reply"]
    assert (reply.text, reply.reasoning) == ("Because.", "Let me think about why.")
    assert "".join(p.text for p in parts if p.type == "text") == "Because."
    assert "think" in "".join(p.text for p in parts if p.type == "reasoning")
    (turn,) = turns(assistant, "t")
    assert (turn["answer"], turn["reasoning"]) == ("Because.", "Let me think about why.")
    assistant.ask("And?", thread="t", role="reasoning")
    assert "Let me think" not in str(runner.calls[-1].body)


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
    assistant: Assistant, brain: Any
) -> None:
    brain.say(ScriptedReply("one two three", chunk_delay_s=0.5), "whole")
    async with _closing(assistant.astream("count", "t", "reasoning")) as stream:
        async for part in stream:
            if part.type == "text":
                break
    (turn,) = await asyncio.to_thread(turns, assistant, "t")
    assert turn["status"] == "interrupted"
    assert (await assistant.aresume("t")).text == "whole"


async def test_a_cancelled_task_interrupts_its_turn(assistant: Assistant, brain: Any) -> None:
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
