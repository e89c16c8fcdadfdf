"""Turns of a thread whose beginning has left the window: what models are told of it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from rolecall import bridge
from rolecall.assistant import Assistant
from rolecall.graphs.assistant import build_assistant
from rolecall.memory import summariser
from rolecall.memory.store import SummaryStore
from rolecall.models.client import LocalLLMClient
from rolecall.models.scripted import Request, ScriptedReply, ScriptedRunner

FIXED = {"routing": {"strategy": "fixed", "role": "reasoning"}}
SMALL = {"window_tokens": 256, "summary_deadline_s": 5}
FACT = "My name is Marta and my dog is called Bruno."
CHAT = "Please go on with the story about the old ship and the storm at sea. " * 4
PROSE = "The user is Marta, her dog is called Bruno."


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Summaries begin with no pause."""
    monkeypatch.setattr(summariser, "_PAUSE_S", 0.0)


@pytest.fixture
def remembering(opened: Any) -> Callable[..., Any]:
    """``remembering(summary="extractive", **memory)``: an assistant with a small window."""

    @contextmanager
    def open_with(summary: str = "extractive", **memory: Any) -> Iterator[Assistant]:
        with opened(FIXED | {"memory": SMALL | {"summary": summary} | memory}) as assistant:
            yield assistant

    return open_with


@pytest.fixture
def summaries(brain: Any) -> list[Request]:
    """Requests for a summary, answered with ``PROSE``; all others with a few words."""
    asked: list[Request] = []

    def answer(request: Request) -> ScriptedReply:
        if is_summary(request):
            asked.append(request)
            return ScriptedReply(PROSE)
        return ScriptedReply("The ship sailed on through the night.")

    brain.default = answer
    return asked


def is_summary(request: Request) -> bool:
    return request.text.endswith("Write the notes anew.")


def system_of(request: Request) -> str:
    texts = [m["content"] for m in request.messages if m["role"] == "system"]
    assert len(texts) == 1  # some templates take only one
    return str(texts[0])


def rows_of(home: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(home / "telemetry.db")) as database:
        return database.execute(sql).fetchall()


def chat(assistant: Assistant, times: int, thread: str = "t") -> None:
    for number in range(times):
        assistant.ask(f"{number}: {CHAT}", thread=thread)


def answered(runner: ScriptedRunner) -> list[Request]:
    return [call for call in runner.calls if not is_summary(call)]


def test_what_left_the_window_is_told_and_a_prompt_stays_as_long_as_it_was(
    remembering: Any, brain: Any, runner: ScriptedRunner
) -> None:
    brain.default = "The ship sailed on. " * 5
    with remembering() as assistant:
        assistant.ask(FACT, thread="t")
        chat(assistant, 12)
    sizes = [sum(len(m["content"]) for m in call.messages) for call in runner.calls]
    assert FACT not in str([m for m in runner.calls[-1].messages if m["role"] != "system"])
    assert f"- user: {FACT}" in system_of(runner.calls[-1])
    assert max(sizes[6:]) <= 4 * (256 + 512) + 1500


def test_off_tells_nothing(remembering: Any, brain: Any, runner: ScriptedRunner) -> None:
    with remembering("off") as assistant:
        assistant.ask(FACT, thread="t")
        chat(assistant, 5)
    assert "Bruno" not in str(runner.calls[-1].messages)
    assert "recall" in tools_of(runner.calls[-1])


def test_off_also_forgets_what_was_noted_before(
    remembering: Any, brain: Any, runner: ScriptedRunner
) -> None:
    with remembering() as assistant:
        assistant.ask(FACT, thread="t")
        chat(assistant, 4)
        assert "Bruno" in str(runner.calls[-1].messages)
    with remembering("off") as assistant:
        chat(assistant, 1)
    assert "Bruno" not in str(runner.calls[-1].messages)


def test_a_graph_without_threads_of_ours_has_the_extractive_summary(
    runner: ScriptedRunner, brain: Any, stack_for: Any
) -> None:
    client = LocalLLMClient(stack_for(runner, FIXED | {"memory": SMALL}))
    graph = build_assistant(client).compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    for text in (FACT, *[CHAT] * 5):
        graph.invoke({"messages": [HumanMessage(text)]}, config)
    assert "Bruno" in system_of(runner.calls[-1])
    client.close()


# --- prose ----------------------------------------------------------------------------------------


def test_the_router_model_rewrites_it_after_some_turns_and_the_next_turn_has_it(
    remembering: Any, summaries: list[Request], runner: ScriptedRunner, rolecall_home: Path
) -> None:
    with remembering("model") as assistant:
        assistant.ask(FACT, thread="t")
        for _ in range(7):
            chat(assistant, 1)
            assert assistant.settle(10)
        assert 1 <= len(summaries) <= 4  # most turns make no call more
        assert summaries[0].model == "router-model"
        assert FACT in summaries[0].text
        told = system_of(answered(runner)[-1])
        assert PROSE in told
        assert FACT not in told  # the prose says it
        reply = assistant.ask("And then?", thread="t")
        assert len(reply.calls) == 1
    calls = rows_of(rolecall_home, "SELECT count(*) FROM model_calls WHERE node = 'summary'")
    assert calls == [(len(summaries),)]


def test_the_next_turn_cancels_it_and_the_extractive_summary_stands(
    remembering: Any, brain: Any, runner: ScriptedRunner
) -> None:
    slow: list[Request] = []

    def answer(request: Request) -> ScriptedReply:
        if is_summary(request):
            slow.append(request)
            return ScriptedReply(pieces=[PROSE] * 200, chunk_delay_s=0.1)
        return ScriptedReply("The ship sailed on through the night.")

    brain.default = answer
    with remembering("model", summary_deadline_s=60) as assistant:
        assistant.ask(FACT, thread="t")
        while not slow:
            chat(assistant, 1)
            assistant.settle(0.2)
        began = time.monotonic()
        chat(assistant, 1)
        assert time.monotonic() - began < 5
        assert "Bruno" in system_of(answered(runner)[-1])
        began = time.monotonic()
    assert time.monotonic() - began < 5  # closing does not wait for it either


def test_what_has_come_when_time_is_over_counts(
    remembering: Any, brain: Any, runner: ScriptedRunner
) -> None:
    def answer(request: Request) -> ScriptedReply:
        if is_summary(request):
            return ScriptedReply(pieces=[PROSE, *[" More to come"] * 200], chunk_delay_s=0.1)
        return ScriptedReply("The ship sailed on through the night.")

    brain.default = answer
    with remembering("model", summary_deadline_s=1) as assistant:
        assistant.ask(FACT, thread="t")
        for _ in range(6):
            chat(assistant, 1)
            assert assistant.settle(10)
    assert PROSE in system_of(answered(runner)[-1])


@pytest.mark.parametrize("said", ["I'm sorry, I cannot do that.", "", "Her cat Felix is 12 now."])
def test_prose_that_is_no_use_is_not_taken(
    remembering: Any, brain: Any, runner: ScriptedRunner, said: str
) -> None:
    brain.default = lambda request: said if is_summary(request) else "The ship sailed on."
    with remembering("model") as assistant:
        assistant.ask(FACT, thread="t")
        for _ in range(6):
            chat(assistant, 1)
            assert assistant.settle(10)
    told = system_of(answered(runner)[-1])
    assert f"- user: {FACT}" in told
    assert "Felix" not in told


def test_a_model_that_fails_at_it_fails_no_turn(
    remembering: Any, brain: Any, runner: ScriptedRunner, rolecall_home: Path
) -> None:
    brain.default = lambda request: (
        ScriptedReply(fault=500) if is_summary(request) else ScriptedReply("The ship sailed on.")
    )
    with remembering("model") as assistant:
        assistant.ask(FACT, thread="t")
        for _ in range(5):
            chat(assistant, 1)
            assert assistant.settle(20)
    assert "Bruno" in system_of(answered(runner)[-1])
    assert rows_of(rolecall_home, "SELECT type FROM errors WHERE node = 'summary'")


def test_a_fork_at_an_earlier_step_knows_nothing_of_what_came_later(
    remembering: Any, summaries: list[Request], runner: ScriptedRunner
) -> None:
    with remembering("model") as assistant:
        chat(assistant, 4)
        early = assistant.steps("t", limit=1)[0]["checkpoint_id"]
        assistant.ask(FACT, thread="t")
        for _ in range(6):
            chat(assistant, 1)
            assert assistant.settle(10)
        assert "Bruno" in system_of(answered(runner)[-1])
        fork = assistant.fork("t", early)
        chat(assistant, 5, fork)
        assert all("Bruno" not in str(call.messages) for call in answered(runner)[-5:])
        latest = assistant.fork("t")
        chat(assistant, 1, latest)
        assert "Bruno" in system_of(answered(runner)[-1])


def test_prose_for_a_thread_that_was_deleted_is_not_kept(
    remembering: Any, summaries: list[Request]
) -> None:
    with remembering("model") as assistant:
        assistant.ask(FACT, thread="t")
        for _ in range(6):
            chat(assistant, 1)
            assert assistant.settle(10)
        store = SummaryStore(assistant._file)

        def rows() -> int:
            return bridge.run(
                assistant._file.run(
                    lambda db: db.execute("SELECT count(*) FROM summaries").fetchone()[0]
                )
            )

        assert rows() == 1
        assistant.delete("t")
        assert rows() == 0
        bridge.run(store.save("t", "question-x", 3, PROSE))
        assert rows() == 0


# --- recall ---------------------------------------------------------------------------------------


def tools_of(request: Request) -> list[str]:
    return [tool["function"]["name"] for tool in request.body.get("tools", [])]


def test_recall_is_offered_when_turns_have_left_and_finds_them_in_this_thread(
    remembering: Any, brain: Any, runner: ScriptedRunner
) -> None:
    with remembering() as assistant:
        assistant.ask("The secret harbour is Porto Azul.", thread="other")
        assistant.ask("The harbour of my ship is Koper.", thread="t")
        assert "recall" not in tools_of(runner.calls[-1])
        chat(assistant, 5)
        assert "recall" in tools_of(runner.calls[-1])
        brain.say(
            ScriptedReply(tool_calls=[{"name": "recall", "args": {"query": "which harbours?"}}]),
            "Koper.",
        )
        assert assistant.ask("Where does my ship lie?", thread="t").text == "Koper."
        result = next(m["content"] for m in runner.calls[-1].messages if m["role"] == "tool")
        assert result.startswith("[turn 1, 20")
        assert "Koper" in result
        assert "Porto Azul" not in result
        assert len(result) < 4000


def test_recall_looks_into_all_threads_where_that_is_set(
    remembering: Any, brain: Any, runner: ScriptedRunner
) -> None:
    with remembering(recall_all_threads=True) as assistant:
        assistant.ask("The secret harbour is Porto Azul.", thread="other")
        chat(assistant, 5)
        call = {"name": "recall", "args": {"query": "secret harbour"}}
        brain.say(ScriptedReply(tool_calls=[call]), "ok")
        assistant.ask("Which harbour?", thread="t")
        result = next(m["content"] for m in runner.calls[-1].messages if m["role"] == "tool")
        assert "[turn 1 of thread other, 20" in result
