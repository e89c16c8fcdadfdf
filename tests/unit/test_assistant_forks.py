"""Forks, steps and the deletion of a thread."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
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


def test_a_question_is_edited_and_asked_anew(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, said_to: Any, turns: Any
) -> None:
    for question in ("one", "two", "three"):
        assistant.ask(question, thread="t", role="coding")
    before = turns(assistant, "t")
    for at in (assistant.steps("t", turn=2)[0], assistant.steps("t", turn=2)[-1]):
        new = assistant.fork("t", at["checkpoint_id"], question="second")
        assert [t["question"] for t in turns(assistant, new)] == ["one", "second"]
        assert turns(assistant, new)[-1]["role"] == "coding"  # as it was fixed for that turn
        asked = [text for role, text in said_to(runner.calls[-1]) if role == "user"]
        assert asked == ["one", "second"]
    first = assistant.steps("t", turn=1)[-1]["checkpoint_id"]
    parts = list(assistant.stream_fork("t", "first", first, new="f", role="reasoning"))
    assert parts[0].data["thread_id"] == "f"
    assert parts[-1].data["reply"].text == "ok"
    assert [(t["question"], t["role"]) for t in turns(assistant, "f")] == [("first", "reasoning")]
    assert said_to(runner.calls[-1]) == [("user", "first")]
    assert turns(assistant, "t") == before
    with pytest.raises(UsageError, match="exists already"):
        assistant.fork("t", new="f", question="again")


def test_an_edited_fork_of_a_fork(assistant: Assistant, brain: Any, turns: Any) -> None:
    for question in ("one", "two"):
        assistant.ask(question, thread="t", role="coding")
    middle = assistant.fork("t", new="f.1")
    newest = assistant.fork(middle, question="second", new="f.2")
    assert [t["question"] for t in turns(assistant, newest)] == ["one", "second"]
    last = assistant.fork(newest, question="another", new="f.3")
    assert [t["question"] for t in turns(assistant, last)] == ["one", "another"]


def test_the_steps_of_one_turn(assistant: Assistant, brain: Any, turns: Any) -> None:
    for question in ("one", "two"):
        assistant.ask(question, thread="t", role="coding")
    first, second = (assistant.steps("t", 100, turn=n) for n in (1, 2))
    assert second + first == assistant.steps("t", 100)
    assert {s["turn_id"] for s in second} == {turns(assistant, "t")[1]["turn_id"]}
    rest = assistant.steps("t", 100, before=second[1]["checkpoint_id"], turn=2)
    assert rest == second[2:]
    with pytest.raises(UsageError, match="has no turn 3"):
        assistant.steps("t", turn=3)


def test_nothing_of_a_deleted_thread_is_left(
    assistant: Assistant, brain: Any, rolecall_home: Path
) -> None:
    for thread in ("t", "other"):
        brain.say(ScriptedReply(tool_calls=[{"name": "count", "args": {"label": thread}}]), "done")
        assistant.ask("Count", thread=thread, role="reasoning")
    assistant.delete("t")
    assistant.delete("other")
    with closing(sqlite3.connect(rolecall_home / "threads.db")) as connection:
        left = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for (table,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'turns_fts%'"
            ).fetchall()
        }
    assert {table for table, rows in left.items() if rows} == {"_sqlite_migrations"}


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
