"""Arguments are converted where one reading is possible, and left alone everywhere else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.models.arguments import fitted
from rolecall.models.schema_validation import violations

PROPERTIES: dict[str, Any] = {
    "count": {"type": "integer"},
    "price": {"type": "number"},
    "on": {"type": "boolean"},
    "code": {"type": "string"},
    "unit": {"type": "string", "enum": ["celsius", "Kelvin"]},
    "names": {"type": "array", "items": {"type": "string"}},
    "sizes": {"type": "array", "items": {"type": "integer"}},
    "where": {"type": "object", "properties": {"floor": {"type": "integer"}}},
    "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    "note": {"type": ["string", "null"]},
}
SCHEMA = {"type": "object", "properties": PROPERTIES, "required": ["code"]}

CONVERTED = [
    ("count", "6", 6),
    ("count", 6.0, 6),
    ("count", "6.0", 6),
    ("price", "2.5", 2.5),
    ("price", "3", 3),
    ("on", "True", True),
    ("code", 7714, "7714"),
    ("unit", "Celsius", "celsius"),
    ("unit", "KELVIN", "Kelvin"),
    ("names", '["a", "b"]', ["a", "b"]),
    ("names", "eggs", ["eggs"]),
    ("sizes", ["1", 2], [1, 2]),
    ("where", '{"floor": "3"}', {"floor": 3}),
    ("limit", "10", 10),
]
KEPT = [
    ("count", "six"),
    ("count", 6.5),
    ("count", True),
    ("price", "nan"),
    ("price", "1e999"),
    ("on", "perhaps"),
    ("code", "7714"),
    ("unit", "rankine"),
    ("names", ["a"]),
    ("limit", None),
    ("note", ""),
    ("unheard_of", {"a": 1}),
]


@pytest.mark.parametrize(("key", "value", "expected"), CONVERTED)
def test_a_value_with_one_reading_is_converted(key: str, value: Any, expected: Any) -> None:
    found = fitted({key: value}, SCHEMA)[key]
    assert found == expected
    assert type(found) is type(expected)
    assert not violations({"code": "x", key: found}, SCHEMA)


@pytest.mark.parametrize(("key", "value"), KEPT)
def test_any_other_value_is_left_for_the_tool_to_refuse(key: str, value: Any) -> None:
    found = fitted({key: value}, SCHEMA)
    assert found == {key: value}
    assert type(found[key]) is type(value)


def test_an_optional_argument_that_says_nothing_is_left_out() -> None:
    assert fitted({"code": "x", "count": None, "price": "", "unit": ""}, SCHEMA) == {"code": "x"}


def test_a_required_argument_is_never_left_out() -> None:
    assert fitted({"code": None}, SCHEMA) == {"code": None}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(list(PROPERTIES)), ANYTHING))
def test_what_is_right_stays_and_conversion_happens_once(arguments: dict[str, Any]) -> None:
    once = fitted(arguments, SCHEMA)
    assert fitted(once, SCHEMA) == once
    for key, value in arguments.items():
        if not violations(value, PROPERTIES[key]):
            assert key in once
            assert json.dumps(once[key]) in {json.dumps(value), json.dumps(_whole(value))}


def _whole(value: Any) -> Any:
    """6.0 is an integer in JSON Schema, and comes out as 6."""
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value
