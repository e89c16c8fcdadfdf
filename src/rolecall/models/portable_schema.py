"""JSON Schemas as runners understand them: what is sent is simpler than what validates.

A runner turns a schema into a grammar. Each converter knows a part of JSON Schema: llama.cpp's own
answers 400 to the rest, its llguidance build then generates without any constraint and says
nothing. So keywords that grammars cannot express are left out here; the answer is validated against
the whole schema afterwards.

Sources: llama.cpp ``common/json-schema-to-grammar.cpp`` and ``common/llguidance.cpp``, llguidance
``docs/json_schema.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rolecall.models.schema_depth import unrolled

Json = Any
Keywords = Callable[[Mapping[str, Any]], dict[str, Any]]
"""The keywords of one schema that are kept, those that hold further schemas apart."""

_SINGLE = ("items", "additionalProperties")  # a schema or a boolean
_LISTS = ("anyOf", "allOf", "prefixItems", "items")
_NAMED = ("properties", "patternProperties", "$defs", "definitions")
_CORE = frozenset({"type", "enum", "const", "required", "$ref", "description"})
_BOUNDS = frozenset(
    {
        "pattern",
        "format",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
    }
)
_KEY_COUNTS = frozenset({"minProperties", "maxProperties"})
_FORMATS = frozenset({"date", "time", "date-time", "duration", "email", "ipv4", "ipv6", "uuid"})
_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_FORMAT_PATTERNS = {"ipv4": rf"^{_BYTE}(\.{_BYTE}){{3}}$"}  # llama.cpp knows dates and UUIDs only
_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": " \\t"}
_LONGEST_TEXT = 20_000  # a larger bound makes a grammar that runners refuse
_MOST_ITEMS = 2_000
_MOST_LENGTHS = 5  # of a list whose first items are fixed: each is a rule of its own
_LONGEST_FIXED = 32


def portable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without what grammars cannot express.

    ``oneOf`` becomes ``anyOf``; an object with properties takes no others unless it says so, else
    a small model goes on inventing them.
    """
    return _simplify(_open_keys(schema), _with_bounds)


def core(schema: Mapping[str, Any]) -> dict[str, Any]:
    """:func:`portable` without bounds, patterns and formats: for a runner that refused it."""
    return _simplify(_open_keys(schema, keep=False), lambda node: _only(node, _CORE))


def bounded(schema: Mapping[str, Any], text_chars: int, items: int, levels: int) -> dict[str, Any]:
    """:func:`portable`, free texts, lists and recursion bounded where the schema gives no bound."""

    def keywords(node: Mapping[str, Any]) -> dict[str, Any]:
        kept = _with_bounds(node)
        kinds = node.get("type")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if "string" in kinds and not kept.keys() & {"enum", "const", "pattern", "format"}:
            kept.setdefault("maxLength", max(text_chars, kept.get("minLength", 0)))
        if "array" in kinds and "prefixItems" not in node:
            kept.setdefault("maxItems", max(items, kept.get("minItems", 0)))
        return kept

    return unrolled(_simplify(_open_keys(schema), keywords), levels)


def _simplify(schema: Mapping[str, Any], keywords: Keywords) -> dict[str, Any]:
    simple: dict[str, Any] = _simple(schema, keywords, close=not _joins_objects(schema))
    return simple


def _simple(node: Json, keywords: Keywords, *, close: bool) -> Json:
    """One schema and those within it. ``close``: objects take no properties but their own."""
    if not isinstance(node, Mapping):
        return node
    kept = keywords(node)
    simple: dict[str, Any] = {}
    for key, value in node.items():  # in the schema's order: it is the order of generation
        if key in kept:
            simple[key] = kept[key]
        elif key in _NAMED and isinstance(value, Mapping):
            simple[key] = {name: _simple(one, keywords, close=close) for name, one in value.items()}
        elif key in _LISTS and isinstance(value, list):
            simple[key] = [_simple(one, keywords, close=close) for one in value]
        elif key == "oneOf" and isinstance(value, list) and "anyOf" not in node:
            simple["anyOf"] = [_simple(one, keywords, close=close) for one in value]
        elif key in _SINGLE:
            simple[key] = _simple(value, keywords, close=close)
    simple |= {key: kept[key] for key in kept.keys() - simple.keys()}
    if fixed := simple.get("prefixItems"):
        items = simple.pop("items", None)
        if isinstance(items, Mapping) and "anyOf" not in simple:
            return _of_each_length(simple, items)
        simple.setdefault("minItems", len(fixed))
        simple.setdefault("maxItems", len(fixed))
    if close and "properties" in simple:
        simple.setdefault("additionalProperties", False)
    return simple


def _of_each_length(simple: dict[str, Any], items: Json) -> dict[str, Any]:
    """A list of fixed items and others behind them: llama.cpp reads ``items`` or the fixed ones."""
    fixed = simple["prefixItems"]
    least = max(len(fixed), int(simple.get("minItems", 0)))
    most = min(int(simple.get("maxItems", _MOST_ITEMS)), least + _MOST_LENGTHS - 1)
    if least > _LONGEST_FIXED or most < 1:
        return {key: simple[key] for key in simple if key != "prefixItems"} | {"items": items}
    row = [*fixed, *[items] * most]
    own = ("type", "prefixItems", "minItems", "maxItems")
    lists = [
        {"type": "array", "prefixItems": row[:length], "minItems": length, "maxItems": length}
        for length in range(min(least, most), most + 1)
    ]
    return {key: simple[key] for key in simple if key not in own} | {"anyOf": lists}


def _joins_objects(node: Json) -> bool:
    """Whether objects are put together from several schemas: none of them may be closed then."""
    if isinstance(node, list):
        return any(_joins_objects(one) for one in node)
    if not isinstance(node, Mapping):
        return False
    parts = len(node.get("allOf") or [])
    parts += sum(isinstance(node.get(key), list | str) for key in ("anyOf", "oneOf", "$ref"))
    parts += isinstance(node.get("properties"), Mapping)
    return parts > 1 or any(_joins_objects(one) for one in node.values())


def _with_bounds(node: Mapping[str, Any]) -> dict[str, Any]:
    kept = _only(node, _CORE | _BOUNDS)
    if "properties" not in node:  # elsewhere most converters cannot count keys
        kept |= _only(node, _KEY_COUNTS)
    if kept.get("format") in _FORMAT_PATTERNS:
        kept.setdefault("pattern", _FORMAT_PATTERNS[kept["format"]])
    if "pattern" in kept:
        pattern = _pattern(kept.pop("pattern"))
        if pattern is not None:
            kept["pattern"] = pattern
    if kept.get("format") not in _FORMATS or "pattern" in kept:
        kept.pop("format", None)
    if "pattern" in kept:  # together they are more than most converters can join
        kept.pop("minLength", None)
        kept.pop("maxLength", None)
    if _large(kept.get("maxLength"), _LONGEST_TEXT):
        kept.pop("maxLength")
    if _large(kept.get("maxItems"), _MOST_ITEMS):
        kept.pop("maxItems")
    return kept


def _open_keys(node: Json, *, keep: bool = True) -> Json:
    """``additionalProperties`` beside ``patternProperties``, or with ``keep=False`` in its place.

    Converters that do not know key patterns would else allow no key at all.
    """
    if isinstance(node, list):
        return [_open_keys(one, keep=keep) for one in node]
    if not isinstance(node, Mapping):
        return node
    opened = {key: _open_keys(value, keep=keep) for key, value in node.items()}
    patterns = opened.get("patternProperties")
    if isinstance(patterns, dict) and patterns and "properties" not in opened:
        values = list(patterns.values())
        opened["additionalProperties"] = values[0] if len(values) == 1 else {"anyOf": values}
        if not keep:
            del opened["patternProperties"]
    return opened


def _only(node: Mapping[str, Any], keys: frozenset[str]) -> dict[str, Any]:
    return {key: node[key] for key in node if key in keys}


def _large(bound: Json, most: int) -> bool:
    return isinstance(bound, int | float) and bound > most


def _pattern(pattern: Json) -> str | None:
    """The pattern for a whole string, its classes spelt out; ``None`` where grammars cannot."""
    if not isinstance(pattern, str):
        return None
    starts, ends = pattern.startswith("^"), pattern.endswith("$") and not pattern.endswith("\\$")
    inner = pattern[1 if starts else 0 : len(pattern) - 1 if ends else None]
    if "|" in inner and not (starts and ends):
        return None
    spelt: list[str] = []
    in_class = False
    at = 0
    while at < len(inner):
        char = inner[at]
        if char == "\\":
            escaped = inner[at + 1 : at + 2]
            if escaped in _CLASSES:
                spelt.append(_CLASSES[escaped] if in_class else f"[{_CLASSES[escaped]}]")
            elif not escaped or escaped.isalnum():
                return None  # \b, \S, \1, \p: not in every converter
            else:
                spelt.append(char + escaped)
            at += 2
            continue
        if not in_class and inner.startswith("(?", at) and not inner.startswith("(?:", at):
            return None  # lookarounds, flags, names
        if not in_class and char in "^$":
            return None
        if char == "[" and not in_class:
            in_class = True
        elif char == "]" and in_class:
            in_class = False
        spelt.append(char)
        at += 1
    return f"^{'' if starts else '.*'}{''.join(spelt)}{'' if ends else '.*'}$"
