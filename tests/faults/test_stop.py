"""Ctrl-C and SIGTERM in the command line: saved, cancelled, said, exit code 130."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rolecall import bridge
from rolecall.assistant import Assistant
from rolecall.models.scripted import ScriptedReply, ScriptedRunner

pytestmark = pytest.mark.alone

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x08")
COMMAND = [sys.executable, "-c", "from rolecall.cli.main import run; run()"]
TOOLS = '''
import os, time
from pathlib import Path

def dawdle(seconds: float) -> str:
    """Wait.

    Args:
        seconds: how long.
    """
    time.sleep(seconds)
    with (Path(os.environ["ROLECALL_HOME"]) / "dawdled").open("a") as file:
        file.write("x")
    return "waited"
'''


def eventually(happened: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def rolecall(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ctrl_c_ends_a_streaming_answer_with_all_that_was_said(
    runner: ScriptedRunner, brain: Any, stack_file: Any
) -> None:
    brain.say(ScriptedReply("one two three", chunk_delay_s=10))
    stack = stack_file(runner)
    process = rolecall(
        "ask", "Why?", "--role", "reasoning", "-t", "t", "--json", "--stack", str(stack)
    )
    eventually(lambda: runner.calls)
    time.sleep(0.3)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert time.monotonic() - started < 8
    told = json.loads(out)
    assert (told["thread_id"], told["exit_code"]) == ("t", 130)
    assert told["answer"].startswith("one")
    assert "rolecall resume t" in told["error"]
    assert "rolecall resume t" in err
    assert "Traceback" not in err
    eventually(lambda: runner.cancelled == 1)
    with Assistant.open(stack) as assistant:
        (row,) = bridge.run(assistant.transcript.turns("t", 10))
        assert (row["status"], row["answer"]) == ("interrupted", told["answer"])
        assert assistant.resume("t").text == "ok"


def test_a_second_ctrl_c_does_not_wait_for_a_tool(
    runner: ScriptedRunner, brain: Any, stack_file: Any, tmp_path: Path, rolecall_home: Path
) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "mine.py").write_text(TOOLS, encoding="utf-8")
    brain.say(ScriptedReply(tool_calls=[{"name": "dawdle", "args": {"seconds": 20}}]))
    stack = stack_file(
        runner, {"tools_folder": str(tmp_path / "tools"), "turn": {"stop_within_s": 30}}
    )
    process = rolecall("ask", "Wait", "--role", "reasoning", "-t", "t", "--stack", str(stack))
    eventually(lambda: runner.calls)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    time.sleep(0.6)
    assert process.poll() is None  # it waits for the tool
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - started < 5
    assert process.returncode == 130
    assert "rolecall resume t" in err
    assert not (rolecall_home / "dawdled").exists()


def test_chat_goes_on_after_ctrl_c_and_ends_with_sigterm(
    runner: ScriptedRunner, brain: Any, stack_file: Any
) -> None:
    slow = ScriptedReply("one two three", chunk_delay_s=10)
    brain.say(slow, "again", slow)
    terminal, its_end = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "chat", "-t", "t", "--role", "reasoning", "--stack", str(stack_file(runner))],
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        env={**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
        start_new_session=True,
    )
    os.close(its_end)
    seen = Screen(terminal)
    try:
        eventually(lambda: "> " in seen.read())  # the prompt
        os.write(terminal, b"Why?\r")
        eventually(lambda: "one" in seen.read())
        os.write(terminal, b"typed ahead")
        time.sleep(0.3)
        assert "typed ahead" not in seen.read()
        process.send_signal(signal.SIGINT)
        eventually(lambda: "or with /resume" in seen.read())
        eventually(lambda: "typed ahead" in seen.read())  # in the new prompt
        os.write(terminal, b"\r")
        eventually(lambda: "again" in seen.read())
        os.write(terminal, b"And?\r")
        eventually(lambda: len(runner.calls) == 3)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        eventually(lambda: seen.read() is not None and process.poll() is not None)
        assert process.returncode == 130
    finally:
        print(repr(seen.read()))
        process.kill()
        process.wait()
        os.close(terminal)
    assert runner.calls[1].messages[-1]["content"].endswith("typed ahead")


class Screen:
    """What a terminal was sent so far."""

    def __init__(self, terminal: int) -> None:
        os.set_blocking(terminal, False)
        self._terminal = terminal
        self._text = ""

    def read(self) -> str:
        try:
            while raw := os.read(self._terminal, 65536):
                self._text += raw.decode(errors="replace")
        except OSError:  # nothing more at the moment, or ever
            pass
        return _CONTROL.sub("", self._text.replace("\x1b[2C", " "))
