"""The registry: packaged tools, the user's files, and which tools a role gets."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from langchain_core.tools import BaseTool, ToolException
from pydantic import ValidationError

from rolecall.errors import ConfigError
from rolecall.tools.registry import load_tools, select_tools

PACKAGED = ["clock", "calculator", "read_file", "search_files"]

GREET = '''
from __future__ import annotations
from dataclasses import dataclass
from textwrap import dedent

@dataclass
class Greeting:
    text: str

def greet(name: str, times: int = 1) -> str:
    """Greet somebody.

    Args:
        name: Who is greeted.
        times: How often.
    """
    return _join(Greeting(f"hello {name}").text, times)

async def wait(seconds: float) -> str:
    """Wait a moment."""
    return f"waited {seconds}"

def _join(text: str, times: int) -> str:
    return " ".join([text] * times)
'''


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("ROLECALL_HOME", str(home))
    return home


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "a.txt").write_text("text of a")
    return workspace


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    return folder


def test_packaged_tools_come_first_and_are_safe_to_repeat(workspace: Path) -> None:
    tools = load_tools(workspace)
    assert list(tools) == PACKAGED
    assert all(tool.metadata == {"safe_to_repeat": True} for tool in tools.values())
    assert tools["read_file"].invoke({"path": "a.txt"}).endswith("text of a")
    assert tools["read_file"].args["start_line"]["description"]
    assert "Args:" not in tools["calculator"].description


def test_arguments_are_checked(workspace: Path) -> None:
    tools = load_tools(workspace)
    assert tools["read_file"].invoke({"path": "a.txt", "start_line": "1"})
    for wrong in ({}, {"path": 1.5}, {"path": "a.txt", "start_line": "first"}):
        with pytest.raises(ValidationError):
            tools["read_file"].invoke(wrong)
    with pytest.raises(ToolException):
        tools["read_file"].invoke({"path": "../x"})


async def test_a_sync_tool_runs_off_the_event_loop(workspace: Path, folder: Path) -> None:
    (folder / "where.py").write_text(
        "import threading\ndef where() -> int:\n    'Which thread.'\n"
        "    return threading.get_ident()\n"
    )
    tools = load_tools(workspace, folder)
    assert await tools["where"].ainvoke({}) != threading.get_ident()
    answers = await asyncio.gather(
        *(tools["calculator"].ainvoke({"expression": f"{n} * 2"}) for n in range(20))
    )
    assert answers == [str(n * 2) for n in range(20)]
    with pytest.raises(ToolException):
        await tools["calculator"].ainvoke({"expression": "1/0"})


async def test_the_users_functions_become_tools(workspace: Path, folder: Path) -> None:
    (folder / "greet.py").write_text(GREET)
    (folder / "_hidden.py").write_text("raise RuntimeError")
    (folder / "notes.txt").write_text("not Python")
    tools = load_tools(workspace, folder)
    assert list(tools) == [*PACKAGED, "greet", "wait"]
    assert tools["greet"].invoke({"name": "Ann", "times": 2}) == "hello Ann hello Ann"
    assert tools["greet"].args["name"]["description"] == "Who is greeted."
    assert tools["greet"].description == "Greet somebody."
    assert tools["greet"].metadata == {"safe_to_repeat": False}
    assert await tools["wait"].ainvoke({"seconds": 1}) == "waited 1.0"


def test_the_home_folder_is_the_default_and_the_current_one_is_never_read(
    workspace: Path, folder: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "tools").mkdir()
    for bait in (folder / "bait.py", folder / "tools" / "bait.py"):
        bait.write_text("raise RuntimeError('run from the current folder')")
    monkeypatch.chdir(folder)
    assert list(load_tools(workspace)) == PACKAGED
    (home / "tools").mkdir(parents=True)
    (home / "tools" / "greet.py").write_text(GREET)
    assert "greet" in load_tools(workspace)


def test_safe_to_repeat_is_declared_by_a_decorator(workspace: Path, folder: Path) -> None:
    (folder / "safe.py").write_text(
        "from langchain_core.tools import tool\n"
        "from rolecall.tools.registry import safe_to_repeat\n"
        "@safe_to_repeat\ndef peek() -> str:\n    'Look.'\n    return 'x'\n"
        "@tool\n@safe_to_repeat\ndef glance() -> str:\n    'Look.'\n    return 'x'\n"
        "@tool\ndef poke() -> str:\n    'Change.'\n    return 'x'\n"
    )
    tools = load_tools(workspace, folder)
    safe = {name: (tools[name].metadata or {})["safe_to_repeat"] for name in tools}
    assert {name for name, is_safe in safe.items() if is_safe} == {*PACKAGED, "peek", "glance"}
    assert isinstance(tools["poke"], BaseTool)


def test_files_may_share_private_ones(workspace: Path, folder: Path) -> None:
    (folder / "_shared.py").write_text("def answer() -> int:\n    return 42\n")
    (folder / "a.py").write_text(
        "from ._shared import answer\ndef ask() -> int:\n    'Ask.'\n    return answer()\n"
    )
    tools = load_tools(workspace, folder)
    assert list(tools) == [*PACKAGED, "ask"]
    assert tools["ask"].invoke({}) == 42


def test_an_edited_file_is_read_again(workspace: Path, folder: Path) -> None:
    for text in ("one", "two"):
        (folder / "a.py").write_text(f"def f() -> str:\n    'F.'\n    return '{text}'\n")
        assert load_tools(workspace, folder)["f"].invoke({}) == text


def test_no_module_is_hidden_by_a_file_of_its_name(workspace: Path, folder: Path) -> None:
    (folder / "json.py").write_text("def f() -> str:\n    'F.'\n    return 'x'\n")
    (folder / "only_here.py").write_text("def g() -> str:\n    'G.'\n    return 'x'\n")
    before = set(sys.modules)
    path_before = list(sys.path)
    load_tools(workspace, folder)
    assert sys.modules["json"] is json
    assert sys.path == path_before
    added = set(sys.modules) - before
    assert all(name.startswith("_rolecall_user_tools_") for name in added)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(x: int) -> int:\n    return x\n", ["bad.py:1", "f", "docstring"]),
        ("\n\ndef f(x) -> int:\n    'F.'\n", ["bad.py:3", "f", "x has no type"]),
        ("def f(*x: int) -> int:\n    'F.'\n", ["bad.py:1", "*x", "name each parameter"]),
        ("def f(x: int, /) -> int:\n    'F.'\n", ["bad.py:1", "positional-only"]),
        ("def f(args: str) -> str:\n    'F.'\n", ["bad.py:1", "args", "another name"]),
        ("def f(config: str) -> str:\n    'F.'\n", ["bad.py:1", "config", "another name"]),
        ("def f(_x: str) -> str:\n    'F.'\n", ["bad.py:1", "_x", "another name"]),
        ("def f(x: 'Nope') -> str:\n    'F.'\n", ["bad.py:1", "Nope"]),
        ("def f() -> object:\n    'F.'\n    yield 1\n", ["bad.py:1", "yield"]),
        ("class A: ...\ndef f(x: A) -> str:\n    'F.'\n", ["bad.py:2", "f", "described"]),
        ("def f(x: int):\n    '''F.\n\n    Args:\n        y: no\n    '''\n", ["bad.py:1", "y"]),
        ("def é() -> str:\n    'F.'\n", ["bad.py:1", "cannot name a tool"]),
        ("x = 1\ndef f(:\n", ["bad.py:2", "SyntaxError"]),
        ("x = 1\n\nimport no_such_module_at_all\n", ["bad.py:3", "no_such_module_at_all"]),
        ("def g():\n    return 1 / 0\n\ng()\n", ["bad.py:2", "ZeroDivisionError"]),
        ("import json\njson.loads('{')\n", ["bad.py:2", "JSONDecodeError"]),
        ("import sys\nsys.exit(3)\n", ["bad.py:2", "SystemExit"]),
        ("x = '\0'\n", ["bad.py:"]),
        ("def clock() -> str:\n    'F.'\n    return ''\n", ["bad.py:1", "packaged", "rename"]),
    ],
)
def test_a_broken_file_is_named_with_its_line(
    workspace: Path, folder: Path, source: str, expected: list[str]
) -> None:
    (folder / "bad.py").write_text(source)
    with pytest.raises(ConfigError) as raised:
        load_tools(workspace, folder)
    assert str(folder / "bad.py") in str(raised.value)
    for part in expected:
        assert part in str(raised.value)


def test_a_file_that_fails_to_import_leaves_no_module(workspace: Path, folder: Path) -> None:
    (folder / "half_loaded.py").write_text("x = 1\nraise RuntimeError\n")
    with pytest.raises(ConfigError, match=r"half_loaded\.py:2: .*RuntimeError"):
        load_tools(workspace, folder)
    assert not [name for name in sys.modules if name.endswith("half_loaded")]


def test_two_files_with_one_tool_name_are_both_named(workspace: Path, folder: Path) -> None:
    for name in ("a.py", "b.py"):
        (folder / name).write_text("def f() -> str:\n    'F.'\n    return ''\n")
    with pytest.raises(ConfigError, match=r"b\.py:1: f is also in .*a\.py:1"):
        load_tools(workspace, folder)


def test_a_folder_that_was_given_has_to_exist(workspace: Path, folder: Path) -> None:
    with pytest.raises(ConfigError, match="absent"):
        load_tools(workspace, folder / "absent")


def test_a_role_gets_what_it_wants(workspace: Path) -> None:
    tools = load_tools(workspace)
    everything = list(tools.values())
    assert select_tools(tools, None, role_is_router=False) == everything
    assert select_tools(tools, "all", role_is_router=True) == everything
    names = [tool.name for tool in select_tools(tools, None, role_is_router=True)]
    assert names == ["clock", "calculator"]
    assert select_tools(tools, [], role_is_router=False) == []
    chosen = select_tools(tools, ["read_file", "clock", "clock"], role_is_router=True)
    assert [tool.name for tool in chosen] == ["read_file", "clock"]


def test_an_unknown_tool_name_is_an_error_with_the_nearest(workspace: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean calculator"):
        select_tools(load_tools(workspace), ["calculater"], role_is_router=False)


def test_importing_the_registry_is_light() -> None:
    code = (
        "import sys, rolecall.tools.registry\n"
        "heavy = {'langchain_core', 'langgraph', 'openai', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
