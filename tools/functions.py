"""A typed function with a docstring, made into a tool."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from rolecall.errors import ConfigError

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

SAFE_TO_REPEAT = "safe_to_repeat"
_Function = TypeVar("_Function", bound=Callable[..., object])
_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
# langchain_core gives these a meaning of their own and would not pass the model's value on
_TAKEN = frozenset({"args", "kwargs", "callbacks", "run_manager", "self", "cls"})


def safe_to_repeat(function: _Function) -> _Function:
    """Declare that calling ``function`` twice does no more than calling it once.

    When a turn is resumed after a crash, a call that may have run already is made again only if
    its tool says so. Put it directly above ``def``, below other decorators.
    """
    setattr(function, SAFE_TO_REPEAT, True)
    return function


def tool_from_function(function: Callable[..., object], name: str, where: str) -> BaseTool:
    """The tool ``name``, with parameter descriptions from the Google-style ``Args:``.

    ``metadata["safe_to_repeat"]`` says whether the function was declared so.

    Args:
        function: sync (runs off the event loop) or async.
        name: what models call it.
        where: file and line, for messages.

    Raises:
        ConfigError: something is missing or cannot be described to a model.
    """
    from langchain_core.tools import StructuredTool

    for problem in _problems(function, name):
        raise ConfigError(f"{where}: {name}: {problem}")
    is_async = inspect.iscoroutinefunction(function)
    try:
        tool = StructuredTool.from_function(
            func=None if is_async else function,
            coroutine=typing.cast("typing.Any", function) if is_async else None,
            name=name,
            parse_docstring=True,
            metadata={SAFE_TO_REPEAT: bool(getattr(function, SAFE_TO_REPEAT, False))},
        )
    except Exception as error:
        raise ConfigError(f"{where}: {name}: {_first_line(error)}") from error
    return checked(tool, where)


def checked(tool: BaseTool, where: str) -> BaseTool:
    """``tool`` itself, if it can be described to a model.

    Raises:
        ConfigError: its name or the type of a parameter does not fit.
    """
    from langchain_core.utils.function_calling import convert_to_openai_tool

    if not _TOOL_NAME.fullmatch(tool.name):
        raise ConfigError(
            f"{where}: {tool.name!r} cannot name a tool: expected up to 64 letters, digits, _ or -"
        )
    try:
        convert_to_openai_tool(tool)
    except Exception as error:
        raise ConfigError(
            f"{where}: {tool.name}: a parameter's type cannot be described to a model "
            f"({_first_line(error)}). Use str, int, float, bool, list, dict or a pydantic model."
        ) from error
    return tool


def _problems(function: Callable[..., object], name: str) -> typing.Iterator[str]:
    if not (inspect.getdoc(function) or "").strip():
        yield (
            "the docstring is missing: it tells the model what the tool does. "
            f"(A function that is no tool is named _{name}.)"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        yield "a tool returns its result: it cannot yield"
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            yield f"{parameter} cannot be described to a model: name each parameter"
        if parameter.kind is parameter.POSITIONAL_ONLY:
            yield f"parameter {parameter.name} is positional-only: remove the / after it"
        if parameter.annotation is parameter.empty:
            yield f"parameter {parameter.name} has no type: write {parameter.name}: str or the like"
        if parameter.name in _TAKEN or parameter.name.startswith("_"):
            yield f"parameter {parameter.name} needs another name: this one is taken"
    try:
        hints = typing.get_type_hints(function)
    except Exception as error:
        yield f"a type cannot be resolved: {error}"
        return
    if "config" in hints and not _is_runnable_config(hints["config"]):
        yield "parameter config needs another name: this one is taken by LangChain's RunnableConfig"


def _is_runnable_config(hint: object) -> bool:
    from langchain_core.runnables import RunnableConfig

    return hint is RunnableConfig or RunnableConfig in typing.get_args(hint)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
