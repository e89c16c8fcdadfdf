"""What tests of replays share: stack A that was asked, stack B to ask again, tools that count."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rolecall.assistant import Assistant
from rolecall.config.schema import Stack
from rolecall.models.scripted import ScriptedReply, ScriptedRunner

TOOLS = '''
import os
from pathlib import Path
from langgraph.types import interrupt
from rolecall.tools import safe_to_repeat

def _note(what):
    with (Path(os.environ["ROLECALL_HOME"]) / "effects").open("a") as file:
        file.write(what + "\\n")

def pay(to: str, amount: int = 1) -> str:
    """Pay.

    Args:
        to: whom.
        amount: how much.
    """
    _note("paid " + to)
    if to == "nobody":
        raise ValueError("there is no such account")
    return f"paid {to} {amount}"

@safe_to_repeat
def look(at: str) -> str:
    """Look.

    Args:
        at: what.
    """
    _note("saw " + at)
    return "saw " + at

@safe_to_repeat
def confirm(what: str) -> str:
    """Ask the user.

    Args:
        what: what to confirm.
    """
    return str(interrupt("Really " + what + "?"))
'''


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "tools-that-count"
    folder.mkdir()
    (folder / "mine.py").write_text(TOOLS, encoding="utf-8")
    return {"tools_folder": str(folder)}


@pytest.fixture
def effects(rolecall_home: Path) -> Callable[[], list[str]]:
    """What tools did so far."""

    def done() -> list[str]:
        path = rolecall_home / "effects"
        return path.read_text().splitlines() if path.exists() else []

    return done


@pytest.fixture
def other() -> Iterator[ScriptedRunner]:
    """The runner of stack B."""
    with ScriptedRunner(models=["router-model", "reasoning-model", "coding-model"]) as running:
        yield running


@pytest.fixture
def other_brain(other: ScriptedRunner, brain: Any) -> Any:
    """What the models of stack B say: ``B says so`` where nothing else is set."""
    other.default = type(brain)()
    other.default.default = "B says so"
    return other.default


@pytest.fixture
def stack_b(
    other: ScriptedRunner, other_brain: Any, stack_for: Any, settings: dict[str, Any]
) -> Stack:
    """Stack B."""
    loaded: Stack = replace(stack_for(other, settings), name="b")
    return loaded


@pytest.fixture
def asked(runner: ScriptedRunner, brain: Any, stack_for: Any, settings: Any) -> Callable[..., None]:
    """``asked(thread, *questions, role=…)``: asked on stack A, and closed again."""
    stack = replace(stack_for(runner, settings), name="a")

    def ask(thread: str, *questions: str, role: str | None = None) -> None:
        with Assistant.open(stack) as assistant:
            for question in questions:
                assistant.ask(question, thread, role)

    return ask


@pytest.fixture
def steps(runner: ScriptedRunner, stack_for: Any, settings: Any) -> Callable[..., Any]:
    """``steps(thread, turn, next)``: the number of the turn's step before those nodes."""

    def find(thread: str, turn: int, following: list[str]) -> str:
        with Assistant.open(stack_for(runner, settings)) as assistant:
            found = assistant.steps(thread, 100, turn=turn)
        return next(str(step["step"]) for step in found if step["next"] == following)

    return find


@pytest.fixture
def rows(rolecall_home: Path) -> Callable[[str], dict[str, list[Any]]]:
    """``rows(thread)``: every row of a thread in every table of ``threads.db``, and its traces."""

    def read(thread: str) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        with closing(sqlite3.connect(rolecall_home / "threads.db")) as db:
            names = [
                name
                for (name,) in db.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%fts%'"
                ).fetchall()
            ]
            lines = "(SELECT line_id FROM saver_lines WHERE thread_id = ?)"
            for name in names:
                columns = [row[1] for row in db.execute(f"PRAGMA table_info({name})")]
                where = (
                    "thread_id = ?"
                    if "thread_id" in columns
                    else f"line_id IN {lines}"
                    if "line_id" in columns
                    else None
                )
                if where is not None:
                    sql = f"SELECT * FROM {name} WHERE {where} ORDER BY 1, 2, 3"
                    found[name] = db.execute(sql, [thread]).fetchall()
        with closing(sqlite3.connect(rolecall_home / "telemetry.db")) as db:
            own = "(SELECT trace_id FROM turns WHERE thread_id = ?)"
            for name in ("turns", "decisions", "model_calls", "tool_calls", "errors"):
                sql = f"SELECT * FROM {name} WHERE trace_id IN {own} ORDER BY 1, 2, 3"
                found[f"telemetry.{name}"] = db.execute(sql, [thread]).fetchall()
        return found

    return read


@pytest.fixture
def threads(rolecall_home: Path) -> Callable[[], list[str]]:
    """The ids of all threads, also of those that are not listed."""

    def read() -> list[str]:
        with closing(sqlite3.connect(rolecall_home / "threads.db")) as db:
            rows = db.execute("SELECT thread_id FROM threads ORDER BY thread_id").fetchall()
            kept = {owner for (owner,) in db.execute("SELECT thread_id FROM saver_lines")}
        found = [thread_id for (thread_id,) in rows]
        assert kept <= set(found)
        return found

    return read


@pytest.fixture
def pays() -> Callable[..., ScriptedReply]:
    """``pays("Ann", amount=2)``: a model that calls the tool."""

    def reply(to: str, **more: Any) -> ScriptedReply:
        return ScriptedReply(tool_calls=[{"name": "pay", "args": {"to": to, **more}}])

    return reply


@pytest.fixture
def told_b(other: ScriptedRunner) -> Callable[[], list[str]]:
    """What tools told the model of stack B last."""

    def told() -> list[str]:
        messages = other.calls[-1].messages
        return [m.get("content") or "" for m in messages if m["role"] == "tool"]

    return told
