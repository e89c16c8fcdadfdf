"""Reading the object out of an answer."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from rolecall.models.object_reading import Unfit, goes_round, read_answer
from rolecall.models.target import schema_of

POINT = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}


class Node(BaseModel):
    name: str
    below: list[Node] = []


class Day(BaseModel):
    model_config = ConfigDict(strict=True)

    day: datetime.date = Field(alias="the day")


def read(text: str, schema: Any = POINT, finish: str = "stop") -> Any:
    reply = AIMessage(text, response_metadata={"finish_reason": finish})
    return read_answer(reply, schema, schema_of(schema))


@pytest.mark.parametrize(
    "text",
    [
        '{"x": 3}',
        'Sure, here it is:\n```json\n{"x": 3}\n```\nAnything else?',
        "{'x': 3,}",
        '{"y": 1} is wrong, {"x": 3} is right',
        'as in [1] and [2]: {"x": 3}',
        '{"x": 3',
    ],
)
def test_the_first_object_that_fits_is_taken(text: str) -> None:
    assert read(text) == {"x": 3}


def test_an_object_inside_one_that_does_not_fit_is_not_taken() -> None:
    with pytest.raises(Unfit, match="'x' is a required property"):
        read('{"inner": {"x": 3}}')


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("[1, 2]", {"type": "array", "items": {"type": "integer"}}, [1, 2]),
        ('"red"', {"enum": ["red", "blue"]}, "red"),
        ("12", {"type": "number"}, 12),
        ("null", {"type": ["string", "null"]}, None),
    ],
)
def test_the_root_need_not_be_an_object(text: str, schema: dict[str, Any], value: Any) -> None:
    assert read(text, schema) == value


def test_entries_that_are_to_be_unique_are_taken_once() -> None:
    unique = {"type": "array", "uniqueItems": True, "minItems": 2}
    inside = {"type": "object", "properties": {"tags": unique, "free": {"type": "array"}}}
    text = '{"tags": ["b", "a", "b", {"x": 1}, {"x": 1}], "free": [1, 1]}'
    assert read(text, inside) == {"tags": ["b", "a", {"x": 1}], "free": [1, 1]}
    with pytest.raises(Unfit, match="too short"):
        read('{"tags": ["a", "a"]}', inside)


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "empty"), ("  ", "empty"), ("I do not know", "no JSON"), ('{"x": "a"}', "not of type")],
)
def test_it_is_told_why_nothing_fits(text: str, why: str) -> None:
    with pytest.raises(Unfit, match=why) as caught:
        read(text)
    assert not caught.value.cut


def test_half_an_object_is_not_completed_when_the_limit_cut_it() -> None:
    with pytest.raises(Unfit) as caught:
        read('{"x": 3', finish="length")
    assert caught.value.cut
    assert read('{"x": 3}\n\n\n\n', finish="length") == {"x": 3}


def test_recursive_classes_keep_their_recursion() -> None:
    assert "$ref" in str(schema_of(Node))
    found = read('{"name": "a", "below": [{"name": "b", "below": []}]}', Node)
    assert found.below[0].name == "b"


def test_a_strict_class_takes_a_date_as_json_has_it() -> None:
    assert read('{"the day": "2026-01-02"}', Day).day == datetime.date(2026, 1, 2)


def test_what_pydantic_says_is_told_in_one_line() -> None:
    with pytest.raises(Unfit, match=r"^name: Field required$"):
        read("{}", Node)


def test_schemas_of_every_form() -> None:
    class Town(TypedDict):
        name: str

    function = {"name": "f", "description": "d", "parameters": POINT}
    assert schema_of(Town)["properties"]["name"] == {"type": "string"}
    assert schema_of(function)["properties"] == POINT["properties"]
    assert schema_of({"type": "array", "items": {}}) == {"type": "array", "items": {}}


@pytest.mark.parametrize(
    ("text", "round_and_round"),
    [
        ('{"a": "' + "very " * 40, True),
        ('{"items": ["item 1"' + "".join(f', "item {i}"' for i in range(2, 60)), True),
        ("\n" * 300, True),
        ("The committee met on Tuesday and spoke about the new roof of the school.", False),
        ('{"rows": [[1, 2], [3, 4]], "name": "matrix", "note": "done"}', False),
        ("", False),
        ("aaa", False),
    ],
)
def test_going_round_is_seen(text: str, round_and_round: bool) -> None:
    assert goes_round(text) is round_and_round


@given(st.text("{}[]\"':,0a\\ \n", max_size=60))
def test_any_text_gives_a_value_that_fits_or_says_why_not(text: str) -> None:
    why = ""
    try:
        value = read(text)
    except Unfit as unfit:
        why = str(unfit)
    assert why or isinstance(value["x"], int)
