"""Tool calls written as Python: ``[clock(zone="UTC")]``, as Llama 4 and Gemma write them."""

from __future__ import annotations

import ast
import warnings
from typing import Any

from rolecall.models.text.call_shapes import TextCall, Tools, named_call

_LONGEST = 20_000


def python_calls(source: str, tools: Tools, *, known_only: bool = True) -> list[TextCall] | None:
    """The calls, if ``source`` is nothing but calls with literal arguments."""
    if len(source) > _LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes such as "\d" are the model's affair
            module = ast.parse(source.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    calls: list[TextCall] = []
    for statement in module.body:
        if not isinstance(statement, ast.Expr):
            return None
        value = statement.value
        for node in value.elts if isinstance(value, ast.List) else [value]:
            call = _call(node, tools)
            if call is None or (known_only and call.name not in tools):
                return None
            calls.append(call)
    return calls or None


def _call(node: ast.expr, tools: Tools) -> TextCall | None:
    if not isinstance(node, ast.Call):
        return None
    name = ast.unparse(node.func)
    if name == "print" and name not in tools and len(node.args) == 1 and not node.keywords:
        return _call(node.args[0], tools)  # Gemma prints what a call gives
    # Llama's built-in tools are written name.call(…), Gemma's stand in a module.
    name = name.removesuffix(".call").removeprefix("default_api.")
    names = list(tools.get(name, {}).get("properties", {}))
    if len(node.args) > len(names):
        return None
    arguments: dict[str, Any] = {}
    try:
        for parameter, argument in zip(names, node.args, strict=False):
            arguments[parameter] = ast.literal_eval(argument)
        for keyword in node.keywords:
            if keyword.arg is None or keyword.arg in arguments:
                return None
            arguments[keyword.arg] = ast.literal_eval(keyword.value)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    return named_call(name, arguments or None, tools)
