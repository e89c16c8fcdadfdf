"""Arguments of a tool call against the tool's JSON schema: what converts without loss, what fails.

Small models write ``"6"`` for 6, ``"Celsius"`` for ``"celsius"``, ``null`` for an argument that
they do not mean. Such values are converted where only one reading is possible; anything else is
left as it is, so that the tool's own validation tells the model what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

_TRUTH = {"true": True, "false": False}


def fitted(arguments: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """The arguments with every value converted that has the wrong type and one right reading.

    Args:
        schema: of the arguments (``{"type": "object", "properties": …}``).
    """
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return dict(arguments)
    required = schema.get("required") or ()
    found: dict[str, Any] = {}
    for key, value in arguments.items():
        inner = properties.get(key)
        if not isinstance(inner, Mapping):
            found[key] = value
            continue
        converted = _converted(value, inner)
        if key not in required and _says_nothing(converted, inner):
            continue
        found[key] = converted
    return found


def _converted(value: object, schema: Schema) -> object:
    choices = _choices(schema)
    if choices:
        return _first_fit(value, choices)
    if isinstance(schema.get("enum"), list):
        return _in_enum(value, schema["enum"])
    match schema.get("type"):
        case "integer":
            return _number(value, whole=True)
        case "number":
            return _number(value, whole=False)
        case "boolean" if isinstance(value, str):
            return _TRUTH.get(value.strip().lower(), value)
        case "string" if isinstance(value, int | float) and not isinstance(value, bool):
            return json.dumps(value)
        case "array":
            return _list(value, schema.get("items"))
        case "object":
            value = _decoded(value, dict)
            return fitted(value, schema) if isinstance(value, dict) else value
    return value


def _choices(schema: Schema) -> list[Schema]:
    """The alternatives that a value may be of, where the schema names several."""
    for kind in ("anyOf", "oneOf"):
        if isinstance(schema.get(kind), list):
            return [choice for choice in schema[kind] if isinstance(choice, Mapping)]
    kinds = schema.get("type")
    return [{**schema, "type": kind} for kind in kinds] if isinstance(kinds, list) else []


def _first_fit(value: object, choices: list[Schema]) -> object:
    if any(_fits(value, choice) for choice in choices):
        return value
    for choice in choices:
        converted = _converted(value, choice)
        if _fits(converted, choice):
            return converted
    return value


def _fits(value: object, schema: Schema) -> bool:
    types: dict[object, tuple[type, ...]] = {
        "integer": (int,),
        "number": (int, float),
        "boolean": (bool,),
        "string": (str,),
        "array": (list,),
        "object": (dict,),
        "null": (type(None),),
    }
    if isinstance(schema.get("enum"), list):
        return value in schema["enum"]
    allowed = types.get(schema.get("type"), (object,))
    return isinstance(value, allowed) and (not isinstance(value, bool) or bool in allowed)


def _in_enum(value: object, members: list[Any]) -> object:
    if value in members:
        return value
    wanted = str(value).strip().lower()
    alike = [member for member in members if str(member).lower() == wanted]
    return alike[0] if len(alike) == 1 else value


def _number(value: object, *, whole: bool) -> object:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            number: int | float = int(value)
        except ValueError:
            try:
                number = float(value)
            except ValueError:
                return value
        if number not in {float("inf"), float("-inf")} and number == number:
            value = number
    if whole and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _list(value: object, items: object) -> object:
    value = _decoded(value, list)
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        value = [value]
    if isinstance(value, list) and isinstance(items, Mapping):
        return [_converted(item, items) for item in value]
    return value


def _decoded(value: object, kind: type) -> object:
    """JSON that was written as text, if it is of ``kind``."""
    if not isinstance(value, str) or value.lstrip()[:1] not in {"[", "{"}:
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return found if isinstance(found, kind) else value


def _says_nothing(value: object, schema: Schema) -> bool:
    """``null``, or an empty text that no type allows, for an argument that may be left out."""
    if value is not None and value != "":
        return False
    typed = [c for c in _choices(schema) or [schema] if "type" in c or "enum" in c]
    return bool(typed) and not any(_fits(value, choice) for choice in typed)
