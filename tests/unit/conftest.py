"""What several unit tests share: a home to configure, and an assistant with tools of its own."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rolecall import bridge
from rolecall.assistant import Assistant
from rolecall.models.scripted import Request, ScriptedRunner

TOOLS = '''
import os, time
from pathlib import Path
from langgraph.types import interrupt

def ask_user(question: str) -> str:
    """Ask the user.

    Args:
        question: what to ask.
    """
    return "the user said " + str(interrupt(question))

def count(label: str) -> str:
    """Count calls.

    Args:
        label: which counter.
    """
    path = Path(os.environ["ROLECALL_HOME"]) / f"count-{label}"
    with path.open("a") as file:
        file.write("x")
    return f"{label} counted"

def broken(why: str) -> str:
    """Fail.

    Args:
        why: the message.
    """
    raise ValueError(why)

def leave(code: int) -> str:
    """Exit.

    Args:
        code: the exit code.
    """
    raise SystemExit(code)

def dawdle(seconds: float) -> str:
    """Wait.

    Args:
        seconds: how long.
    """
    time.sleep(seconds)
    return "waited"
'''


@pytest.fixture
def home(rolecall_home: Path) -> Path:
    """``ROLECALL_HOME`` with a ``config/stacks`` folder, still empty."""
    (rolecall_home / "config" / "stacks").mkdir(parents=True)
    return rolecall_home


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A stack file that is still to be written."""
    return tmp_path / "mine.yaml"


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """Settings that bring in ``TOOLS``."""
    folder = tmp_path / "user-tools"
    folder.mkdir()
    (folder / "mine.py").write_text(TOOLS, encoding="utf-8")
    return {"tools_folder": str(folder)}


@pytest.fixture
def assistant(runner: ScriptedRunner, stack_for: Any, settings: Any) -> Iterator[Assistant]:
    """An assistant on the scripted runner, with ``TOOLS``."""
    with Assistant.open(stack_for(runner, settings)) as opened:
        yield opened


@pytest.fixture
def opened(
    runner: ScriptedRunner, stack_for: Any, settings: Any
) -> Callable[..., AbstractContextManager[Assistant]]:
    """``opened(settings, **model)``: the same with other settings."""

    @contextmanager
    def open_with(more: dict[str, Any] | None = None, **model: Any) -> Iterator[Assistant]:
        with Assistant.open(stack_for(runner, settings | (more or {}), **model)) as one:
            yield one

    return open_with


@pytest.fixture
def said_to() -> Callable[[Request], list[tuple[str, str]]]:
    """``said_to(request)``: roles and texts a model was sent, without the system prompt."""

    def said(request: Request) -> list[tuple[str, str]]:
        return [
            (str(m["role"]), m.get("content") or "")
            for m in request.messages
            if m["role"] != "system"
        ]

    return said


@pytest.fixture
def turns() -> Callable[..., list[dict[str, Any]]]:
    """``turns(assistant, thread)``: what the transcript keeps of a thread."""

    def kept(assistant: Assistant, thread: str, **more: Any) -> list[dict[str, Any]]:
        return bridge.run(assistant.transcript.turns(thread, **more))

    return kept


@dataclass
class Outcome:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


@pytest.fixture
def run(
    runner: ScriptedRunner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Callable[..., Outcome]:
    """``rolecall ARGS`` with a stack on the scripted runner."""
    spec = f"{{id: tiny, endpoint: '{runner.endpoint}'}}"
    stack = tmp_path / "scripted.yaml"
    stack.write_text(f"models: {{router: {spec}, reasoning: {spec}, coding: {spec}}}\n")
    monkeypatch.setenv("ROLECALL_STACK", str(stack))

    def call(*arguments: str, stdin: bytes | None = None) -> Outcome:
        from rolecall.cli.main import run as main

        monkeypatch.setattr(sys, "argv", ["rolecall", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin or b"")))
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        return Outcome(int(ended.value.code or 0), said.out, said.err)

    return call
