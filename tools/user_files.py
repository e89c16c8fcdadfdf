"""Tools from the user's own Python files.

The files of a folder are loaded as modules of one package with a name that nothing else has, so
that a file called ``json.py`` hides nothing and ``from . import _shared`` works.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import threading
import traceback
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING

from rolecall.errors import ConfigError
from rolecall.tools.functions import SAFE_TO_REPEAT, checked, tool_from_function

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

_loading = threading.Lock()


class _SourceLoader(SourceFileLoader):
    """Reads the source each time: a cached ``.pyc`` misses edits within one second."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def tools_in(folder: Path) -> list[tuple[BaseTool, str]]:
    """The tools of each ``*.py`` file in a folder that does not start with ``_``, by file name.

    A file's public functions are tools, if they are defined in it, and so are the ``BaseTool``
    objects that it holds.

    Returns:
        Each tool with the file and line it comes from.

    Raises:
        ConfigError: the folder or a file cannot be read, a file fails to import, or a function
            cannot be made into a tool; the message names file and line.
    """
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix == ".py" and path.is_file())
    except OSError as error:
        raise ConfigError(f"cannot read the tools folder {folder}: {error.strerror}") from error
    with _loading:
        package = _package(folder)
        return [
            found
            for path in files
            if not path.name.startswith(("_", "."))
            for found in _tools_of(_load(path, package), path)
        ]


def _package(folder: Path) -> str:
    digest = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    name = f"_rolecall_user_tools_{digest[:16]}"
    for loaded in [key for key in sys.modules if key == name or key.startswith(f"{name}.")]:
        del sys.modules[loaded]
    package = ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package
    return name


def _load(path: Path, package: str) -> ModuleType:
    name = f"{package}.{path.stem}"
    already = sys.modules.get(name)  # another file of the folder imports it
    if already is not None:
        return already
    spec = importlib.util.spec_from_loader(name, _SourceLoader(name, str(path)))
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: cannot be loaded as a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pydantic look their module up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise ConfigError(
            f"{path}:{_line_of(error, path)}: this tool file fails to import: {reason}"
        ) from error
    return module


def _line_of(error: BaseException, path: Path) -> int:
    """The line of the file that failed, also when the error itself is in what it imports."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 1
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == str(path)
    ]
    return (lines[-1] if lines else None) or 1


def _tools_of(module: ModuleType, path: Path) -> list[tuple[BaseTool, str]]:
    from langchain_core.tools import BaseTool

    found: list[tuple[BaseTool, str]] = []
    seen: set[int] = set()
    for name, value in list(vars(module).items()):
        if name.startswith("_") or id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, BaseTool):
            found.append((checked(_marked(value), str(path)), str(path)))
        elif inspect.isfunction(value) and value.__module__ == module.__name__:
            where = f"{path}:{_line_of_function(value)}"
            found.append((tool_from_function(value, name, where), where))
    return found


def _marked(tool: BaseTool) -> BaseTool:
    function = getattr(tool, "func", None) or getattr(tool, "coroutine", None)
    metadata = {SAFE_TO_REPEAT: bool(getattr(function, SAFE_TO_REPEAT, False))}
    return tool.model_copy(update={"metadata": metadata | (tool.metadata or {})})


def _line_of_function(function: FunctionType) -> int:
    line: int = inspect.unwrap(function).__code__.co_firstlineno
    return line
