"""A schema said once more, in words that the grammars of all runners enforce: for a second try.

Few converters know patterns of keys, counts of keys or ``contains``. So a map becomes a list of
entries, its keys plain strings with a pattern, and what a list has to contain comes first in it.
The result is narrower than the schema, and entries are turned back into maps by ``value``.

Source: llama.cpp ``common/json-schema-to-grammar.cpp``, which reads neither ``patternProperties``,
``minProperties`` nor ``contains``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = Any

_SINGLE = ("items", "additionalProperties")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_NAMED = ("properties", "patternProperties", "$defs", "definitions")
_JOINERS = frozenset({"anyOf", "oneOf", "allOf", "$ref", "not", "if"})
_KEY_RULES = ("patternProperties", "propertyNames", "minProperties", "maxProperties")
_LOWER = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems"})
_UPPER = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems"})
_NOTES = frozenset({"title", "description", "default", "examples"})
_KEPT = ("$schema", "title", "description", "$defs", "definitions")
_KEY, _VALUE = "key", "value"
_MOST_DEMANDED = 20


@dataclass(frozen=True)
class Restated:
    """A schema in other words.

    Attributes:
        schema: what to ask for.
        entries: the property that holds the entries of a map; no property of the schema has its
            name.
    """

    schema: dict[str, Any]
    entries: str

    def value(self, answer: Json) -> Json:
        """The answer in the shape of the original schema."""
        if isinstance(answer, list):
            return [self.value(one) for one in answer]
        if not isinstance(answer, dict):
            return answer
        listed = answer.get(self.entries)
        if len(answer) == 1 and isinstance(listed, list) and all(map(_is_entry, listed)):
            return {one[_KEY]: self.value(one[_VALUE]) for one in listed}
        return {name: self.value(one) for name, one in answer.items()}


def restated(schema: Mapping[str, Any]) -> Restated | None:
    """The schema in other words; ``None`` where it holds nothing that needs them."""
    entries = "entries"
    while entries in _names(schema):
        entries += "_"
    said = _said(schema, schema, entries)
    return Restated(said, entries) if said != schema else None


def _is_entry(one: Json) -> bool:
    return isinstance(one, dict) and one.keys() == {_KEY, _VALUE} and isinstance(one[_KEY], str)


def _names(node: Json) -> set[str]:
    """Every key in a schema, properties and keywords alike."""
    if isinstance(node, list):
        return set().union(*map(_names, node))
    if not isinstance(node, Mapping):
        return {node} if isinstance(node, str) else set()
    return set(node).union(*map(_names, node.values()))


def _said(node: Json, root: Mapping[str, Any], entries: str) -> Json:
    if not isinstance(node, Mapping):
        return node
    said: dict[str, Any] = {}
    for key, value in node.items():
        if key in _NAMED and isinstance(value, Mapping):
            said[key] = {name: _said(one, root, entries) for name, one in value.items()}
        elif key in _LISTS and isinstance(value, list):
            said[key] = [_said(one, root, entries) for one in value]
        else:
            said[key] = _said(value, root, entries) if key in _SINGLE else value
    if node.get("type") == "array" and "contains" in node:
        return _demanded_first(said, root)
    if _is_map(node):
        return _as_entries(said, entries)
    return said


def _is_map(node: Mapping[str, Any]) -> bool:
    """Whether a schema is of an object whose keys are free and yet under a rule."""
    return (
        node.get("type") == "object"
        and any(node.get(key) for key in _KEY_RULES)
        and not any(node.get(key) for key in ("properties", "required"))
        and not node.keys() & _JOINERS
    )


def _as_entries(node: dict[str, Any], entries: str) -> dict[str, Any]:
    named = node.get("propertyNames")
    any_key = {"type": "string", **named} if isinstance(named, dict) else {"type": "string"}
    others = node.get("additionalProperties", {})
    kinds = [
        ({**any_key, "pattern": pattern}, value)
        for pattern, value in (node.get("patternProperties") or {}).items()
        if value is not False
    ] or [(any_key, others if isinstance(others, dict) else {})]
    items = [
        {
            "type": "object",
            "properties": {_KEY: key, _VALUE: value if isinstance(value, dict) else {}},
            "required": [_KEY, _VALUE],
            "additionalProperties": False,
        }
        for key, value in kinds
    ]
    listed: dict[str, Any] = {
        "type": "array",
        "items": items[0] if len(items) == 1 else {"anyOf": items},
    }
    for count, bound in (("minProperties", "minItems"), ("maxProperties", "maxItems")):
        if count in node:
            listed[bound] = node[count]
    kept: dict[str, Any] = {key: node[key] for key in _KEPT if key in node}
    return {
        **kept,
        "type": "object",
        "properties": {entries: listed},
        "required": [entries],
        "additionalProperties": False,
    }


def _demanded_first(node: dict[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    """A list that begins with the items that it is to contain."""
    count = int(node.get("minContains", 1))
    items = node.get("items", {})
    if not 0 < count <= _MOST_DEMANDED or "prefixItems" in node or not isinstance(items, dict):
        return node
    demanded = _joined(_followed(items, root), _followed(node["contains"], root))
    if demanded is None:
        return node
    first = {key: value for key, value in node.items() if key not in ("contains", "minContains")}
    first["prefixItems"] = [demanded] * count
    first["items"] = items
    first["minItems"] = max(count, node.get("minItems", 0))
    return first


def _followed(node: Json, root: Mapping[str, Any]) -> Json:
    """The definition that a reference leads to, if the schema consists of one."""
    if not isinstance(node, Mapping) or node.keys() - _NOTES != {"$ref"}:
        return node
    found: Json = root
    for step in str(node["$ref"]).removeprefix("#/").split("/"):
        found = found.get(step) if isinstance(found, Mapping) else None
    return node if found is None else found


def _joined(one: Json, other: Json) -> dict[str, Any] | None:
    """A schema of what fits both, as one; ``None`` where that cannot be written plainly."""
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return dict(one) if other is True and isinstance(one, Mapping) else None
    if not one.keys() - _NOTES or not other.keys() - _NOTES:
        return {**other, **one}
    if (one.keys() | other.keys()) & _JOINERS:
        return None
    joined = {**one, **other}
    for key in one.keys() & other.keys() - _NOTES:
        both = _both(key, one[key], other[key])
        if both is None:
            return None
        joined[key] = both
    if "const" in joined and "enum" in joined and joined["const"] not in joined.pop("enum"):
        return None
    return joined


def _both(key: str, one: Json, other: Json) -> Json:
    """One keyword's value for two; ``None`` where there is none."""
    if one == other:
        return one
    if key == "properties":
        return _both_named(one, other)
    if key == "required":
        return [*one, *(name for name in other if name not in one)]
    if key == "enum":
        return [value for value in one if value in other] or None
    if key == "type" and {str(one), str(other)} == {"integer", "number"}:
        return "integer"
    if key in _LOWER:
        return max(one, other)
    return min(one, other) if key in _UPPER else None


def _both_named(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any] | None:
    both = {**one, **other}
    for name in one.keys() & other.keys():
        joined = _joined(one[name], other[name])
        if joined is None:
            return None
        both[name] = joined
    return both
