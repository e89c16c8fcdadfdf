"""A process that is killed or interrupted in the middle of a turn loses nothing it accepted."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rolecall import bridge
from rolecall.assistant import Assistant
from rolecall.errors import ThreadBusy, UsageError
from rolecall.models.scripted import ScriptedReply, ScriptedRunner

pytestmark = pytest.mark.alone

CHILD = """
import sys
from rolecall import Assistant
stack, thread, *questions = sys.argv[1:]
with Assistant.open(stack) as assistant:
    print("open", flush=True)
    for question in questions:
        assistant.ask(question, thread=thread)
        print("done", question, flush=True)
"""
KILLS = 12
ROOT = Path(__file__).parents[2]


@contextmanager
def child(stack: Path, thread: str, *questions: str) -> Iterator[subprocess.Popen[str]]:
    """A process that asks; it has opened its assistant when this is entered."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(stack), thread, *questions],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first == "open\n", first + (process.stderr.read() if process.stderr else "")
        yield process
    finally:
        process.kill()
        process.communicate()


def eventually(happened: Callable[[], Any], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def kill(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def turns(assistant: Assistant, thread: str) -> list[dict[str, Any]]:
    return bridge.run(assistant.transcript.turns(thread, 1000))


def check_databases(home: Path) -> None:
    for path in home.glob("*.db"):
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",), path
        connection.close()


def calls_of(runner: ScriptedRunner, model: str) -> int:
    return len([one for one in runner.calls if one.model == model])


def test_a_turn_killed_while_its_specialist_answers_resumes_there(
    runner: ScriptedRunner, brain: Any, stack_file: Any, rolecall_home: Path
) -> None:
    brain.route = "CODING"
    brain.say(ScriptedReply("too late", delay_s=30))
    stack = stack_file(runner)
    with child(stack, "t", "Write a sort") as process:
        eventually(lambda: calls_of(runner, "coding-model") == 1)
        kill(process)
    eventually(lambda: runner.cancelled == 1)
    check_databases(rolecall_home)
    asked = calls_of(runner, "router-model")
    brain.default = "sorted(items)"
    with Assistant.open(stack) as assistant:
        (saved,) = turns(assistant, "t")
        assert (saved["status"], saved["answer"]) == ("running", None)
        reply = assistant.resume("t")
        assert reply.turn_id == saved["turn_id"]
        assert reply.text == "sorted(items)"
        assert reply.path == ["coding", "synthesis"]
        assert calls_of(runner, "router-model") == asked
        assert turns(assistant, "t")[0]["status"] == "done"
        with pytest.raises(UsageError):
            assistant.resume("t")


def test_a_turn_killed_while_it_is_routed_starts_with_the_router(
    runner: ScriptedRunner, brain: Any, stack_file: Any
) -> None:
    brain.route_delay_s = 30.0
    stack = stack_file(runner)
    with child(stack, "t", "Hello") as process:
        eventually(lambda: brain.routed == 1)
        kill(process)
    brain.route_delay_s = 0.0
    with Assistant.open(stack) as assistant:
        reply = assistant.resume("t")
        assert (reply.text, reply.path) == ("ok", ["router", "answer", "synthesis"])


def test_killed_at_any_moment_nothing_is_lost_paid_twice_or_done_twice() -> None:
    command = [sys.executable, "-m", "benchmarks", "kills", "--times", str(KILLS)]
    if seed := os.environ.get("SEED"):
        command += ["--seed", seed]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    print(done.stdout, done.stderr)
    assert done.returncode == 0


def test_ctrl_c_leaves_a_saved_turn_and_a_free_runner(
    runner: ScriptedRunner, brain: Any, stack_file: Any
) -> None:
    brain.route = "REASONING"
    brain.say(ScriptedReply("one two three", chunk_delay_s=10))
    stack = stack_file(runner)
    with child(stack, "t", "Why?") as process:
        eventually(lambda: calls_of(runner, "reasoning-model") == 1)
        time.sleep(0.2)
        started = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert time.monotonic() - started < 5
        assert "KeyboardInterrupt" in err
        assert "never retrieved" not in err
        assert process.returncode not in (0, 1 + 128)
    eventually(lambda: runner.cancelled == 1)
    with Assistant.open(stack) as assistant:
        (saved,) = turns(assistant, "t")
        assert (saved["status"], saved["error"]) == ("interrupted", "interrupted")
        reply = assistant.resume("t")
        assert (reply.text, reply.turn_id) == ("ok", saved["turn_id"])
        assert reply.path == ["reasoning", "synthesis"]


def test_a_killed_process_does_not_keep_its_thread_busy(
    runner: ScriptedRunner, brain: Any, stack_file: Any
) -> None:
    brain.default = ScriptedReply("late", delay_s=30)
    stack = stack_file(runner)
    with child(stack, "t", "Hello") as process:
        eventually(lambda: runner.calls)
        with Assistant.open(stack) as assistant, pytest.raises(ThreadBusy, match=f"{process.pid}"):
            assistant.ask("Hello?", thread="t")
        kill(process)
    brain.default = "again"
    with Assistant.open(stack) as assistant:
        assert assistant.ask("Hello again", thread="t").text == "again"
