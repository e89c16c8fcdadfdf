"""Schemas said once more, in words that every grammar enforces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rolecall.models.restated_schema import Restated, restated
from rolecall.models.schema_validation import violations

LOCKERS = {
    "type": "object",
    "patternProperties": {"^bay-[0-9]+$": {"type": "string"}},
    "additionalProperties": False,
    "minProperties": 1,
}


def _restated(schema: dict[str, Any]) -> Restated:
    found = restated(schema)
    assert found is not None
    Draft202012Validator.check_schema(found.schema)
    return found


def _list(**more: Any) -> dict[str, Any]:
    item = {"type": "object", "properties": {"n": {"enum": ["a", "b"]}}, "required": ["n"]}
    return {"type": "array", "items": item, **more}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"contains": {"type": "string"}}},
        {"type": "object", "properties": {"patternProperties": {"type": "object"}}},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {**LOCKERS, "properties": {"owner": {"type": "string"}}},
        {**LOCKERS, "anyOf": [{"minProperties": 2}]},
        _list(contains={"type": "integer"}),
        _list(contains={"properties": {"n": {"const": "c"}}}),
        _list(contains={"not": {"properties": {"n": {"const": "a"}}}}),
        _list(contains={}, minContains=0),
        _list(contains={}, minContains=10**9),
        _list(contains=False),
    ],
)
def test_what_needs_no_other_words_or_has_none_is_left(schema: dict[str, Any]) -> None:
    assert restated(schema) is None


def test_a_map_is_asked_for_as_entries() -> None:
    asked = _restated({"type": "object", "properties": {"bays": LOCKERS}, "required": ["bays"]})

    def answer(*keys: str) -> dict[str, Any]:
        return {"bays": {"entries": [{"key": key, "value": "x"} for key in keys]}}

    assert not violations(answer("bay-1", "bay-22"), asked.schema)
    assert violations(answer("1"), asked.schema)
    assert violations(answer(), asked.schema)
    assert asked.value(answer("bay-1", "bay-22")) == {"bays": {"bay-1": "x", "bay-22": "x"}}


def test_counts_and_names_of_keys_reach_the_entries() -> None:
    asked = _restated(
        {
            "type": "object",
            "propertyNames": {"enum": ["x", "y"]},
            "additionalProperties": {"type": "integer"},
            "maxProperties": 2,
        }
    )
    listed = asked.schema["properties"]["entries"]
    assert listed["maxItems"] == 2
    assert listed["items"]["properties"] == {
        "key": {"type": "string", "enum": ["x", "y"]},
        "value": {"type": "integer"},
    }


def test_each_pattern_of_keys_keeps_its_own_values() -> None:
    patterns = {"^a": {"type": "integer"}, "^b": {"type": "string"}, "^c": False}
    asked = _restated({"type": "object", "patternProperties": patterns})
    assert not violations({"entries": [{"key": "a", "value": 1}]}, asked.schema)
    assert violations({"entries": [{"key": "a", "value": "x"}]}, asked.schema)
    assert violations({"entries": [{"key": "c", "value": "x"}]}, asked.schema)


def test_definitions_of_a_map_at_the_root_stay_where_references_find_them() -> None:
    schema = {
        "type": "object",
        "patternProperties": {"^a": {"$ref": "#/$defs/n"}},
        "$defs": {"n": {"type": "integer"}},
    }
    assert not violations({"entries": [{"key": "a", "value": 1}]}, _restated(schema).schema)


def test_a_property_called_entries_is_not_taken_for_a_map() -> None:
    properties = {"entries": {"type": "array"}, "bays": LOCKERS}
    asked = _restated({"type": "object", "properties": properties})
    assert asked.entries != "entries"
    own = {"entries": [{"key": "k", "value": 1}]}
    assert asked.value(own) == own


_VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), _VALUES, max_size=4))
def test_entries_become_the_map_that_they_list(wanted: dict[str, Any]) -> None:
    asked = _restated({"type": "object", "minProperties": 1})
    entries = [{"key": key, "value": value} for key, value in wanted.items()]
    assert asked.value({"entries": entries}) == wanted


def test_what_a_list_is_to_contain_comes_first() -> None:
    schema = _list(contains={"properties": {"n": {"const": "b"}}}, minContains=2, maxItems=3)
    asked = _restated(schema).schema
    assert not violations([{"n": "b"}, {"n": "b"}, {"n": "a"}], asked)
    for wrong in ([{"n": "b"}], [{"n": "b"}, {"n": "a"}], [{"n": "b"}, {}]):
        assert violations(wrong, asked)


@pytest.mark.parametrize("where", ["items", "contains"])
def test_a_definition_is_joined_with_what_is_demanded(where: str) -> None:
    parts = {"items": {"type": "number", "minimum": 1}, "contains": {"minimum": 7, "maximum": 9}}
    schema = {"type": "array", **parts, where: {"$ref": "#/$defs/p"}, "$defs": {"p": parts[where]}}
    first = _restated(schema).schema["prefixItems"]
    assert first == [{"type": "number", "minimum": 7, "maximum": 9}]


@given(st.lists(st.sampled_from("abc").map(lambda n: {"n": n}), max_size=4))
def test_a_list_that_fits_the_other_words_fits_the_schema(value: list[dict[str, str]]) -> None:
    schema = _list(contains={"properties": {"n": {"const": "b"}}}, minItems=2)
    if not violations(value, _restated(schema).schema):
        assert not violations(value, schema)


def test_nothing_is_changed_in_place() -> None:
    schema = {"type": "object", "properties": {"bays": LOCKERS, "l": _list(contains={})}}
    before = json.dumps(schema)
    assert json.dumps(_restated(schema).schema) != before
    assert json.dumps(schema) == before
