"""Structured output of the real embedded runner, whose grammars drop schemas in silence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from rolecall.config.schema import ModelSpec, Sampling, Settings, Stack
from rolecall.errors import AnswerTruncated
from rolecall.models.client import LocalLLMClient
from rolecall.models.role_model import RoleChatModel

pytestmark = [pytest.mark.live, pytest.mark.enable_socket]
_MODEL = "smollm2-135m"
# A keyword that no grammar expresses: sent as it is, the runner generates without any schema.
_TAGS = {
    "type": "object",
    "properties": {
        "tags": {
            "type": "array",
            "items": {"enum": ["zinc", "iron", "gold"]},
            "minItems": 1,
            "maxItems": 2,
            "uniqueItems": True,
        }
    },
    "required": ["tags"],
}
_QUESTION = "Name a friendly animal."


class Node(BaseModel):
    name: str
    below: list[Node] = []


@pytest.fixture
def model_of(live_home: Path) -> Iterator[Any]:
    clients: list[LocalLLMClient] = []

    def model(max_tokens: int = 120, **more: Any) -> RoleChatModel:
        sampling = Sampling(temperature=0.0, max_tokens=max_tokens)
        spec = ModelSpec(
            id=_MODEL, endpoint="embedded", context_length=1024, sampling=sampling, **more
        )
        stack = Stack("live", live_home / "s.yaml", "", {"coding": [spec]}, {}, Settings())
        clients.append(LocalLLMClient(stack))
        return clients[-1].chat_model("coding")

    yield model
    for client in clients:
        client.close()


def test_a_schema_that_the_runner_would_drop_is_obeyed(model_of: Any) -> None:
    found = model_of().with_structured_output(_TAGS).invoke(_QUESTION)
    assert set(found["tags"]) <= {"zinc", "iron", "gold"}


def test_on_responses_the_path_that_obeys_is_taken(model_of: Any) -> None:
    answer = (
        model_of(api="responses").with_structured_output(_TAGS, include_raw=True).invoke(_QUESTION)
    )
    assert answer["parsing_error"] is None
    assert answer["raw"].response_metadata["structured"]["attempts"] == 1


def test_an_answer_that_has_no_room_is_truncated_not_half(model_of: Any) -> None:
    schema = {
        "type": "object",
        "properties": {"text": {"type": "string", "minLength": 400}},
        "required": ["text"],
    }
    with pytest.raises(AnswerTruncated) as caught:
        model_of(max_tokens=16).with_structured_output(schema).invoke(_QUESTION)
    assert caught.value.partial.startswith("{")


def test_a_recursive_class_ends(model_of: Any) -> None:
    tree = model_of(max_tokens=400).with_structured_output(Node).invoke("Draw a tree of folders.")
    assert isinstance(tree, Node)
