"""A batch of replays that is interrupted or killed keeps what it has and goes on from there."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from rolecall import bridge
from rolecall.assistant import Assistant
from rolecall.models.scripted import Request, ScriptedReply, ScriptedRunner
from rolecall.replay import replay_all

pytestmark = [pytest.mark.alone, pytest.mark.timeout(300)]

COMMAND = [sys.executable, "-c", "from rolecall.cli.main import run; run()"]
THREADS = ("a", "b", "c", "d")


@contextmanager
def rolecall(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def eventually(happened: Callable[[], Any], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def query(path: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


@pytest.fixture
def stack_b(runner: ScriptedRunner, brain: Any, stack_file: Any, tmp_path: Path) -> Path:
    """Stack B's file; four threads were asked on stack A, on the same runner."""
    first = stack_file(runner)
    with Assistant.open(first) as assistant:
        for thread in THREADS:
            assistant.ask(f"hello {thread}", thread, "coding")
    body = yaml.safe_load(first.read_text())
    body["settings"]["turn"]["max_tool_rounds"] = 5
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(body))
    return path


def hangs_at(thread: str) -> Callable[[Request], ScriptedReply | str]:
    def answer(request: Request) -> ScriptedReply | str:
        if request.text == f"hello {thread}":
            return ScriptedReply("too late", chunk_delay_s=30)
        return f"B on {request.text}"

    return answer


def test_a_batch_that_is_ended_or_killed_goes_on(
    runner: ScriptedRunner, brain: Any, stack_b: Path, rolecall_home: Path
) -> None:
    arguments = ("replay", "--all", "--stack", str(stack_b))
    for thread, number in (("c", signal.SIGTERM), ("b", signal.SIGKILL)):
        brain.default = hangs_at(thread)
        asked = len(runner.calls)
        with rolecall(*arguments) as process:
            eventually(lambda t=thread, n=asked: _asked(runner, t, n))  # type: ignore[misc]
            os.kill(process.pid, number)
            _, err = process.communicate(timeout=60)
        if number == signal.SIGTERM:
            assert process.returncode == 130
            assert "the same command goes on with it" in err
            assert "Traceback" not in err
            rows = query(rolecall_home / "threads.db", "SELECT thread_id FROM threads ORDER BY 1")
            assert [row[0] for row in rows] == list(THREADS)
    kept = query(rolecall_home / "replays.db", "SELECT thread_id, status FROM results")
    assert kept == [("d", "ok"), ("c", "ok")]
    brain.default = "B again"
    asked = len(runner.calls)
    found = replay_all(stack_b)
    assert (found.run, found.status, found.resumed) == (1, "done", 2)
    answers = {one.thread: one.replay.answer for one in found.comparisons}
    assert answers == {"d": "B on hello d", "c": "B on hello c", "b": "B again", "a": "B again"}
    assert [call.text for call in runner.calls[asked:]] == ["hello b", "hello a"]
    with Assistant.open(stack_b) as assistant:
        listed = bridge.run(assistant.transcript.threads())
    assert sorted(row["thread_id"] for row in listed) == list(THREADS)


def _asked(runner: ScriptedRunner, thread: str, after: int) -> bool:
    return any(call.text == f"hello {thread}" for call in runner.calls[after:])
