"""A run over all threads: what fails for good, what is asked again, and who may run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rolecall import bridge
from rolecall.errors import DownloadFailed, RunnerFailed
from rolecall.models.client import LocalLLMClient
from rolecall.models.scripted import ScriptedReply
from rolecall.replay import batch, plan, replay_all
from rolecall.replay.plan import digest_of
from rolecall.replay.session import Session
from rolecall.replay.store import ReplayBusy, alone, open_store


def turns_of(regression: Any) -> list[tuple[str, int]]:
    return [(one.thread, one.turn) for one in regression.comparisons]


def test_a_turn_that_asks_the_user_is_final_and_newer_threads_are_seen(
    asked: Any, stack_b: Any, other_brain: Any
) -> None:
    asked("x", "one")
    asked("y", "two")
    confirm = ScriptedReply(tool_calls=[{"name": "confirm", "args": {"what": "that"}}])
    other_brain.say(confirm)
    found = replay_all(replace(stack_b, models=_with_all_tools(stack_b)))
    assert [one.replay.waits for one in found.comparisons] == [True, False]
    assert (found.status, found.exit_code) == ("done", 4)
    asked("new", "three")
    again = replay_all(replace(stack_b, models=_with_all_tools(stack_b)))
    assert (again.run, again.resumed, again.exit_code) == (found.run + 1, 0, 0)
    assert ("new", 1) in turns_of(again)


def _with_all_tools(stack: Any) -> Any:
    return {
        role: [spec.model_copy(update={"tools": "all"}) for spec in specs]
        for role, specs in stack.models.items()
    }


def test_the_exit_code_is_that_of_the_worst_turn_also_when_it_was_kept(
    asked: Any, stack_b: Any, other_brain: Any
) -> None:
    asked("x", "one")
    asked("y", "two")
    other_brain.say("B says so", ScriptedReply(fault="refuse"))
    other_brain.default = ScriptedReply(fault="refuse")
    first = replay_all(stack_b)
    assert (first.status, first.exit_code) == ("partial", 3)
    other_brain.default = "back"
    second = replay_all(stack_b)
    assert (second.run, second.status, second.exit_code) == (first.run, "done", 0)


def test_a_model_that_cannot_be_loaded_beforehand_does_not_end_the_run(
    asked: Any, stack_b: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def prepare(self: LocalLLMClient, role: str) -> None:
        raise RunnerFailed(f"{role} does not start")

    asked("x", "one")
    asked("y", "two", role="coding")
    monkeypatch.setattr(LocalLLMClient, "prepare", prepare)
    found = replay_all(stack_b)
    assert (found.status, turns_of(found)) == ("done", [("y", 1), ("x", 1)])


def test_a_model_that_the_endpoint_does_not_have_costs_only_the_turns_that_ask_it(
    asked: Any, stack_b: Any, other: Any
) -> None:
    asked("x", "one")
    asked("y", "two", role="coding")
    asked("z", "three")
    other.models = ["router-model", "reasoning-model"]
    found = replay_all(stack_b)
    assert turns_of(found) == [("z", 1), ("x", 1)]
    assert found.left_out[0].startswith("turn 1 of thread y: ")
    assert "coding-model" in found.left_out[0]
    assert (found.status, found.exit_code) == ("done", 2)


def test_errors_that_reach_no_model_end_the_run_after_three_in_a_row_and_are_asked_again(
    asked: Any, stack_b: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for thread in "abcde":
        asked(thread, "hello")

    async def fails(self: Session, original: Any) -> Any:
        raise DownloadFailed("no such weights")

    with monkeypatch.context() as broken:
        broken.setattr(Session, "replay", fails)
        first = replay_all(stack_b)
    assert (first.status, first.exit_code, first.comparisons) == ("partial", 3, [])
    assert first.left_out == [
        *(f"turn 1 of thread {thread}: no such weights" for thread in "edc"),
        "no model could be asked on: no such weights",
    ]
    second = replay_all(stack_b)
    assert (second.run, second.status, second.resumed) == (first.run, "done", 0)
    assert (len(second.comparisons), second.left_out) == (5, [])


def test_two_replays_of_all_threads_do_not_fill_one_run(asked: Any, stack_b: Any) -> None:
    asked("x", "one")
    with alone(), pytest.raises(ReplayBusy, match="another replay") as refused:
        replay_all(stack_b)
    assert refused.value.exit_code == 6
    store = open_store()
    try:
        assert bridge.run(store.runs()) == []
    finally:
        store.close()
    assert replay_all(stack_b).status == "done"


def test_what_was_stopped_goes_on_when_the_day_has_passed(
    asked: Any, stack_b: Any, other_brain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked("x", "one")
    other_brain.default = ScriptedReply(fault="refuse")
    first = replay_all(stack_b, since="7d")
    monkeypatch.setattr(batch, "first_day", lambda since: "2001-01-01")
    assert replay_all(stack_b, since="7d").run == first.run
    assert replay_all(stack_b, since="8d").run == first.run + 1


def test_other_tools_another_workspace_or_another_router_is_another_run(
    stack_b: Any, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = digest_of(stack_b)
    tools = Path(settings["tools_folder"]) / "mine.py"
    tools.write_text(tools.read_text() + "\n# changed\n")
    changed = digest_of(stack_b)
    assert changed != own
    assert digest_of(stack_b) == changed

    def with_settings(**given: Any) -> Any:
        return replace(stack_b, settings=stack_b.settings.model_copy(update=given))

    here = with_settings(workspace="./")
    before = digest_of(here)
    monkeypatch.chdir(tmp_path)
    assert digest_of(here) != before

    routing = stack_b.settings.routing.model_copy(update={"strategy": "hybrid"})
    hybrid = with_settings(routing=routing)
    before = digest_of(hybrid)
    monkeypatch.setattr(plan, "current_mark", lambda: "of another version")
    assert digest_of(hybrid) != before
    assert digest_of(stack_b) == changed  # its router is a model


def test_a_turn_that_a_fork_has_too_is_replayed_once(asked: Any, stack_b: Any, opened: Any) -> None:
    asked("t", "one", "two")
    with opened() as assistant:
        fork = assistant.fork("t")
    last = replay_all(stack_b)
    assert (turns_of(last), last.left_out) == (
        [(fork, 2)],
        ["thread t: 1 turn that another has too"],
    )
    asked("t", "three")
    assert turns_of(replay_all(stack_b)) == [("t", 3), (fork, 2)]
    whole = replay_all(stack_b, all_turns=True)
    assert turns_of(whole) == [("t", 1), ("t", 2), ("t", 3)]
    assert whole.left_out == [f"thread {fork}: 2 turns that another has too"]
