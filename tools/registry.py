"""Every tool there is: the packaged ones, then the user's; and which of them a role gets.

A user's tool is marked as not safe to repeat unless its function is declared ``@safe_to_repeat``.
A call that was running when the process died is made again only if it is safe to repeat; else the
user is asked. ``rolecall.tools.idempotency_key()`` is the same each time the same call is made.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rolecall.errors import ConfigError
from rolecall.home import home
from rolecall.tools.functions import safe_to_repeat, tool_from_function
from rolecall.tools.user_files import tools_in

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

    from rolecall.tools.recall import History

__all__ = ["ToolContext", "load_tools", "safe_to_repeat", "select_tools"]

_ROUTER_TOOLS = ("clock", "calculator")
_WITH_THREADS = ("recall",)  # only where threads are kept


@dataclass(frozen=True)
class ToolContext:
    """What packaged tools need.

    Attributes:
        workspace: the only folder whose files they read.
        history: the thread's earlier turns, where threads are kept.
    """

    workspace: Path
    history: History | None = None


def load_tools(
    workspace: Path, folder: Path | None = None, history: History | None = None
) -> dict[str, BaseTool]:
    """All tools by name.

    Args:
        workspace: the folder whose files the packaged tools may read.
        folder: the user's tool files; without one ``ROLECALL_HOME/tools``, if it exists. The
            current folder is never looked at.
        history: what ``recall`` looks into; without one there is no such tool.

    Raises:
        ConfigError: a folder or a user's file is wrong, or two tools have one name.
    """
    tools: dict[str, BaseTool] = {}
    for function in _packaged(ToolContext(workspace, history)):
        name = function.__name__
        tools[name] = tool_from_function(safe_to_repeat(function), name, function.__module__)
    packaged = frozenset(tools)
    origins: dict[str, str] = {}
    for tool, where in _user_tools(folder):
        if tool.name in packaged:
            raise ConfigError(f"{where}: {tool.name} is the name of a packaged tool: rename yours")
        if tool.name in tools:
            raise ConfigError(
                f"{where}: {tool.name} is also in {origins[tool.name]}: rename one of them"
            )
        tools[tool.name], origins[tool.name] = tool, where
    return tools


def select_tools(
    tools: Mapping[str, BaseTool],
    wanted: Literal["all"] | Sequence[str] | None,
    role_is_router: bool,
) -> list[BaseTool]:
    """The tools of one role.

    Args:
        tools: what ``load_tools`` returned.
        wanted: ``tools:`` of a model spec. None means all, but clock and calculator for the
            router's own answers.
        role_is_router: whether the role is ``router``.

    Raises:
        ConfigError: a name that no tool has.
    """
    if wanted is None and role_is_router:
        return [tools[name] for name in _ROUTER_TOOLS if name in tools]
    if wanted is None or wanted == "all":
        return list(tools.values())
    names = [wanted] if isinstance(wanted, str) else list(dict.fromkeys(wanted))
    names = [name for name in names if name in tools or name not in _WITH_THREADS]
    for name in names:
        if name not in tools:
            near = difflib.get_close_matches(name, tools, n=3, cutoff=0.4)
            hint = f"Did you mean {' or '.join(near)}? " if near else ""
            raise ConfigError(
                f"there is no tool {name!r}. {hint}There are: {', '.join(sorted(tools))}"
            )
    return [tools[name] for name in names]


def _packaged(context: ToolContext) -> list[Callable[..., object]]:
    from rolecall.tools.calculator import calculator
    from rolecall.tools.clock import clock
    from rolecall.tools.read_file import reader
    from rolecall.tools.recall import recaller
    from rolecall.tools.search_files import searcher
    from rolecall.tools.workspace import Workspace

    workspace = Workspace(context.workspace)
    tools: list[Callable[..., object]] = [
        clock,
        calculator,
        reader(workspace),
        searcher(workspace),
    ]
    return tools if context.history is None else [*tools, recaller(context.history)]


def _user_tools(folder: Path | None) -> list[tuple[BaseTool, str]]:
    if folder is not None:
        return tools_in(folder.expanduser())
    default = home() / "tools"
    return tools_in(default) if default.is_dir() else []
