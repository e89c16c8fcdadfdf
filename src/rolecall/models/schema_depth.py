"""Recursive JSON schemas, unrolled to so many levels: a small model nests without end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PLACES = ("$defs", "definitions")
_OUT = object()  # in place of what lies too deep


def unrolled(schema: Mapping[str, Any], levels: int) -> dict[str, Any]:
    """The schema with its recursive definitions nested at most ``levels`` deep.

    At the last level lists of what would come next are empty, optional properties and alternatives
    of it are gone. A property that is required stays recursive: it cannot be left out.

    Args:
        schema: of references only those to its own ``$defs`` or ``definitions`` are followed.
        levels: at least 1.
    """
    defined = {
        f"#/{place}/{name}": one
        for place in _PLACES
        for name, one in (schema.get(place) or {}).items()
    }
    recursive = {ref for ref in defined if ref in _reached(defined[ref], defined)}
    if not recursive:
        return dict(schema)
    levelled: dict[str, Any] = {}
    for ref in recursive:
        for level in range(1, levels + 1):
            name = _name(ref, level).removeprefix("#/$defs/")
            levelled[name] = _at(defined[ref], level, levels, recursive)
    root = {key: value for key, value in schema.items() if key not in _PLACES}
    plain: dict[str, Any] = _at(root, 0, levels, recursive)
    for place in _PLACES:
        if place in schema:
            plain[place] = {
                name: _at(one, 0, levels, recursive) for name, one in schema[place].items()
            }
    plain["$defs"] = {**plain.get("$defs", {}), **levelled}
    return plain


def _reached(node: Any, defined: Mapping[str, Any]) -> set[str]:
    """Every definition that a schema refers to, directly or through others."""
    found: set[str] = set()
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, Mapping):
            ref = one.get("$ref")
            if isinstance(ref, str) and ref in defined and ref not in found:
                found.add(ref)
                waiting.append(defined[ref])
            waiting += one.values()
    return found


def _name(ref: str, level: int) -> str:
    return f"#/$defs/{ref.rsplit('/', 1)[-1]}_level_{level}"


def _at(node: Any, level: int, levels: int, recursive: set[str]) -> Any:
    """A schema that stands at a level, its references led to the next one."""
    if isinstance(node, list):
        inner = [_at(one, level, levels, recursive) for one in node]
        return [one for one in inner if one is not _OUT] or node
    if not isinstance(node, Mapping):
        return node
    ref = node.get("$ref")
    if isinstance(ref, str) and ref in recursive:
        return _OUT if level == levels else {**node, "$ref": _name(ref, level + 1)}
    plain: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties" and isinstance(value, Mapping):
            plain[key] = _properties(value, node.get("required") or [], level, levels, recursive)
            continue
        inner = _at(value, level, levels, recursive)
        if inner is _OUT and key == "items" and not node.get("minItems"):
            plain["maxItems"] = 0
        elif inner is _OUT:
            plain[key] = value
        elif not (key == "maxItems" and "maxItems" in plain):
            plain[key] = inner
    return plain


def _properties(
    named: Mapping[str, Any], required: list[str], level: int, levels: int, recursive: set[str]
) -> dict[str, Any]:
    plain = {name: _at(one, level, levels, recursive) for name, one in named.items()}
    return {
        name: named[name] if one is _OUT else one
        for name, one in plain.items()
        if one is not _OUT or name in required
    }
