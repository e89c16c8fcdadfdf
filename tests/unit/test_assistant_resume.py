"""Turns that fail, break off or wait, and what a resume makes of them."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from rolecall import bridge
from rolecall.assistant import Assistant
from rolecall.errors import (
    ContextTooLong,
    NoModelReachable,
    StateError,
    ThreadBusy,
    TurnFailed,
    UnknownThread,
    UsageError,
)
from rolecall.models.scripted import Fault, ScriptedReply, ScriptedRunner
from rolecall.reply import Reply

FIXED = {"routing": {"strategy": "fixed", "role": "reasoning"}}
COUNT = {"name": "count", "args": {"label": "a"}}


def test_a_failed_turn_resumes_without_repeating_what_was_done(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, said_to: Any, turns: Any
) -> None:
    brain.route = "CODING"
    brain.say(*[ScriptedReply(fault=500)] * 4, "finally")
    with pytest.raises(NoModelReachable) as failed:
        assistant.ask("Write a sort", thread="t")
    assert "rolecall resume t" in str(failed.value)
    assert failed.value.reply is not None
    assert failed.value.reply.path == ["init", "router"]
    with pytest.raises(UsageError, match="does not wait for an answer"):
        assistant.resume("t", "an answer")
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


def test_an_answer_that_broke_off_begins_again_with_the_next_model(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, turns: Any
) -> None:
    brain.say(ScriptedReply("one two three four", fault="cut_stream"), "whole")
    parts = list(assistant.stream("count", thread="t", role="reasoning"))
    assert [p.text for p in parts if p.type in {"text", "replaced"}] == ["one", "", "whole"]
    (replaced,) = [p for p in parts if p.type == "replaced"]
    assert "reasoning-model" in replaced.data["why"]
    assert [call.model for call in runner.calls] == ["reasoning-model", "coding-model"]
    (saved,) = turns(assistant, "t")
    assert (saved["status"], saved["answer"]) == ("done", "whole")


def test_text_that_broke_off_twice_is_a_failed_turn_that_keeps_the_text(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, turns: Any
) -> None:
    longer = ScriptedReply("one two three four", fault=Fault("cut_stream", after=3))
    brain.say(longer, ScriptedReply("un deux", fault="cut_stream"), "whole")
    with pytest.raises(TurnFailed) as failed:
        assistant.ask("count", thread="t", role="reasoning")
    assert failed.value.exit_code == 4
    assert failed.value.reply is not None
    assert failed.value.reply.text == "one two three"
    (saved,) = turns(assistant, "t")
    assert (saved["status"], saved["answer"]) == ("failed", "one two three")
    assert len(runner.calls) == 2
    assert assistant.resume("t").text == "whole"


def test_nothing_to_resume_is_a_usage_error(assistant: Assistant, brain: Any) -> None:
    with pytest.raises(UnknownThread, match="rolecall threads list"):
        assistant.resume("nobody")
    assistant.ask("Hello", thread="t")
    with pytest.raises(UsageError, match="no unfinished turn"):
        assistant.resume("t")


def test_a_question_after_a_failed_turn_keeps_the_conversation_whole(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, said_to: Any, turns: Any
) -> None:
    brain.say(ScriptedReply(tool_calls=[COUNT]), *[ScriptedReply(fault=500)] * 4, "second answer")
    with pytest.raises(NoModelReachable):
        assistant.ask("first", thread="t", role="reasoning")
    assert assistant.ask("second", thread="t", role="reasoning").text == "second answer"
    sent = said_to(runner.calls[-1])
    assert sent[-1][1].endswith("second")
    assert [t["status"] for t in turns(assistant, "t")] == ["failed", "done"]


def test_a_turn_that_saved_no_step_starts_again_though_the_one_before_failed(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, said_to: Any
) -> None:
    """Killed between accepting and the first step: the turn before must not be taken for it."""
    brain.say(*[ScriptedReply(fault=500)] * 4, "to the second")
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

    from rolecall.threads.saver.writer import Writer

    def full(*_: Any, **__: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Writer, "write", full)
        with pytest.raises(StateError, match="Free some space") as failed:
            assistant.ask("Hello", thread="t", role="reasoning")
    assert failed.value.exit_code == 5
    assert assistant.resume("t").text == "ok"


def test_the_turn_has_a_deadline(opened: Any, brain: Any, turns: Any) -> None:
    brain.say(ScriptedReply("late", delay_s=5), "in time")
    with opened({"turn": {"deadline_s": 1.0}}) as assistant:
        started = time.monotonic()
        with pytest.raises(TurnFailed, match=r"turn\.deadline_s"):
            assistant.ask("Hello", thread="t", role="reasoning")
        assert time.monotonic() - started < 3
        assert turns(assistant, "t")[0]["status"] == "failed"
        assert assistant.resume("t").text == "in time"


def test_a_busy_thread_is_refused_with_exit_code_6(
    assistant: Assistant, brain: Any, turns: Any
) -> None:
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


def test_a_second_turn_waits_for_the_first_when_it_may(opened: Any, brain: Any, turns: Any) -> None:
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


def test_a_question_that_no_model_can_read_does_not_block_its_thread(
    opened: Any, runner: ScriptedRunner, said_to: Any, turns: Any
) -> None:
    with opened(FIXED) as assistant:
        with pytest.raises(ContextTooLong):
            assistant.ask("long " * 30_000, thread="t")
        parts = list(assistant.stream("And a short one?", thread="t"))
        assert [p.data["note"] for p in parts if p.type == "note"] == [
            "turn 1 has no answer and is left behind"
        ]
        assert parts[-1].data["reply"].text == "ok"
        assert said_to(runner.calls[-1])[-1][1].endswith("And a short one?")
        assert turns(assistant, "t")[0]["question"] == "long " * 30_000


def test_a_forked_process_is_told_to_open_its_own(
    assistant: Assistant, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as child:
        child.setattr("os.getpid", lambda: -1)
        with pytest.raises(UsageError, match="of its own"):
            assistant.ask("Hello")
    assert assistant.ask("Hello").text == "ok"
