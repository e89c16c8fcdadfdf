"""Whether values obey JSON schemas."""

from __future__ import annotations

from typing import Any

import pytest

from rolecall.errors import UsageError
from rolecall.models.schema_validation import breaks_shape, check_schema, violations


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ([1, 1], {"uniqueItems": True}),
        ("2024-02-30", {"format": "date"}),
        ("no address", {"format": "email"}),
        ({"a": 1}, {"dependentRequired": {"a": ["b"]}}),
        ({"kind": "x"}, {"if": {"required": ["kind"]}, "then": {"required": ["size"]}}),
        (True, {"type": "integer"}),
        (7, {"not": {"type": "integer"}}),
        (5, {"oneOf": [{"minimum": 1}, {"maximum": 9}]}),
        ({"n": {"n": {"n": 3}}}, {"$ref": "#/$defs/t", "$defs": {"t": {
            "type": "object", "properties": {"n": {"$ref": "#/$defs/t"}}}}}),
        (0.015, {"multipleOf": 0.01}),
    ],
)  # fmt: skip
def test_all_of_json_schema_counts(value: Any, schema: dict[str, Any]) -> None:
    assert violations(value, schema)


def test_a_price_in_cents_is_a_multiple_of_a_cent() -> None:
    assert not violations(19.99, {"multipleOf": 0.01})
    assert not violations(3, {"multipleOf": 0.5})
    assert violations(float("inf"), {"multipleOf": 0.5})


def test_a_violation_names_its_place() -> None:
    schema = {"properties": {"lines": {"items": {"properties": {"n": {"type": "integer"}}}}}}
    assert violations({"lines": [{"n": 1}, {"n": "x"}]}, schema) == [
        "lines/1/n: 'x' is not of type 'integer'"
    ]


def test_long_violations_are_told_shortly() -> None:
    (told,) = violations("x" * 5000, {"type": "integer"})
    assert len(told) < 300


@pytest.mark.parametrize(
    "schema", [{"type": "nonsense"}, {"properties": []}, {"type": "string", "default": {1, 2}}]
)
def test_what_is_no_schema_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="schema"):
        check_schema(schema)


@pytest.mark.parametrize(
    "reference", ["https://example.org/s.json", "http://127.0.0.1:9/x", "file:///etc/passwd", "#/a"]
)
def test_references_are_never_fetched(reference: str) -> None:
    with pytest.raises(UsageError, match="must point into the schema itself"):
        violations({"a": 1}, {"$ref": reference})


def test_a_reference_to_itself_is_an_error_not_a_crash() -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        violations(1, {"$ref": "#"})


@pytest.mark.parametrize(
    ("value", "broken"),
    [
        ({"a": "x"}, True),
        ({}, True),
        ({"a": 1, "u": "z"}, True),
        ({"a": -5}, False),
        ({"a": 1, "tags": [1, 1]}, False),
        ({"a": 1, "u": "x"}, False),
        ([], True),
    ],
)
def test_only_what_a_grammar_enforces_is_of_shape(value: Any, broken: bool) -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "integer", "minimum": 0},
            "tags": {"uniqueItems": True},
            "u": {"anyOf": [{"const": "x"}, {"type": "null"}]},
        },
        "required": ["a"],
    }
    assert breaks_shape(value, schema) is broken
