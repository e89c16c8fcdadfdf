"""Errors on the way through a thread: what was replayed is told, what is not told is forgotten."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError
from typing import Any

import pytest

from rolecall import bridge
from rolecall.errors import TurnInterrupted, UndecodableState, UnknownModel
from rolecall.memory.history import ThreadHistory
from rolecall.replay.session import Session
from rolecall.replay.thread import Replayed, replay_thread


@pytest.fixture
def fails_at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``fails_at(turn, error)``: the replay of that turn raises."""

    def set_up(turn: int, error: BaseException) -> None:
        run = Session.run

        async def failing(self: Session, original: Any, target: str) -> Any:
            if original.row["number"] == turn:
                raise error
            return await run(self, original, target)

        monkeypatch.setattr(Session, "run", failing)

    return set_up


def replayed(stack: Any, **options: Any) -> Replayed:
    return bridge.run(replay_thread("t", stack, all_turns=True, **options))


def test_an_error_on_the_way_keeps_the_turns_before_and_their_thread(
    asked: Any, stack_b: Any, threads: Any, fails_at: Any
) -> None:
    asked("t", "one", "two", "three", "four", role="coding")
    fails_at(2, UnknownModel("no such model"))
    found = replayed(stack_b, own_history=True)
    assert [one.turn for one in found.comparisons] == [1]
    assert found.left_out == [
        "turn 2 of thread t: no such model",
        "turns 3 to 4: not asked after that",
    ]
    assert found.exit_code == 2
    assert threads() == [found.comparisons[0].replay_thread, "t"]


@pytest.mark.parametrize("options", [{"own_history": True}, {"keep": True}])
@pytest.mark.parametrize("error", [TurnInterrupted("stopped"), asyncio.CancelledError()])
def test_an_interrupt_leaves_no_thread_that_nobody_was_told_of(
    asked: Any,
    stack_b: Any,
    threads: Any,
    fails_at: Any,
    options: dict[str, bool],
    error: BaseException,
) -> None:
    asked("t", "one", "two", "three", role="coding")
    fails_at(3, error)
    with pytest.raises((TurnInterrupted, CancelledError)):
        replayed(stack_b, **options)
    assert threads() == ["t"]


def test_a_step_that_cannot_be_read_costs_only_its_own_turn(
    asked: Any, stack_b: Any, fails_at: Any
) -> None:
    asked("t", "one", "two", "three", role="coding")
    fails_at(1, UndecodableState("its bytes are kept"))
    found = replayed(stack_b)
    assert [one.turn for one in found.comparisons] == [2, 3]
    assert found.left_out == ["turn 1 of thread t: its bytes are kept"]
    assert found.exit_code == 0


def test_a_copy_that_is_there_for_a_replay_is_not_found_by_search_or_recall(
    asked: Any, opened: Any
) -> None:
    asked("t", "Where is the unicorn?")
    with opened() as assistant:
        scratch = assistant.fork("t", new="replay.scratch.0000aaaa")
        mine = "replay.scratch.mine"
        assistant.ask("a unicorn of my own", mine)
        found = bridge.run(assistant.transcript.search("unicorn"))
        assert {row["thread_id"] for row in found} == {"t", mine}
        assert len(bridge.run(assistant.transcript.search("unicorn", thread=scratch))) == 1
        history = ThreadHistory(assistant.transcript._file, all_threads=True)
        recalled = bridge.run(history.search("other", "unicorn", 9))
        assert {turn.thread for turn in recalled} == {"t", mine}
        own = bridge.run(history.search(scratch, "unicorn", 9))
        assert {turn.thread for turn in own} == {"t", mine, None}
