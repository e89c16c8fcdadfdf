"""What a turn asks the user before it goes on, and whether an answer fits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from langgraph.types import Interrupt
from pydantic import ValidationError

from rolecall.errors import UsageError
from rolecall.models.schema_validation import violations

_YES, _NO = frozenset({"yes", "y", "true"}), frozenset({"no", "n", "false"})
_LONGEST_SCHEMA = 300
_WAITS = "Nothing was lost: the turn still waits."


@dataclass(frozen=True)
class Question:
    """A question that a turn waits on.

    Attributes:
        id: LangGraph's id of the interrupt.
        value: what the tool asked with; text, or a dict of its own.
        schema: the JSON schema of an answer; ``None`` takes any text.
    """

    id: str
    value: Any
    schema: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, interrupt: Interrupt) -> Question:
        """The question that an interrupt puts."""
        schema = interrupt.response_schema
        return cls(interrupt.id, interrupt.value, schema if isinstance(schema, dict) else None)

    @property
    def text(self) -> str:
        """The question in words."""
        value = self.value
        if isinstance(value, dict):
            value = value.get("question", value)
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    @property
    def choices(self) -> list[str]:
        """The answers there are, where they can be counted."""
        if isinstance(self.value, dict) and isinstance(self.value.get("choices"), list):
            return [str(choice) for choice in self.value["choices"]]
        schema = _only_field(self.schema or {})[1]
        if schema.get("type") == "boolean":
            return ["yes", "no"]
        return [str(choice) for choice in schema.get("enum", ())]

    @property
    def expected(self) -> str:
        """What an answer must be, in words."""
        if self.choices:
            return f"one of: {', '.join(self.choices)}"
        if self.schema is None:
            return "any text"
        schema = json.dumps(self.schema, ensure_ascii=False)
        cut = schema if len(schema) <= _LONGEST_SCHEMA else schema[: _LONGEST_SCHEMA - 1] + "…"
        return f"JSON of this schema: {cut}"

    def accepted(self, answer: Any) -> Any:
        """The answer as the tool gets it.

        Text is taken as it stands where that fits, else read as JSON, as yes or no, as one of the
        choices in other letters, or as the only field that is asked for.

        Raises:
            UsageError: it does not fit; says what is expected.
        """
        if self.schema is None:
            return answer
        tried = list(_readings(answer, self.schema))
        for value in tried:
            if not violations(value, dict(self.schema)):
                return value
        wrong = "; ".join(violations(tried[-1], dict(self.schema)))
        raise UsageError(
            f"the answer {answer!r} does not fit what the turn waits for ({wrong}). "
            f"Expected {self.expected}. {_WAITS}"
        )


def misfit(error: Exception) -> str:
    """What to tell the user when the tool itself finds that an answer does not fit."""
    told = str(error)
    if isinstance(error, ValidationError):
        told = "; ".join(str(one["msg"]) for one in error.errors()[:5])
    return f"the answer does not fit what the turn waits for ({told}). {_WAITS}"


def _readings(answer: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    name, inner = _only_field(schema)
    for value in _plain_readings(answer, inner):
        yield value
        if name is not None and not isinstance(value, dict):
            yield {name: value}


def _plain_readings(answer: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    yield answer
    if not isinstance(answer, str):
        return
    text = answer.strip()
    yield text
    if schema.get("type") == "boolean" and text.lower() in _YES | _NO:
        yield text.lower() in _YES
    for choice in [c for part in (schema, *schema.get("anyOf", ())) for c in part.get("enum", ())]:
        if str(choice).lower() == text.lower():
            yield choice
    try:
        yield json.loads(text)
    except ValueError:
        return


def _only_field(schema: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
    """The one field that an object must have, with its schema; else the schema itself."""
    required = schema.get("required") or []
    if schema.get("type") == "object" and len(required) == 1:
        return required[0], (schema.get("properties") or {}).get(required[0]) or {}
    return None, schema
