"""Turns are ended early and tidily: saved, their generation cancelled, their thread free."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rolecall.assistant import Assistant
from rolecall.errors import TurnFailed, TurnInterrupted, UsageError
from rolecall.models.scripted import ScriptedReply, ScriptedRunner
from rolecall.reply import Part, Reply

SLOW = ScriptedReply("one two three four", chunk_delay_s=5)


def eventually(happened: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


class Listener:
    """Hears a turn in a thread of its own."""

    def __init__(self, parts: Iterator[Part]) -> None:
        self.parts: list[Part] = []
        self.reply: Reply | None = None
        self.error: BaseException | None = None
        self._source = parts
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def heard(self, kind: str) -> bool:
        return any(part.type == kind for part in self.parts)

    def ended(self) -> BaseException | None:
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.error

    def _listen(self) -> None:
        try:
            for part in self._source:
                self.parts.append(part)
        except BaseException as error:
            self.error = error


def calls(tool: str, **arguments: Any) -> ScriptedReply:
    return ScriptedReply(tool_calls=[{"name": tool, "args": arguments}])


def test_a_streaming_answer_is_abandoned_and_what_was_said_is_kept(
    assistant: Assistant, runner: ScriptedRunner, brain: Any, turns: Any
) -> None:
    brain.say(SLOW)
    listener = Listener(assistant.stream("Why?", thread="t", role="reasoning"))
    eventually(lambda: listener.heard("text"))
    started = time.monotonic()
    assert assistant.stop()
    stopped = listener.ended()
    assert time.monotonic() - started < 4
    assert isinstance(stopped, TurnInterrupted)
    assert isinstance(stopped, TurnFailed)
    assert stopped.exit_code == 130
    assert "rolecall resume t" in str(stopped)
    assert stopped.reply is not None
    assert stopped.reply.text.startswith("one")
    eventually(lambda: runner.cancelled == 1)
    (row,) = turns(assistant, "t")
    assert (row["status"], row["error"]) == ("interrupted", "interrupted")
    assert row["answer"] == stopped.reply.text
    assert not assistant.stopping
    assert assistant.resume("t").text == "ok"


def test_a_tool_may_end_and_is_not_run_again(
    assistant: Assistant, brain: Any, turns: Any, runner: ScriptedRunner
) -> None:
    brain.say(calls("dawdle", seconds=0.5))
    listener = Listener(assistant.stream("Wait", thread="t", role="reasoning"))
    eventually(lambda: listener.heard("tool_started"))
    assistant.stop()
    assert isinstance(listener.ended(), TurnInterrupted)
    assert listener.heard("tool_finished")
    assert any("stopping" in part.data.get("note", "") for part in listener.parts)
    assert len(runner.calls) == 1
    assert turns(assistant, "t")[0]["status"] == "interrupted"
    reply = assistant.resume("t")
    assert (reply.text, reply.path) == ("ok", ["reasoning", "synthesis"])
    assert "waited" in str(runner.calls[-1].messages)


def test_a_tool_that_does_not_end_is_left_behind_in_time(opened: Any, brain: Any) -> None:
    brain.say(calls("dawdle", seconds=8.0))
    with opened({"turn": {"stop_within_s": 0.2}}) as assistant:
        listener = Listener(assistant.stream("Wait", thread="t", role="reasoning"))
        eventually(lambda: listener.heard("tool_started"))
        started = time.monotonic()
        assistant.stop()
        assert isinstance(listener.ended(), TurnInterrupted)
        assert 0.15 < time.monotonic() - started < 6
        assert not listener.heard("tool_finished")


def test_one_that_waits_for_its_thread_leaves_the_line_and_saves_nothing(
    opened: Any, brain: Any, turns: Any
) -> None:
    brain.say(SLOW)
    with opened({"turn": {"wait_for_thread_s": 60}}) as assistant:
        first = Listener(assistant.stream("first", thread="t", role="reasoning"))
        eventually(lambda: first.heard("started"))
        second = Listener(assistant.stream("second", thread="t", role="reasoning"))
        time.sleep(0.1)
        assistant.stop()
        assert isinstance(first.ended(), TurnInterrupted)
        error = second.ended()
        assert isinstance(error, TurnInterrupted)
        assert "nothing was saved" in str(error)
        assert [row["question"] for row in turns(assistant, "t")] == ["first"]


def test_nothing_is_stopped_where_nothing_runs(assistant: Assistant, brain: Any) -> None:
    assert not assistant.stop()
    assert assistant.ask("Hello", role="reasoning").text == "ok"
    assert not assistant.stop()


def test_closing_ends_the_turns_of_other_threads(
    opened: Any, brain: Any, runner: ScriptedRunner, turns: Any
) -> None:
    brain.say(SLOW, SLOW)
    with opened() as assistant:
        listeners = [
            Listener(assistant.stream("Why?", thread=name, role="reasoning")) for name in "ab"
        ]
        eventually(lambda: all(one.heard("text") for one in listeners))
    assert [type(one.ended()) for one in listeners] == [TurnInterrupted] * 2
    eventually(lambda: runner.cancelled == 2)
    with pytest.raises((UsageError, RuntimeError)):
        assistant.ask("Hello")
    with opened() as again:
        assert turns(again, "a")[0]["status"] == "interrupted"
        assert [again.resume(name).text for name in "ab"] == ["ok", "ok"]


def test_leaving_while_a_stream_is_half_read_ends_its_turn(
    opened: Any, brain: Any, runner: ScriptedRunner
) -> None:
    brain.say(SLOW)
    with opened() as assistant:
        parts = assistant.stream("Why?", thread="t", role="reasoning")
        while next(parts).type != "text":
            pass
    eventually(lambda: runner.cancelled == 1)
    with pytest.raises(TurnInterrupted):
        list(parts)


async def test_a_cancelled_task_lets_its_tool_end(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, turns: Any, rolecall_home: Path
) -> None:
    brain.say(calls("dawdle", seconds=0.5))
    heard: list[str] = []

    async def listen() -> None:
        async for part in assistant.astream("Wait", thread="t", role="reasoning"):
            heard.append(part.type)

    task = asyncio.create_task(listen())
    await asyncio.to_thread(eventually, lambda: "tool_started" in heard)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not assistant.stopping
    reply = await assistant.aresume("t")
    assert (reply.text, reply.path) == ("ok", ["reasoning", "synthesis"])
    assert len(runner.calls) == 2


def test_a_turn_that_waits_for_an_answer_still_waits_for_it(
    assistant: Assistant, brain: Any
) -> None:
    brain.say(calls("ask_user", question="Which?"))
    assert assistant.ask("Ask me", thread="t", role="reasoning").waiting_for == "Which?"
    brain.say(SLOW)
    listener = Listener(assistant.stream_resume("t", "this one"))
    eventually(lambda: listener.heard("text"))
    assistant.stop()
    assert isinstance(listener.ended(), TurnInterrupted)
    assert assistant.resume("t").text == "ok"
