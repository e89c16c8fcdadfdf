"""In a replay nothing is done twice: what is not safe to repeat is answered from the original."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from langchain_core.utils.function_calling import convert_to_openai_tool

from rolecall.models.scripted import ScriptedReply
from rolecall.replay import replay
from rolecall.replay.recorded import RecordedCalls
from rolecall.tools.registry import load_tools


def uses(side: Any) -> list[tuple[str, str, str]]:
    return [(tool.name, tool.status, tool.how) for tool in side.tools]


def test_a_call_with_the_same_arguments_gets_the_original_result(
    asked: Any, stack_b: Any, brain: Any, other_brain: Any, pays: Any, effects: Any, told_b: Any
) -> None:
    brain.say(pays("Ann"), "done")
    asked("t", "Pay Ann", role="coding")
    other_brain.say(pays("Ann", amount=1), "B paid")  # the default, written out
    (one,) = replay("t", stack_b)
    assert effects() == ["paid Ann"]
    assert told_b() == ["paid Ann 1"]
    assert uses(one.original) == [("pay", "success", "ran")]
    assert uses(one.replay) == [("pay", "success", "recorded")]
    assert one.replay.answer == "B paid"


def test_a_call_that_was_not_made_then_is_not_made_and_the_model_and_the_row_say_so(
    asked: Any, stack_b: Any, brain: Any, other_brain: Any, pays: Any, effects: Any, told_b: Any
) -> None:
    brain.say(pays("Ann"), "done")
    asked("t", "Pay Ann", role="coding")
    other_brain.say(pays("Ann", amount=100), "B could not")
    (one,) = replay("t", stack_b)
    assert effects() == ["paid Ann"]
    assert "this call was not made" in told_b()[0]
    assert uses(one.replay) == [("pay", "error", "not made")]
    assert one.replay.tools[0].arguments == {"to": "Ann", "amount": 100}


def test_safe_tools_run(
    asked: Any, stack_b: Any, brain: Any, other_brain: Any, effects: Any, told_b: Any
) -> None:
    look = ScriptedReply(tool_calls=[{"name": "look", "args": {"at": "sky"}}])
    brain.say(look, "blue")
    asked("t", "Look", role="coding")
    other_brain.say(look, "blue")
    (one,) = replay("t", stack_b)
    assert effects() == ["saw sky", "saw sky"]
    assert told_b() == ["saw sky"]
    assert uses(one.replay) == uses(one.original) == [("look", "success", "ran")]
    assert one.same_answer


def test_calls_made_several_times_answer_in_their_order_and_failures_fail_again(
    asked: Any, stack_b: Any, brain: Any, other_brain: Any, pays: Any, effects: Any, told_b: Any
) -> None:
    brain.say(pays("nobody"), pays("Ann"), "done")
    asked("t", "Pay", role="coding")
    other_brain.say(pays("Ann"), pays("nobody"), pays("Ann"), "B done")
    (one,) = replay("t", stack_b)
    assert effects() == ["paid nobody", "paid Ann"]
    assert [(tool.arguments["to"], tool.status, tool.how) for tool in one.replay.tools] == [
        ("Ann", "success", "recorded"),
        ("nobody", "error", "recorded"),
        ("Ann", "success", "recorded"),
    ]


def test_wrong_arguments_are_the_models_own_fault(
    asked: Any, stack_b: Any, other_brain: Any, pays: Any, effects: Any, told_b: Any
) -> None:
    asked("t", "Hello", role="coding")
    other_brain.say(pays("Ann", amount="much"), "B done")
    replay("t", stack_b)
    assert effects() == []
    assert "wrong arguments" in told_b()[0]


def test_without_its_journal_the_saved_conversation_tells_what_was_done(
    asked: Any,
    stack_b: Any,
    brain: Any,
    other_brain: Any,
    pays: Any,
    effects: Any,
    told_b: Any,
    rolecall_home: Any,
) -> None:
    brain.say(pays("Ann"), "done")
    asked("t", "Pay Ann", role="coding")
    with closing(sqlite3.connect(rolecall_home / "threads.db")) as db:
        assert db.execute("DELETE FROM journal").rowcount == 1
        db.commit()
    other_brain.say(pays("Ann"), "B paid")
    (one,) = replay("t", stack_b)
    assert (effects(), told_b()) == (["paid Ann"], ["paid Ann 1"])
    assert uses(one.replay) == [("pay", "success", "recorded")]


def test_a_call_before_the_step_is_not_made_again(
    asked: Any, steps: Any, stack_b: Any, brain: Any, pays: Any, effects: Any, told_b: Any
) -> None:
    brain.say(pays("Ann"), "done")
    asked("t", "Pay Ann", role="coding")
    (one,) = replay("t", stack_b, at=steps("t", 1, ["tool_runner"]))
    assert (effects(), told_b()) == (["paid Ann"], ["paid Ann 1"])
    assert uses(one.replay) == [("pay", "success", "recorded")]


def test_a_replay_that_waits_for_the_user_says_so(
    asked: Any, stack_b: Any, other_brain: Any
) -> None:
    asked("t", "Go", role="coding")
    other_brain.say(ScriptedReply(tool_calls=[{"name": "confirm", "args": {"what": "go"}}]))
    (one,) = replay("t", stack_b)
    assert one.replay.error == "it waits for the user: Really go?"
    assert one.replay.exit_code == 4
    assert one.replay_thread is not None


def test_a_guarded_tool_looks_to_a_model_as_the_tool_does(tmp_path: Any, settings: Any) -> None:
    from pathlib import Path

    tools = load_tools(tmp_path, Path(settings["tools_folder"]))
    guarded = RecordedCalls().guarded(tools)
    assert guarded["look"] is tools["look"]
    assert guarded["pay"] is not tools["pay"]
    for name, tool in tools.items():
        assert convert_to_openai_tool(guarded[name]) == convert_to_openai_tool(tool)
