"""What of a JSON schema is sent to a runner."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rolecall.models.portable_schema import bounded, core, portable

CIRCLE = {"type": "object", "properties": {"r": {"type": "number"}}, "required": ["r"]}


def test_objects_take_no_properties_but_their_own() -> None:
    assert portable(CIRCLE)["additionalProperties"] is False
    open_one = {**CIRCLE, "additionalProperties": {"type": "integer"}}
    assert portable(open_one)["additionalProperties"] == {"type": "integer"}


@pytest.mark.parametrize(
    "joined",
    [
        {"allOf": [CIRCLE, {"$ref": "#/$defs/a"}], "$defs": {"a": CIRCLE}},
        {**CIRCLE, "anyOf": [CIRCLE, {"required": ["r"]}]},
        {"$ref": "#/$defs/a", "properties": {"b": {}}, "$defs": {"a": CIRCLE}},
    ],
)
def test_objects_that_are_put_together_stay_open(joined: dict[str, Any]) -> None:
    assert "additionalProperties" not in json.dumps(portable(joined))


def test_one_of_becomes_any_of() -> None:
    sent = portable({"properties": {"x": {"oneOf": [{"type": "string"}, CIRCLE]}}})
    assert [one["type"] for one in sent["properties"]["x"]["anyOf"]] == ["string", "object"]


@pytest.mark.parametrize(
    "keyword",
    [
        {"uniqueItems": True},
        {"not": {"const": 1}},
        {"if": {}, "then": {"required": ["a"]}},
        {"contains": {"const": 1}},
        {"dependentRequired": {"a": ["b"]}},
        {"propertyNames": {"pattern": "^a"}},
        {"format": "uri-template"},
        {"default": 3},
        {"pattern": "(?=x)y"},
        {"pattern": r"\bword\b"},
        {"maxLength": 1_000_000},
    ],
)
def test_what_no_grammar_expresses_is_left_out(keyword: dict[str, Any]) -> None:
    assert portable({"type": "string", **keyword}) == {"type": "string"}


def test_properties_that_are_called_like_keywords_stay() -> None:
    names = ["not", "if", "title", "default", "format", "uniqueItems", "$schema", "oneOf"]
    properties = {name: {"type": "string", "title": "T"} for name in names}
    sent = portable({"type": "object", "properties": properties, "required": names})
    assert sent["properties"] == {name: {"type": "string"} for name in names}


def test_the_order_of_properties_is_kept() -> None:
    names = ["z", "a", "m", "b"]
    sent = portable({"properties": {name: {"type": "null"} for name in names}})
    assert list(sent["properties"]) == names


@pytest.mark.parametrize(
    ("given_pattern", "sent_pattern"),
    [
        (r"^\d{4}$", "^[0-9]{4}$"),
        (r"^[\w-]+$", "^[A-Za-z0-9_-]+$"),
        ("[A-Z]{2}", "^.*[A-Z]{2}.*$"),
        ("^a", "^a.*$"),
        (r"^a\.b$", r"^a\.b$"),
        ("^(?:a|b)$", "^(?:a|b)$"),
        ("^a|b", None),
        ("a^b", None),
        (r"(a)\1", None),
        ("(?i)a", None),
    ],
)
def test_patterns_are_written_for_a_whole_string(
    given_pattern: str, sent_pattern: str | None
) -> None:
    sent = portable({"type": "string", "pattern": given_pattern})
    assert sent.get("pattern") == sent_pattern


@given(
    st.sampled_from([r"^\d{1,3}$", r"[a-c]+\d", r"^x[\s\w]*", r"y{2}\.$", "^(?:ab)+$"]),
    st.text("abcxy0123_ .", max_size=8),
)
def test_a_rewritten_pattern_never_admits_more(pattern: str, text: str) -> None:
    rewritten = portable({"type": "string", "pattern": pattern})["pattern"]
    if re.search(rewritten, text):
        assert re.search(pattern, text)


def test_the_core_has_no_bounds_and_no_patterns_of_keys() -> None:
    schema = {
        "type": "object",
        "patternProperties": {"^a": {"type": "integer", "minimum": 3}},
        "additionalProperties": False,
        "minProperties": 1,
    }
    assert core(schema) == {"type": "object", "additionalProperties": {"type": "integer"}}
    assert portable(schema)["patternProperties"] == {"^a": {"type": "integer", "minimum": 3}}


def test_bounds_are_set_only_where_the_schema_has_none() -> None:
    schema = {
        "type": "array",
        "items": {
            "anyOf": [
                {"type": "string"},
                {"type": "string", "maxLength": 900},
                {"type": "string", "enum": ["a"]},
                {"type": ["string", "null"], "minLength": 99},
            ]
        },
        "minItems": 12,
    }
    sent = bounded(schema, text_chars=50, items=8, levels=2)
    assert sent["maxItems"] == 12
    assert [one.get("maxLength") for one in sent["items"]["anyOf"]] == [50, 900, None, 99]


_LEAVES = st.sampled_from(
    [
        {"type": "string", "maxLength": 4},
        {"type": "integer", "minimum": 0},
        {"enum": ["a", 1, None]},
        {"type": "boolean"},
        {},
    ]
)
_SCHEMAS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
                "required": st.lists(st.sampled_from("abc"), unique=True, max_size=2),
            }
        ),
        st.fixed_dictionaries(
            {"type": st.just("array"), "items": inner, "uniqueItems": st.booleans()}
        ),
        st.fixed_dictionaries({"oneOf": st.lists(inner, min_size=1, max_size=2)}),
    ),
    max_leaves=6,
)


@given(_SCHEMAS)
def test_what_is_sent_is_a_schema_too_and_nothing_is_changed_in_place(
    schema: dict[str, Any],
) -> None:
    before = json.dumps(schema)
    for sent in (portable(schema), core(schema), bounded(schema, 10, 2, 2)):
        Draft202012Validator.check_schema(sent)
        assert portable(sent) == sent or sent != portable(schema)
    assert json.dumps(schema) == before


_TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "parts": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 3},
                "twin": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "more": {"$ref": "#/$defs/node"},
            },
            "required": ["name", "parts", "twin"],
        }
    },
}


def _nested(levels: int) -> dict[str, Any]:
    parts = [_nested(levels - 1)] if levels > 1 else []
    return {"name": "x", "parts": parts, "twin": None}


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_recursion_ends_at_the_last_level(levels: int) -> None:
    check = Draft202012Validator(bounded(_TREE, 50, 8, levels))
    assert check.is_valid(_nested(levels))
    assert not check.is_valid(_nested(levels + 1))
    assert not check.is_valid({**_nested(levels), "twin": _nested(levels)})


@given(st.integers(1, 4))
def test_what_an_unrolled_schema_admits_the_recursive_one_admits_too(depth: int) -> None:
    value = _nested(depth)
    if Draft202012Validator(bounded(_TREE, 50, 8, 3)).is_valid(value):
        assert Draft202012Validator(_TREE).is_valid(value)


def test_recursion_that_is_required_stays() -> None:
    endless = {
        "$ref": "#/$defs/n",
        "$defs": {"n": {"properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"]}},
    }
    assert "#/$defs/n" in json.dumps(bounded(endless, 50, 8, 2)["$defs"]["n_level_2"])


def test_a_schema_without_recursion_is_not_unrolled() -> None:
    schema = {"$ref": "#/$defs/a", "$defs": {"a": {"type": "integer"}}}
    assert bounded(schema, 50, 8, 1) == schema


def test_keys_by_pattern_stay_possible_where_a_converter_does_not_know_them() -> None:
    schema = {
        "type": "object",
        "patternProperties": {"^room[0-9]+$": {"type": "string"}},
        "additionalProperties": False,
    }
    sent = portable(schema)
    assert sent["additionalProperties"] == {"type": "string"}
    assert sent["patternProperties"] == schema["patternProperties"]


def test_an_address_is_asked_for_by_a_pattern() -> None:
    sent = portable({"type": "string", "format": "ipv4"})
    assert re.fullmatch(sent["pattern"], "192.168.1.88")
    assert not re.fullmatch(sent["pattern"], "8080")
    assert not re.fullmatch(sent["pattern"], "256.1.1.1")


def _admits(schema: dict[str, Any], value: Any) -> bool:
    return Draft202012Validator(schema).is_valid(value)


def test_fixed_items_and_others_behind_them_are_sent_as_one_list_of_each_length() -> None:
    """A converter that reads only one of the two would drop the other."""
    schema = {
        "type": "array",
        "prefixItems": [{"const": "head"}],
        "items": {"type": "integer"},
        "minItems": 2,
        "maxItems": 3,
    }
    sent = portable(schema)
    assert all("items" not in one for one in sent["anyOf"])
    assert _admits(sent, ["head", 1])
    assert _admits(sent, ["head", 1, 2])
    for wrong in (["head"], [1, 1], ["head", "x"], ["head", 1, 2, 3]):
        assert not _admits(sent, wrong)


@pytest.mark.parametrize("bounds", [{"minItems": 5000}, {"maxItems": 0}])
def test_lists_of_no_sensible_length_keep_their_other_items(bounds: dict[str, int]) -> None:
    schema = {"type": "array", "prefixItems": [{}], "items": {"type": "integer"}, **bounds}
    assert portable(schema) == {"type": "array", "items": {"type": "integer"}, **bounds}
