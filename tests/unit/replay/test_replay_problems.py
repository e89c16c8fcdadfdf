"""What cannot be replayed is told with what to do, and leaves nothing behind."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from rolecall import bridge
from rolecall.errors import UnknownModel, UnknownThread, UsageError
from rolecall.models.scripted import ScriptedReply, ScriptedRunner
from rolecall.replay import replay
from rolecall.replay.originals import _whole_ms


def test_a_thread_or_step_that_is_not_there_is_told_with_the_command_that_lists(
    asked: Any, stack_b: Any, opened: Any
) -> None:
    with pytest.raises(UnknownThread, match="rolecall threads list"):
        replay("nobody", stack_b)
    asked("t", "one")
    for step in ("99", "nonsense", ""):
        with pytest.raises(UsageError, match="rolecall threads show t --steps"):
            replay("t", stack_b, at=step)
    with opened() as assistant:
        first = next(s for s in assistant.steps("t", 100) if s["step"] == -1)
        empty = assistant.fork("t", first["checkpoint_id"], "empty")
    with pytest.raises(UsageError, match="has no answer"):
        replay(empty, stack_b)


def test_a_stack_without_the_role_that_was_asked_for_is_refused(
    asked: Any, steps: Any, stack_b: Any, brain: Any, threads: Any
) -> None:
    brain.route = "CODING"
    asked("t", "fixed", role="coding")
    asked("u", "routed")
    small = replace(
        stack_b,
        models={name: stack_b.models[name] for name in ("router", "reasoning")},
        roles={name: stack_b.roles[name] for name in ("router", "reasoning")},
    )
    with pytest.raises(UsageError, match=r"role coding, which stack b does not have; roles: rout"):
        replay("t", small)
    at = steps("u", 1, ["coding"])
    with pytest.raises(UsageError, match="goes on there with coding"):
        replay("u", small, at=at)
    (one,) = replay("u", small, keep=False)
    assert one.notes == ["stack b has no role coding, which answered then"]
    assert (one.original.route, one.replay.route) == ("CODING", "HANDLE")
    assert threads() == ["t", "u"]


def test_a_turn_without_an_answer_is_nothing_to_compare_with(
    asked: Any, stack_b: Any, brain: Any, threads: Any
) -> None:
    asked("t", "one")
    brain.say(*[ScriptedReply(fault=500)] * 8)
    with pytest.raises(Exception, match="could be reached"):
        asked("t", "two")
    with pytest.raises(UsageError, match=r"turn 2 .* no answer .*resume t.*--steps --turn 1"):
        replay("t", stack_b)
    assert [c.turn for c in replay("t", stack_b, all_turns=True)] == [1]
    assert threads() == ["t"]


def test_an_endpoint_that_is_down_is_an_error_in_the_row_and_leaves_no_thread(
    asked: Any, stack_b: Any, other_brain: Any, threads: Any
) -> None:
    asked("t", "one", "two", "three", "four", "five", role="coding")
    other_brain.default = ScriptedReply(fault="refuse")
    (one,) = replay("t", stack_b)
    assert one.failed
    assert "coding-model" in str(one.replay.error)
    assert "resume" not in str(one.replay.error)
    assert (one.replay.exit_code, one.replay.answer, one.replay_thread) == (3, None, None)
    assert (one.same_answer, one.similarity, one.latency_ratio) == (None, None, None)
    assert [c.turn for c in replay("t", stack_b, all_turns=True)] == [1, 2, 3]  # then it is gone
    assert threads() == ["t"]


def test_a_model_that_the_endpoint_does_not_have_is_a_mistake_in_the_stack(
    asked: Any, stack_b: Any, other: ScriptedRunner, threads: Any
) -> None:
    asked("t", "one", role="coding")
    other.models = ["something-else"]
    with pytest.raises(UnknownModel, match="something-else") as refused:
        replay("t", stack_b)
    assert "resume" not in str(refused.value)
    assert threads() == ["t"]


def test_an_endpoint_that_dies_keeps_the_turns_before(
    asked: Any, stack_b: Any, other_brain: Any, threads: Any
) -> None:
    asked("t", "one", "two", "three", role="coding")
    other_brain.say("B one")
    other_brain.default = ScriptedReply(fault="refuse")
    found = replay("t", stack_b, all_turns=True, own_history=True)
    assert [(c.turn, c.failed) for c in found] == [(1, False), (2, True)]
    assert [t for t in threads() if t != "t"] == [found[0].replay_thread]


def test_without_a_trace_what_it_took_is_not_known(
    asked: Any, stack_b: Any, rolecall_home: Any
) -> None:
    asked("t", "one")
    for file in rolecall_home.glob("telemetry.db*"):
        file.unlink()
    (one,) = replay("t", stack_b)
    assert (one.original.latency_ms, one.original.tokens, one.original.stack) == (None,) * 3
    assert (one.original.answer, one.original.route) == ("ok", "HANDLE")
    assert (one.latency_ratio, one.same_answer) == (None, False)


def test_the_time_of_a_turn_that_was_resumed_is_not_known(
    stack_b: Any, opened: Any, brain: Any
) -> None:
    confirm = ScriptedReply(tool_calls=[{"name": "confirm", "args": {"what": "that"}}])
    with opened() as assistant:
        brain.say(confirm, "done")
        assert assistant.ask("Shall I?", "t", "coding").waiting_for is not None
        assert assistant.resume("t", "yes").text == "done"
    (one,) = replay("t", stack_b, keep=False)
    assert (one.original.answer, one.original.latency_ms, one.latency_ratio) == ("done", None, None)
    assert one.original.tokens is not None


def test_the_time_of_a_turn_with_an_answer_from_the_journal_is_not_known() -> None:
    def took(status: str) -> float | None:
        calls = [{"status": status, "started_at": 10.0}]
        turn = {"started_at": 10.0, "total_ms": 5.0}
        return _whole_ms({"turn": turn, "decisions": [], "model_calls": calls, "tool_calls": []})

    assert took("journaled") is None
    assert took("ok") == 5.0


def test_what_a_killed_replay_left_is_not_listed_and_is_swept_when_it_is_old(
    asked: Any, stack_b: Any, threads: Any, opened: Any, rolecall_home: Any
) -> None:
    asked("t", "one")
    with opened() as assistant:
        left = assistant.fork("t", new="replay.scratch.0000aaaa")
        mine = "replay.scratch.mine"
        assistant.ask("a name that a user chose", mine)
        listed = [row["thread_id"] for row in bridge.run(assistant.transcript.threads())]
    assert listed == [mine, "t"]
    replay("t", stack_b, keep=False)
    assert left in threads()
    with closing(sqlite3.connect(rolecall_home / "threads.db")) as db:
        db.execute("UPDATE threads SET updated_at = updated_at - 7200")
        db.commit()
    replay("t", stack_b, keep=False)
    assert threads() == [mine, "t"]
