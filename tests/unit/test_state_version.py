"""States of earlier versions are gone on from; those of newer ones and of others are refused."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest

from rolecall import bridge
from rolecall.assistant import Assistant
from rolecall.errors import UndecodableState
from rolecall.graphs.state import STATE_VERSION
from rolecall.models.scripted import ScriptedReply, ScriptedRunner
from rolecall.schema_version import NewerState
from rolecall.threads.checkpoints import thread_config
from rolecall.threads.saver import ThreadSaver

Opened = Callable[..., AbstractContextManager[Assistant]]
FIXED = {"routing": {"strategy": "fixed", "role": "reasoning"}}


@pytest.fixture
def old(
    old_home: Callable[..., Path], opened: Opened, rolecall_home: Path, runner: ScriptedRunner
) -> Iterator[Assistant]:
    """An assistant on the home that the first version left."""
    old_home("home_1", rolecall_home)
    runner.default = ScriptedReply("All done.")
    with opened(FIXED) as assistant:
        yield assistant


def test_what_the_first_version_left_is_gone_on_with(
    old: Assistant, runner: ScriptedRunner, said_to: Any, turns: Any
) -> None:
    assert old.ask("And now?", thread="sorts").text == "All done."
    asked = [text for role, text in said_to(runner.calls[-1]) if role == "user"]
    assert asked[0] == "Which sort is stable?"
    assert asked[-1] == "And now?"
    assert old.resume("failed").text == "All done."
    assert old.resume("killed").text == "All done."
    assert old.resume("waiting", "blue").text == "All done."
    assert [t["status"] for t in turns(old, "waiting")] == ["done"]


def test_a_thread_of_the_first_version_is_forked_and_deleted(old: Assistant, turns: Any) -> None:
    steps = old.steps("sorts", 100)
    first = [s for s in steps if s["next"] == [] and s["source"] == "loop"][-1]
    old.fork("sorts", first["checkpoint_id"], "new")
    assert [t["question"] for t in turns(old, "new")] == ["Which sort is stable?"]
    assert old.steps("sorts", 100, turn=1)[0] == first
    old.delete("sorts")
    assert old.steps("forked")


def test_each_step_says_the_version_of_its_state(assistant: Assistant, brain: Any) -> None:
    assistant.ask("Hello", thread="t", role="reasoning")
    saver = ThreadSaver(assistant.transcript._file)
    found = bridge.run(saver.aget_tuple(thread_config("t")))
    assert found is not None
    assert dict(found.metadata)["state_version"] == STATE_VERSION


def rewrite(home: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with closing(sqlite3.connect(home / "threads.db")) as connection:
        rows = connection.execute("SELECT step_id, metadata FROM saver_steps").fetchall()
        for step_id, text in rows:
            metadata = json.loads(text)
            change(metadata)
            connection.execute(
                "UPDATE saver_steps SET metadata = ? WHERE step_id = ?",
                [json.dumps(metadata), step_id],
            )
        connection.commit()


def test_a_newer_state_is_refused_and_kept(
    opened: Opened, rolecall_home: Path, brain: Any, turns: Any
) -> None:
    with opened() as assistant:
        assistant.ask("Hello", thread="t", role="reasoning")
    rewrite(rolecall_home, lambda metadata: metadata.update(state_version=STATE_VERSION + 1))
    with opened() as assistant:
        with pytest.raises(NewerState, match=r"step .* of thread t holds a state of version"):
            assistant.ask("Again", thread="t", role="reasoning")
        assert turns(assistant, "t")[0]["answer"] == "ok"
    rewrite(rolecall_home, lambda metadata: metadata.update(state_version=STATE_VERSION))
    with opened() as assistant:
        assert assistant.resume("t").text == "ok"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"messages": [], "mood": "good"}, "holds mood, which this graph does not have"),
        ({"messages": [], "turn": {}}, "lacks active_s, tool_rounds"),
    ],
)
def test_a_state_of_another_graph_is_refused(
    assistant: Assistant, brain: Any, values: dict[str, Any], says: str
) -> None:
    assistant.ask("Hello", thread="t", role="reasoning")
    saver = ThreadSaver(assistant.transcript._file)
    found = bridge.run(saver.aget_tuple(thread_config("t")))
    assert found is not None
    other: Any = {
        **found.checkpoint,
        "id": "ffffffff-0000-6000-8000-000000000000",
        "channel_values": values,
    }
    bridge.run(saver.aput(found.config, other, {**found.metadata, "step": 99}, {}))
    with pytest.raises(UndecodableState, match=says):
        assistant.ask("Again", thread="t", role="reasoning")
    assert bridge.run(saver.aget_tuple(thread_config("t"))) is not None
