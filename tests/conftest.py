"""Every test has a home of its own, no network but loopback, and a scripted runner to ask."""

from __future__ import annotations

import gzip
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_socket
import yaml
from hypothesis import settings

from rolecall.config.load import load_stack
from rolecall.config.schema import Stack
from rolecall.models.scripted import Request, ScriptedReply, ScriptedRunner
from rolecall.models.scripted.script import Script

settings.register_profile("rolecall", deadline=None)  # machines under load are not a fault
settings.load_profile("rolecall")

ROLES = ("router", "reasoning", "coding")
LOOPBACK = ["127.0.0.1", "::1", "localhost"]
_FOREIGN = ("ROLECALL_", "LANGSMITH", "LANGCHAIN")

StackFor = Callable[..., Stack]


@pytest.fixture(autouse=True)
def rolecall_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Path:
    """``ROLECALL_HOME`` of this test; no other variable that steers Rolecall or LangChain."""
    folder = tmp_path / "rolecall-home"
    for name in list(os.environ):
        if name.startswith(_FOREIGN) and not name.startswith("ROLECALL_LIVE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ROLECALL_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def only_loopback(request: pytest.FixtureRequest) -> Iterator[None]:
    """No socket leaves the machine; live tests may fetch their weights."""
    if request.node.get_closest_marker("live"):
        yield
        return
    pytest_socket.socket_allow_hosts(LOOPBACK, allow_unix_socket=True)
    yield
    pytest_socket._remove_restrictions()


class Brain:
    """What the scripted models say, by what they are asked.

    Attributes:
        route: whom the router model chooses: ``HANDLE``, ``REASONING`` or ``CODING``.
        answers: what is said next to anything but a routing question; then ``default``.
        routed: how many questions the router model was asked to route.
    """

    def __init__(self) -> None:
        self.route = "HANDLE"
        self.answers: deque[Script] = deque()
        self.default: Script = "ok"
        self.routed = 0
        self.route_delay_s = 0.0
        self._lock = threading.Lock()

    def say(self, *answers: Script) -> None:
        """Say these next, in order."""
        self.answers.extend(answers)

    def __call__(self, request: Request) -> ScriptedReply | str:
        if (request.top_logprobs or 0) > 1:
            return self._routing(request)
        with self._lock:
            script = self.answers.popleft() if self.answers else self.default
        return script(request) if callable(script) else script

    def _routing(self, request: Request) -> ScriptedReply:
        if re.fullmatch(r"Message: (|\.\.\.|N/A)\nLetter:", request.text):
            return ScriptedReply("A", logprobs=dict.fromkeys("ABC", -1.1))  # leans nowhere
        self.routed += 1
        letter = "ABC"[("HANDLE", "REASONING", "CODING").index(self.route)]
        scores = {name: -0.05 if name == letter else -4.0 for name in "ABC"}
        return ScriptedReply(letter, logprobs=scores, delay_s=self.route_delay_s)


@pytest.fixture
def runner() -> Iterator[ScriptedRunner]:
    """A running scripted runner with one model per role."""
    with ScriptedRunner(models=[f"{role}-model" for role in ROLES]) as running:
        yield running


@pytest.fixture
def brain(runner: ScriptedRunner) -> Brain:
    """What ``runner`` says."""
    runner.default = Brain()
    return runner.default


@pytest.fixture
def stack_file(tmp_path: Path) -> Callable[..., Path]:
    """``stack_file(runner, settings, **model)`` writes a stack with all three roles on it."""

    def write(
        runner: ScriptedRunner | str, settings: dict[str, Any] | None = None, **model: Any
    ) -> Path:
        endpoint = runner if isinstance(runner, str) else runner.endpoint
        merged: dict[str, Any] = {
            "routing": {"strategy": "llm"},
            "turn": {"wait_for_thread_s": 0},
            "workspace": str(tmp_path),
        }
        for key, value in (settings or {}).items():
            old = merged.get(key)
            merged[key] = {**old, **value} if isinstance(old, dict) else value
        models = {
            role: {"id": f"{role}-model", "endpoint": endpoint, "timeout_s": 20, **model}
            for role in ROLES
        }
        path = tmp_path / "scripted.yaml"
        path.write_text(yaml.safe_dump({"models": models, "settings": merged}), encoding="utf-8")
        return path

    return write


@pytest.fixture
def stack_for(stack_file: Callable[..., Path]) -> StackFor:
    """``stack_for(runner, settings, **model)``: the same, loaded."""

    def load(
        runner: ScriptedRunner | str, settings: dict[str, Any] | None = None, **model: Any
    ) -> Stack:
        return load_stack(stack_file(runner, settings, **model))

    return load


@pytest.fixture
def old_home() -> Callable[..., Path]:
    """``old_home("home_1", folder)``: the databases that an earlier version left, in a folder."""

    def unpack(name: str, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for packed in (Path(__file__).parent / "fixtures" / name).glob("*.gz"):
            (folder / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
        return folder

    return unpack
