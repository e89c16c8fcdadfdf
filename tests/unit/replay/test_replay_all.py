"""All threads are replayed: resumable, with what is done kept, and figures of what changed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rolecall import bridge
from rolecall.errors import UsageError
from rolecall.models.scripted import Request, ScriptedReply
from rolecall.replay import replay, replay_all
from rolecall.replay.store import open_store


@pytest.fixture
def home_of_three(asked: Any, brain: Any) -> None:
    """Threads ``x`` (two turns), ``y`` and ``z``."""
    brain.default = lambda request: f"A on {request.text}"
    asked("x", "x one", "x two")
    asked("y", "y one")
    asked("z", "z one")


def turns_of(regression: Any) -> list[tuple[str, int]]:
    return [(one.thread, one.turn) for one in regression.comparisons]


def test_the_last_turn_of_each_thread_or_every_turn(
    home_of_three: None, stack_b: Any, rows: Any, threads: Any
) -> None:
    before = {thread: rows(thread) for thread in "xyz"}
    last = replay_all(stack_b)
    assert (last.run, last.status, last.left_out) == (1, "done", [])
    assert turns_of(last) == [("z", 1), ("y", 1), ("x", 2)]
    whole = replay_all(stack_b, all_turns=True)
    assert turns_of(whole) == [("z", 1), ("y", 1), ("x", 1), ("x", 2)]
    assert turns_of(replay_all(stack_b, limit=2)) == [("z", 1), ("y", 1)]
    assert threads() == ["x", "y", "z"]
    assert {thread: rows(thread) for thread in "xyz"} == before


def test_the_figures(home_of_three: None, stack_b: Any, other_brain: Any) -> None:
    def says(request: Request) -> str:
        return "A  on\ny one " if request.text == "y one" else "B on z one"

    other_brain.default = says
    other_brain.route = "CODING"
    found = replay_all(stack_b, limit=2).summary()
    assert (found["turns"], found["threads"], found["errors"]) == (2, 2, 0)
    assert found["decisions"]["changed"] == found["decisions"]["compared"] == 2
    assert found["decisions"]["moves"] == {"HANDLE → CODING": 2}
    answers = found["answers"]
    assert (answers["compared"], answers["changed"], answers["kept"]) == (2, 1, 0.5)
    assert answers["similarity"] == (1.0 + 2 * 3 / 8) / 2
    for name in ("latency", "tokens"):
        low, high = found[name]["interval"]
        assert 0 < low <= found[name]["ratio"] <= high


def test_what_was_stopped_goes_on_and_asks_nothing_twice(
    home_of_three: None, stack_b: Any, other: Any, other_brain: Any, threads: Any
) -> None:
    other_brain.say("B one", "B two")
    other_brain.default = ScriptedReply(fault="refuse")
    first = replay_all(stack_b, all_turns=True)
    assert first.status == "partial"
    assert [one.failed for one in first.comparisons] == [False, False, True, True]
    assert threads() == ["x", "y", "z"]
    other_brain.default = "B again"
    asked_before = len(other.calls)
    second = replay_all(stack_b, all_turns=True)
    assert (second.run, second.status, second.resumed) == (first.run, "done", 2)
    assert [one.replay.answer for one in second.comparisons] == ["B one", "B two", *["B again"] * 2]
    texts = [call.text for call in other.calls[asked_before:]]
    assert not any("y one" in text or "z one" in text for text in texts)
    assert replay_all(stack_b, all_turns=True).run == first.run + 1


def test_an_endpoint_that_is_gone_is_not_asked_on_and_what_is_done_is_kept(
    asked: Any, stack_b: Any, other_brain: Any, brain: Any
) -> None:
    for thread in "abcdef":
        asked(thread, "hello")
    other_brain.say("B one")
    other_brain.default = ScriptedReply(fault="refuse")
    found = replay_all(stack_b)
    assert (found.status, len(found.comparisons)) == ("partial", 4)  # one, then three in a row
    assert "no model could be asked on" in found.left_out[-1]
    assert found.summary()["errors"] == 3
    other_brain.default = "B at last"
    assert replay_all(stack_b, fresh=True).run == found.run + 1
    assert replay_all(stack_b).run == found.run + 2  # not the one that stopped before


def test_a_thread_that_goes_on_the_way_is_left_out_and_told(
    home_of_three: None, stack_b: Any, other_brain: Any, rolecall_home: Path, threads: Any
) -> None:
    def deletes(request: Request) -> str:
        with closing(sqlite3.connect(rolecall_home / "threads.db")) as db:
            for table in ("threads", "turns", "saver_lines"):
                db.execute(f"DELETE FROM {table} WHERE thread_id = 'x'")
            db.commit()
        return "B"

    other_brain.say(deletes)
    found = replay_all(stack_b)
    assert (found.status, turns_of(found)) == ("done", [("z", 1), ("y", 1)])
    assert found.left_out == ["turn 2 of thread x is gone"]
    assert threads() == ["y", "z"]


def test_turns_without_an_answer_roles_that_lack_and_replays_are_left_out(
    asked: Any, stack_b: Any, brain: Any, opened: Any
) -> None:
    asked("t", "one")
    replay("t", stack_b)
    asked("u", "two", role="coding")
    brain.say(*[ScriptedReply(fault=500)] * 8)
    with pytest.raises(Exception, match="could be reached"):
        asked("t", "failed")
    small = replace(
        stack_b,
        models={name: stack_b.models[name] for name in ("router", "reasoning")},
        roles={name: stack_b.roles[name] for name in ("router", "reasoning")},
    )
    found = replay_all(small, all_turns=True)
    assert turns_of(found) == [("t", 1)]
    assert found.left_out[0] == "thread t: 1 turn without an answer"
    assert "turn 1 of thread u was asked of role coding" in found.left_out[1]


def test_since_a_day(asked: Any, stack_b: Any, rolecall_home: Path) -> None:
    asked("old", "one")
    asked("new", "two")
    with closing(sqlite3.connect(rolecall_home / "threads.db")) as db:
        db.execute("UPDATE turns SET created_at = 0 WHERE thread_id = 'old'")
        db.commit()
    assert turns_of(replay_all(stack_b, since="7d")) == [("new", 1)]
    assert len(replay_all(stack_b, since="1970-01-01").comparisons) == 2
    with pytest.raises(UsageError, match="expected 7d"):
        replay_all(stack_b, since="yesterday")
    with pytest.raises(UsageError, match="no answered turns since 9000"):
        replay_all(stack_b, since="9000-01-01")


def test_another_stack_is_another_run_also_under_the_same_name(
    home_of_three: None, stack_b: Any, other_brain: Any
) -> None:
    other_brain.default = ScriptedReply(fault="refuse")
    first = replay_all(stack_b, limit=1)
    coder = stack_b.models["coding"][0]
    warmer = coder.model_copy(
        update={"sampling": coder.sampling.model_copy(update={"temperature": 0.5})}
    )
    changed = replace(stack_b, models={**stack_b.models, "coding": [warmer]})
    assert replay_all(changed, limit=1).run == first.run + 1
    assert replay_all(stack_b, limit=1).run == first.run


def test_a_home_without_threads_has_nothing_to_replay(stack_b: Any) -> None:
    with pytest.raises(UsageError, match="no answered turns"):
        replay_all(stack_b)
    store = open_store()
    try:
        assert bridge.run(store.runs()) == []
        with pytest.raises(UsageError, match="there is no run 7"):
            bridge.run(store.run(7))
    finally:
        store.close()
