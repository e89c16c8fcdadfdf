"""Work that follows a turn: never in its way, once at a time per thread, ended at closing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from rolecall import opening
from rolecall.after_turn import AfterTurn, AfterTurns
from rolecall.assistant import Assistant
from rolecall.models.scripted import ScriptedRunner
from rolecall.threads.transcript import Accepted


class Kept:
    """Keeps telemetry rows."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, dict[str, Any]]] = []

    def add(self, table: str, row: dict[str, Any]) -> None:
        self.rows.append((table, row))


class Work:
    """Notes which turns it was given; waits until it is let go."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.ended: list[str] = []
        self.go = asyncio.Event()

    async def __call__(self, turn: Accepted) -> None:
        self.began.append(turn.turn_id)
        await self.go.wait()
        self.ended.append(turn.turn_id)


def turn(turn_id: str, thread_id: str = "t") -> Accepted:
    return Accepted(turn_id, thread_id, f"trace-{turn_id}", 1, "Why?")


async def test_one_kind_runs_once_at_a_time_per_thread_and_the_latest_turn_counts() -> None:
    work = Work()
    after = AfterTurns([AfterTurn("prune", work)], Kept())
    for turn_id in ("a", "b", "c"):
        after.begin(turn(turn_id))
    after.begin(turn("other", "u"))
    await asyncio.sleep(0)
    assert work.began == ["a", "other"]
    work.go.set()
    assert await after.settled(5)
    assert sorted(work.ended) == ["a", "c", "other"]


async def test_what_gives_way_is_cancelled_by_the_next_turn_of_its_thread_only() -> None:
    summary, prune = Work(), Work()
    after = AfterTurns(
        [AfterTurn("summary", summary, gives_way=True), AfterTurn("prune", prune)], Kept()
    )
    after.begin(turn("a"))
    after.begin(turn("other", "u"))
    await asyncio.sleep(0)
    after.give_way("t")
    summary.go.set()
    prune.go.set()
    assert await after.settled(5)
    assert summary.ended == ["other"]
    assert sorted(prune.ended) == ["a", "other"]


async def test_what_fails_is_a_row_in_telemetry_and_the_next_runs() -> None:
    async def fail(given: Accepted) -> None:
        raise OSError(f"no disk for {given.turn_id}")

    kept = Kept()
    after = AfterTurns([AfterTurn("prune", fail)], kept)
    after.begin(turn("a"))
    assert await after.settled(5)
    after.begin(turn("b"))
    assert await after.settled(5)
    assert [(table, row["trace_id"], row["node"]) for table, row in kept.rows] == [
        ("errors", "trace-a", "prune"),
        ("errors", "trace-b", "prune"),
    ]
    assert kept.rows[0][1]["message"] == "no disk for a"


async def test_settling_says_when_the_time_was_too_short() -> None:
    work = Work()
    after = AfterTurns([AfterTurn("prune", work)], Kept())
    after.begin(turn("a"))
    assert not await after.settled(0.01)
    work.go.set()
    assert await after.settled(5)


async def test_closing_cancels_what_gives_way_and_finishes_the_rest() -> None:
    summary, prune = Work(), Work()
    after = AfterTurns(
        [AfterTurn("summary", summary, gives_way=True), AfterTurn("prune", prune)], Kept()
    )
    after.begin(turn("a"))
    asyncio.get_running_loop().call_later(0.05, prune.go.set)
    await after.close()
    assert (summary.ended, prune.ended) == ([], ["a"])
    after.begin(turn("b"))
    assert await after.settled(0.01)
    assert prune.began == ["a"]


@pytest.fixture
def followed(
    runner: ScriptedRunner, stack_for: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Assistant, list[str]]]:
    """An assistant after whose turns their threads are noted, slowly."""
    noted: list[str] = []

    async def note(given: Accepted) -> None:
        await asyncio.sleep(0.3)
        noted.append(given.thread_id)

    monkeypatch.setattr(opening, "_work_after_turns", lambda *_: [AfterTurn("note", note)])
    with Assistant.open(stack_for(runner, settings)) as assistant:
        yield assistant, noted


def test_the_answer_does_not_wait_for_what_follows(
    followed: tuple[Assistant, list[str]], brain: Any
) -> None:
    assistant, noted = followed
    assistant.ask("Hello", thread="a", role="reasoning")
    assert noted == []
    list(assistant.stream("Hello", thread="b", role="reasoning"))
    assert assistant.settle(10)
    assert sorted(noted) == ["a", "b"]


def test_a_turn_that_waits_for_the_user_is_not_followed_yet(
    followed: tuple[Assistant, list[str]], brain: Any
) -> None:
    from rolecall.models.scripted import ScriptedReply

    assistant, noted = followed
    brain.say(ScriptedReply(tool_calls=[{"name": "ask_user", "args": {"question": "Which?"}}]))
    reply = assistant.ask("Do it", thread="a", role="reasoning")
    assert reply.waiting_for is not None
    assert assistant.settle(10)
    assert noted == []
    brain.say("done")
    assistant.resume("a", "this one")
    assert assistant.settle(10)
    assert noted == ["a"]
