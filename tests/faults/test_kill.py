"""A process that is killed or interrupted in the middle of a turn loses nothing it accepted."""

from __future__ import annotations

import json
import os
import random
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
from rolecall.errors import UsageError
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
TOOLS = '''
import os
from pathlib import Path

def count(label: str) -> str:
    """Count calls.

    Args:
        label: which counter.
    """
    with (Path(os.environ["ROLECALL_HOME"]) / f"count-{label}").open("a") as file:
        file.write("x")
    return "counted"
'''
ROUNDS = 6


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


def test_a_tool_that_was_done_is_not_run_again(
    runner: ScriptedRunner, brain: Any, stack_file: Any, rolecall_home: Path, tmp_path: Path
) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "mine.py").write_text(TOOLS, encoding="utf-8")
    brain.route = "REASONING"
    brain.say(ScriptedReply(tool_calls=[{"name": "count", "args": {"label": "a"}}]))
    brain.say(ScriptedReply("too late", delay_s=30))
    stack = stack_file(runner, {"tools_folder": str(tmp_path / "tools")})
    with child(stack, "t", "count") as process:
        eventually(lambda: calls_of(runner, "reasoning-model") == 2)
        kill(process)
    with Assistant.open(stack) as assistant:
        assert assistant.resume("t").text == "ok"
    assert (rolecall_home / "count-a").read_text() == "x"


def test_killed_at_any_moment_every_accepted_turn_can_be_finished(
    runner: ScriptedRunner, brain: Any, stack_file: Any, rolecall_home: Path
) -> None:
    seed = int(os.environ.get("SEED") or random.randrange(10**6))
    print(f"SEED={seed}")
    chance = random.Random(seed)
    brain.route = "CODING"
    brain.default = ScriptedReply("one two three four", chunk_delay_s=0.02)
    stack = stack_file(runner)
    questions = [f"question {n}" for n in range(40)]
    for number in range(ROUNDS):
        with child(stack, f"t{number}", *questions) as process:
            time.sleep(chance.uniform(0.0, 0.8))
            kill(process)
        check_databases(rolecall_home)
    with Assistant.open(stack) as assistant:
        finished = 0
        for thread in bridge.run(assistant.transcript.threads(100)):
            name = thread["thread_id"]
            before = turns(assistant, name)
            # only the turn that ran may lack its answer
            assert [t["status"] for t in before[:-1]] == ["done"] * (len(before) - 1)
            assert [t["number"] for t in before] == list(range(1, len(before) + 1))
            if before[-1]["status"] != "done":
                reply = assistant.resume(name)
                assert reply.turn_id == before[-1]["turn_id"]
                assert reply.text == "one two three four"
                finished += 1
            after = turns(assistant, name)
            assert {(t["status"], t["answer"]) for t in after} == {("done", "one two three four")}
            # and the conversation goes on with all of it
            assistant.ask("last", thread=name)
            users = [m for m in runner.calls[-1].messages if m["role"] == "user"]
            assert [m["content"] for m in users] == [t["question"] for t in after] + ["last"]
        print(f"{finished} turns of {ROUNDS} processes were resumed")
    check_databases(rolecall_home)


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
    runner: ScriptedRunner, brain: Any, stack_file: Any, rolecall_home: Path
) -> None:
    brain.default = ScriptedReply("late", delay_s=30)
    stack = stack_file(runner)
    with child(stack, "t", "Hello") as process:
        eventually(lambda: list(rolecall_home.glob("locks/*.holder")))
        (holder,) = rolecall_home.glob("locks/*.holder")
        assert json.loads(holder.read_text())["pid"] == process.pid
        kill(process)
    brain.default = "again"
    with Assistant.open(stack) as assistant:
        assert assistant.ask("Hello again", thread="t").text == "again"


def test_two_processes_answer_on_one_home_at_once(
    runner: ScriptedRunner, brain: Any, stack_file: Any, rolecall_home: Path
) -> None:
    stack = stack_file(runner)
    questions = [f"question {n}" for n in range(10)]
    with child(stack, "a", *questions) as first, child(stack, "b", *questions) as second:
        for process in (first, second):
            out, err = process.communicate(timeout=60)
            assert (process.returncode, err) == (0, "")
            assert len(out.splitlines()) == 10
    with Assistant.open(stack) as assistant:
        for thread in ("a", "b"):
            assert {t["status"] for t in turns(assistant, thread)} == {"done"}
    check_databases(rolecall_home)
