"""Whether a value obeys a JSON Schema, by the jsonschema library, which may fetch nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rolecall.errors import UsageError

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

_MOST_TOLD = 5
_LONGEST_TOLD = 200
_SHAPE = frozenset({"type", "required", "enum", "const"})


def violations(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """What about a value does not fit, the first few, each with its place; empty when it fits.

    Formats that the standard library can check (dates, times, addresses, UUIDs) are enforced.

    Raises:
        UsageError: the schema is not a JSON Schema, or refers to something outside of it.
    """
    errors = sorted(_errors(value, schema), key=lambda error: len(error.absolute_path))
    return [_told(error) for error in errors[:_MOST_TOLD]]


def without_repeats(value: Any, schema: Mapping[str, Any]) -> Any:
    """The value, each entry of a list that is to be unique once: no grammar can count them."""
    errors = [error for error in _errors(value, schema) if error.validator == "uniqueItems"]
    if not errors:
        return value
    single = deepcopy(value)
    for error in errors:
        entries = single
        for step in error.absolute_path:
            entries = entries[step]
        entries[:] = {json.dumps(entry, sort_keys=True): entry for entry in entries}.values()
    return single


def breaks_shape(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a value breaks what every grammar enforces: types, required keys, fixed values."""
    return any(_is_of_shape(error) for error in _errors(value, schema))


def check_schema(schema: Mapping[str, Any]) -> None:
    """Refuse what is not a JSON Schema.

    Raises:
        UsageError: with the place and the reason.
    """
    _validator(_text(schema))


def _errors(value: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    from referencing.exceptions import Unresolvable

    try:
        yield from _validator(_text(schema)).iter_errors(value)
    except (Unresolvable, RecursionError) as error:
        raise UsageError(
            f"the JSON schema cannot be used: {error}. A $ref must point into the schema itself "
            "and not at itself."
        ) from error


def _text(schema: Mapping[str, Any]) -> str:
    try:
        return json.dumps(schema)
    except (TypeError, ValueError) as error:
        raise UsageError(f"the JSON schema is not JSON: {error}") from error


@lru_cache(maxsize=128)
def _validator(schema_text: str) -> Validator:
    """Made once per schema: checking one costs more than using it."""
    from jsonschema import Draft202012Validator, FormatChecker, SchemaError
    from jsonschema.validators import extend, validator_for
    from referencing import Registry

    schema = json.loads(schema_text)
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        where = "/".join(str(step) for step in error.absolute_path) or "its root"
        raise UsageError(f"not a JSON schema: {error.message} (at {where})") from error
    exact: type[Validator] = extend(kind, {"multipleOf": _multiple_of})  # type: ignore[no-untyped-call]
    # With a registry of its own, jsonschema does not fetch references from the network.
    return exact(schema, format_checker=FormatChecker(), registry=Registry())


def _multiple_of(
    validator: Validator, step: float, value: object, schema: Mapping[str, Any]
) -> Iterator[ValidationError]:
    """The library divides floats, by which 19.99 is no multiple of 0.01."""
    from jsonschema.exceptions import ValidationError

    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            rest = Decimal(str(value)) % Decimal(str(step))
        except ArithmeticError:  # infinite, or further apart than decimals reach
            rest = Decimal(1)
        if rest:
            yield ValidationError(f"{value!r} is not a multiple of {step!r}")


def _told(error: ValidationError) -> str:
    where = "/".join(str(step) for step in error.absolute_path) or "the answer"
    what = error.message
    if error.validator == "contains":  # the library does not say which
        what = f"it lacks an item that fits {json.dumps(error.validator_value)}"
    if len(what) > _LONGEST_TOLD:
        what = f"it breaks {error.validator}: {json.dumps(error.validator_value)[:_LONGEST_TOLD]}"
    return f"{where}: {what}"


def _is_of_shape(error: ValidationError) -> bool:
    if error.validator in {"anyOf", "oneOf"}:
        return bool(error.context) and all(_is_of_shape(inner) for inner in error.context or [])
    return error.validator in _SHAPE
