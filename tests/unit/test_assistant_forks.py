"""Forks, steps and the deletion of a thread."""

from __future__ import annotations

from typing import Any

import pytest

from rolecall.assistant import Assistant
from rolecall.errors import NoModelReachable, UnknownThread, UsageError
from rolecall.models.scripted import ScriptedReply, ScriptedRunner


def test_a_fork_goes_on_without_touching_the_original(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, said_to: Any, turns: Any
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


def test_a_fork_of_the_latest_step_and_of_a_fork(
    assistant: Assistant, brain: Any, turns: Any
) -> None:
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
    assistant: Assistant, brain: Any, runner: ScriptedRunner, turns: Any
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


def test_a_fork_of_a_failed_turn_can_be_resumed_as_well(
    assistant: Assistant, brain: Any, turns: Any
) -> None:
    brain.say(*[ScriptedReply(fault=500)] * 4, "in the copy", "in the original")
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


def test_a_deleted_thread_is_gone(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, said_to: Any, turns: Any
) -> None:
    assistant.ask("one", thread="t")
    assistant.delete("t")
    with pytest.raises(UnknownThread):
        assistant.delete("t")
    assistant.ask("two", thread="t")
    assert said_to(runner.calls[-1]) == [("user", "two")]
    assert [t["number"] for t in turns(assistant, "t")] == [1]
