"""What a waiting turn takes for an answer."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from rolecall.errors import UsageError
from rolecall.questions import Question


class Approval(BaseModel):
    approved: bool
    note: str = ""


class Address(BaseModel):
    street: str
    number: int


CHOICE = {"enum": ["again", "skip"]}


@pytest.mark.parametrize(
    ("schema", "given", "taken"),
    [
        (None, " as it stands ", " as it stands "),
        ({"type": "string"}, "42", "42"),
        ({"type": "integer"}, "42", 42),
        ({"type": "boolean"}, "Yes", True),
        ({"type": "boolean"}, "n", False),
        ({"type": "boolean"}, "true", True),
        (CHOICE, " Skip ", "skip"),
        (Approval.model_json_schema(), "no", {"approved": False}),
        (Approval.model_json_schema(), '{"approved": true, "note": "x"}', None),
        (Approval.model_json_schema(), {"approved": True}, {"approved": True}),
        (Address.model_json_schema(), '{"street": "Lime", "number": 3}', None),
    ],
)
def test_an_answer_is_read_as_the_schema_wants_it(schema: Any, given: Any, taken: Any) -> None:
    import json

    expected = json.loads(given) if taken is None else taken
    assert Question("id", "Well?", schema).accepted(given) == expected


@pytest.mark.parametrize(
    ("schema", "given", "told"),
    [
        (CHOICE, "perhaps", "one of: again, skip"),
        ({"type": "boolean"}, "perhaps", "one of: yes, no"),
        (Approval.model_json_schema(), "perhaps", "one of: yes, no"),
        (Address.model_json_schema(), '{"street": "Lime"}', "'number' is a required property"),
        (Address.model_json_schema(), "Lime 3", "JSON of this schema"),
    ],
)
def test_what_does_not_fit_is_refused_and_says_what_is_expected(
    schema: Any, given: str, told: str
) -> None:
    with pytest.raises(UsageError, match="still waits") as refused:
        Question("id", "Well?", schema).accepted(given)
    assert told in str(refused.value)


def test_a_question_of_its_own_shape_is_put_in_words() -> None:
    asked = Question("id", {"question": "Which?", "choices": ["a", "b"]})
    assert (asked.text, asked.choices) == ("Which?", ["a", "b"])
    assert Question("id", {"town": "Lima"}).text == '{"town": "Lima"}'
