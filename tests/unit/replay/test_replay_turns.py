"""A turn of the past is asked again on another stack, and the original stays as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rolecall.assistant import Assistant
from rolecall.errors import UnknownModel, UnknownThread, UsageError
from rolecall.models.scripted import ScriptedReply, ScriptedRunner
from rolecall.replay import replay


def test_the_last_turn_is_asked_again_and_the_original_is_untouched(
    asked: Any, rows: Any, stack_b: Any, brain: Any, other_brain: Any
) -> None:
    brain.say("first answer", "second answer")
    asked("t", "one", "two")
    before = rows("t")
    assert all(before[table] for table in ("saver_steps", "turns", "telemetry.model_calls"))
    other_brain.route = "CODING"
    (one,) = replay("t", stack_b)
    assert rows("t") == before
    assert (one.thread, one.turn, one.question) == ("t", 2, "two")
    assert (one.original.answer, one.replay.answer) == ("second answer", "B says so")
    assert (one.original.route, one.replay.route) == ("HANDLE", "CODING")
    assert (one.original.stack, one.replay.stack) == ("a", "b")
    assert (one.original.role, one.replay.role) == ("answer", "coding")
    assert (one.original.model, one.replay.model) == ("router-model", "coding-model")
    assert one.original.path == ["init", "router", "answer", "synthesis"]
    assert one.replay.path == ["init", "router", "coding", "synthesis"]
    assert one.decision_changed
    assert one.same_answer is False
    for side in (one.original, one.replay):
        assert None not in (side.latency_ms, side.input_tokens, side.output_tokens)
        assert side.confidence == pytest.approx(0.96, abs=0.05)
    assert one.latency_ratio == one.replay.latency_ms / one.original.latency_ms  # type: ignore[operator]


def test_a_turn_at_every_step_leaves_the_original_as_it_was(
    asked: Any,
    rows: Any,
    stack_b: Any,
    brain: Any,
    pays: Any,
    effects: Any,
    runner: Any,
    stack_for: Any,
    settings: Any,
) -> None:
    brain.say(pays("Ann"), "paid", "two")
    asked("t", "Pay Ann", "and now?", role="coding")
    with Assistant.open(stack_for(runner, settings)) as assistant:
        steps = assistant.steps("t", 100)
    before = rows("t")
    ran = 0
    for step in steps:
        if step["next"] == ["synthesis"]:
            with pytest.raises(UsageError, match="no model is asked"):
                replay("t", stack_b, at=step["step"])
            continue
        (one,) = replay("t", stack_b, at=step["checkpoint_id"], keep=ran % 2 == 0)
        whole = step["next"] in ([], ["init"], ["router"])
        assert one.from_step == (None if whole else step["checkpoint_id"])
        assert one.replay.path[:1] == (["init"] if whole else step["next"])
        assert one.replay.answer == "B says so"
        ran += 1
    assert ran == len(steps) - 2
    assert rows("t") == before
    assert effects() == ["paid Ann"]


def test_a_replay_inside_a_turn_keeps_what_was_decided(
    asked: Any, steps: Any, stack_b: Any, brain: Any, other_brain: Any
) -> None:
    brain.route = "CODING"
    asked("t", "Write a sort")
    other_brain.route = "REASONING"
    (one,) = replay("t", stack_b, at=steps("t", 1, ["coding"]))
    assert (one.replay.route, one.replay.model) == ("CODING", "coding-model")
    assert other_brain.routed == 0
    assert one.decision_changed is None
    assert one.latency_ratio is None  # the rest of a turn is no turn
    assert one.tokens_ratio is None


def test_every_turn_gets_the_history_that_the_original_had(
    asked: Any, stack_b: Any, brain: Any, other: ScriptedRunner, said_to: Any, threads: Any
) -> None:
    brain.say("A one", "A two", "A three")
    asked("t", "one", "two", "three", role="coding")
    found = replay("t", stack_b, all_turns=True)
    assert [c.turn for c in found] == [1, 2, 3]
    said = [[text for _, text in said_to(call)] for call in other.calls]
    assert said == [["one"], ["one", "A one", "two"], ["one", "A one", "two", "A two", "three"]]
    assert threads() == ["t"]
    assert [c.replay_thread for c in found] == [None] * 3


def test_a_history_of_its_own_follows_the_replays_answers_in_one_thread(
    asked: Any,
    steps: Any,
    stack_b: Any,
    brain: Any,
    other: ScriptedRunner,
    said_to: Any,
    threads: Any,
    turns: Any,
    opened: Any,
) -> None:
    brain.say("A one", "A two", "A three")
    asked("t", "one", "two", "three", role="coding")
    at = steps("t", 2, ["coding"])
    found = replay("t", stack_b, at=at, all_turns=True, own_history=True)
    assert [c.turn for c in found] == [2, 3]
    last = [text for _, text in said_to(other.calls[-1])]
    assert last == ["one", "A one", "two", "B says so", "three"]
    (kept,) = {c.replay_thread for c in found}
    assert threads() == [kept, "t"]
    with opened() as assistant:
        told = [(t["question"], t["answer"]) for t in turns(assistant, kept)]
    assert told == [("one", "A one"), ("two", "B says so"), ("three", "B says so")]
    assert replay("t", stack_b, all_turns=True, own_history=True, keep=False)[0].turn == 1
    assert threads() == [kept, "t"]
    with pytest.raises(UsageError, match="--all-turns"):
        replay("t", stack_b, own_history=True)


def test_a_kept_replay_is_a_thread_to_go_on_with_and_a_discarded_one_leaves_nothing(
    asked: Any, stack_b: Any, threads: Any, rows: Any, other: ScriptedRunner, said_to: Any
) -> None:
    asked("t", "one", "two", role="coding")
    (gone,) = replay("t", stack_b, keep=False)
    assert (gone.replay_thread, gone.replay.trace_id) == (None, None)
    assert threads() == ["t"]
    (kept,) = replay("t", stack_b)
    assert kept.replay_thread is not None
    assert kept.replay_thread.startswith("replay-")
    assert rows(kept.replay_thread)["telemetry.turns"][0][0] == kept.replay.trace_id
    with Assistant.open(stack_b) as assistant:
        assistant.ask("three", kept.replay_thread, "coding")
    said = [text for role, text in said_to(other.calls[-1]) if role == "user"]
    assert said == ["one", "two", "three"]


def test_a_fixed_role_stays_fixed_and_is_no_decision(asked: Any, stack_b: Any) -> None:
    asked("t", "Hello", role="reasoning")
    (one,) = replay("t", stack_b)
    assert (one.replay.strategy, one.replay.role) == ("fixed", "reasoning")
    assert one.decision_changed is None


def test_a_fork_and_a_replay_can_be_replayed(asked: Any, stack_b: Any, opened: Any) -> None:
    asked("t", "one", "two", role="coding")
    with opened() as assistant:
        fork = assistant.fork("t")
    found = replay(fork, stack_b, all_turns=True, own_history=True)
    assert [c.original.answer for c in found] == ["ok", "ok"]
    (again,) = replay(str(found[0].replay_thread), stack_b, keep=False)
    assert again.same_answer


# --- what goes wrong --------------------------------------------------------------------------


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


def test_what_a_killed_replay_left_is_not_listed_and_is_swept_when_it_is_old(
    asked: Any, stack_b: Any, threads: Any, opened: Any, rolecall_home: Any
) -> None:
    import sqlite3
    from contextlib import closing

    from rolecall import bridge

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
