"""Checkpoints on ``threads.db``: found by step, copied with what is pending on them."""

from __future__ import annotations

import operator
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt

from rolecall.errors import StateError, UsageError
from rolecall.threads.checkpoints import copy_step, find_step, open_saver, thread_config
from rolecall.threads.saver import ThreadSaver

pytestmark = pytest.mark.alone


class State(TypedDict):
    seen: Annotated[list[str], operator.add]


@pytest.fixture
async def saver(tmp_path: Path) -> AsyncIterator[ThreadSaver]:
    async with open_saver(tmp_path / "threads.db") as opened:
        yield opened


def compiled(saver: ThreadSaver) -> Any:
    """first → two tasks at once, of which one asks → last."""
    ran: list[str] = []

    async def first(state: State) -> dict[str, Any]:
        ran.append("first")
        return {"seen": ["first"]}

    async def task(given: dict[str, str]) -> dict[str, Any]:
        ran.append(given["name"])
        if given["name"] == "asks":
            return {"seen": [f"answered {interrupt('what?')}"]}
        return {"seen": [given["name"]]}

    async def last(state: State) -> dict[str, Any]:
        ran.append("last")
        return {"seen": ["last"]}

    graph: Any = StateGraph(State)
    graph.add_node("first", first)
    graph.add_node("task", task)
    graph.add_node("last", last)
    graph.add_edge(START, "first")
    graph.add_conditional_edges(
        "first", lambda _: [Send("task", {"name": n}) for n in ("works", "asks")], ["task"]
    )
    graph.add_edge("task", "last")
    graph.add_edge("last", END)
    done = graph.compile(checkpointer=saver)
    done.ran = ran
    return done


async def test_steps_are_found_by_number_by_id_and_latest(saver: ThreadSaver) -> None:
    await compiled(saver).ainvoke({"seen": ["question"]}, thread_config("t"))
    latest = await find_step(saver, "t", None)
    number = str(latest.metadata["step"])
    assert (await find_step(saver, "t", number)).checkpoint["id"] == latest.checkpoint["id"]
    assert (await find_step(saver, "t", latest.checkpoint["id"])).checkpoint == latest.checkpoint
    assert (await find_step(saver, "t", "-1")).metadata["source"] == "input"


@pytest.mark.parametrize("step", ["99", "-5", "nonsense", "--1", "²", "", "9" * 30, "1.5"])
async def test_a_step_that_is_not_there_is_a_usage_error(saver: ThreadSaver, step: str) -> None:
    await compiled(saver).ainvoke({"seen": ["question"]}, thread_config("t"))
    with pytest.raises(UsageError, match=r"thread t has no step .*rolecall threads show"):
        await find_step(saver, "t", step)


async def test_a_thread_without_steps_is_a_usage_error(saver: ThreadSaver) -> None:
    with pytest.raises(UsageError):
        await find_step(saver, "t", None)


async def test_a_copy_runs_on_with_what_was_pending(saver: ThreadSaver) -> None:
    from langgraph.types import Command

    graph = compiled(saver)
    await graph.ainvoke({"seen": ["question"]}, thread_config("t"))
    assert (await graph.aget_state(thread_config("t"))).interrupts
    await copy_step(saver, await find_step(saver, "t", None), "copy")
    graph.ran.clear()
    result = await graph.ainvoke(Command(resume="so"), thread_config("copy"))
    assert result["seen"] == ["question", "first", "works", "answered so", "last"]
    assert graph.ran == ["asks", "last"]  # the task that was done is not repeated
    original = await graph.aget_state(thread_config("t"))
    assert original.values["seen"] == ["question", "first", "works"]
    assert original.interrupts


async def test_the_original_may_go_before_its_copy(saver: ThreadSaver) -> None:
    graph = compiled(saver)
    await graph.ainvoke({"seen": ["question"]}, thread_config("t"))
    await copy_step(saver, await find_step(saver, "t", None), "copy")
    await saver.adelete_thread("t")
    state = await graph.aget_state(thread_config("copy"))
    assert state.values["seen"] == ["question", "first", "works"]


async def test_state_is_there_for_another_saver(tmp_path: Path) -> None:
    async with open_saver(tmp_path / "threads.db") as first:
        await compiled(first).ainvoke({"seen": ["question"]}, thread_config("t"))
    async with open_saver(tmp_path / "threads.db") as second:
        found = await find_step(second, "t", None)
    assert found.checkpoint["channel_values"]["seen"] == ["question", "first"]


async def test_a_file_that_is_no_database_is_a_state_error(tmp_path: Path) -> None:
    path = tmp_path / "threads.db"
    path.write_bytes(b"no database " * 200)
    with pytest.raises(StateError, match="damaged"):
        async with open_saver(path):
            pass
    with pytest.raises(StateError, match="folder exists"):
        async with open_saver(tmp_path / "gone" / "threads.db"):
            pass


def test_a_program_that_forgets_to_close_ends_all_the_same(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from rolecall import bridge\n"
        "from rolecall.threads.checkpoints import open_saver\n"
        f"opened = open_saver(Path({str(tmp_path / 'threads.db')!r}))\n"
        "bridge.run(opened.__aenter__())\n"
        "print('open')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.returncode) == ("open\n", 0)
