"""A turn of the past is asked again on another stack, and the original stays as it was."""

from __future__ import annotations

from typing import Any

import pytest

from rolecall.assistant import Assistant
from rolecall.errors import UsageError
from rolecall.models.scripted import ScriptedRunner
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
