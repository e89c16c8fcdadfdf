"""What is asked and what is right: one case a line, in JSON lines or YAML.

A case names at most one thing that makes its answer right:

=============  =======================================================================
``label``      the router's decision: ``HANDLE`` or a role in capitals
``answer``     a text, a number or a list of accepted texts; ``match`` says how to compare
``tests``      Python assertions that code in the answer must pass (``setup`` runs before them)
``must``       constraints, such as ``{"words": [3, 5]}`` (see :mod:`rolecall.bench.constraints`)
``value``      what the JSON answer holds, with the ``schema`` that it must obey
``call``       the call of one of ``tools``: ``{"name": …, "args": {…}}``, or ``"none"``
=============  =======================================================================

A case with none of them is asked and reported as unscored, never as right.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from rolecall.bench.constraints import check_known
from rolecall.config.schema import ModelRole
from rolecall.errors import DataError, UsageError
from rolecall.models.schema_validation import check_schema
from rolecall.models.wire import CallOptions

Match = Literal["exact", "number", "contains"]
Text = Annotated[str, Field(min_length=1)]

_MOST_ERRORS = 5
_EXPECTED = {
    "answer": "a text, a number or a list of texts",
    "call": '{"name": …, "args": {…}} or "none"',
}
_RIGHT = ("label", "answer", "tests", "must", "value", "call")


class Case(BaseModel):
    """One question. ``context`` are the user's earlier messages; ``about`` names a group."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    prompt: Text
    id: Text | None = None
    role: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")] | None = None
    about: str | None = None
    context: list[str] = []
    label: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = None
    answer: str | int | float | list[str] | None = None
    match: Match = "exact"
    tests: Annotated[list[Text], Field(min_length=1)] | None = None
    setup: str = ""
    preamble: str = ""
    must: Annotated[dict[str, Any], Field(min_length=1)] | None = None
    json_schema: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    value: dict[str, Any] | None = None
    tools: list[dict[str, Any]] = []
    call: dict[str, Any] | Literal["none"] | None = None

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("it is blank")
        return prompt

    @field_validator("answer", mode="before")
    @classmethod
    def _is_no_truth_value(cls, answer: Any) -> Any:
        if isinstance(answer, bool):  # YAML's yes, which pydantic takes for 1
            raise ValueError(f"{answer} is a truth value: put a text such as 'yes' in quotes")
        return answer

    @model_validator(mode="after")
    def _one_thing_is_right(self) -> Case:
        given = [name for name in _RIGHT if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"only one of {', '.join(given)} can make an answer right")
        if (self.value is None) != (self.json_schema is None):
            raise ValueError("value and schema belong together")
        try:
            CallOptions(tools=tuple(self.tools))
            if self.json_schema is not None:
                check_schema(self.json_schema)
        except UsageError as error:
            raise ValueError(str(error)) from error
        if self.label is not None and self.role not in {None, ModelRole.ROUTER}:
            raise ValueError(f"a label is the router's decision, not that of {self.role}")
        if self.answer == []:
            raise ValueError("an empty list accepts no answer at all")
        if isinstance(self.answer, float) and not math.isfinite(self.answer):
            raise ValueError(f"{self.answer} is no number that an answer can give")
        if self.call is not None and not self.tools:
            raise ValueError("call needs the tools that are offered")
        if isinstance(self.call, dict) and set(self.call) != {"name", "args"}:
            raise ValueError('call is {"name": …, "args": {…}} or "none"')
        if self.match == "number" and isinstance(self.answer, str | list):
            raise ValueError("match: number needs a number as answer")
        if self.must is not None:
            check_known(self.must)
        return self

    @property
    def kind(self) -> str | None:
        """Which of the six makes it right; ``None`` where nothing does."""
        return next((name for name in _RIGHT if getattr(self, name) is not None), None)

    @cached_property
    def digest(self) -> str:
        """Names the case by its content: results of a changed case are not those of the old."""
        content = self.model_dump(mode="json", exclude={"id"}, exclude_defaults=True)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """The id, or the digest where it has none."""
        return self.id or self.digest


def read_cases(path: Path) -> list[Case]:
    """The cases of a file: ``.jsonl`` (one object a line), ``.yaml`` or ``.yml`` (a list).

    Raises:
        DataError: the file cannot be read or a case is wrong; the message names line and field.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    rows = _yaml_rows(path, text) if path.suffix in {".yaml", ".yml"} else _json_rows(path, text)
    found: list[Case] = []
    problems: list[str] = []
    names: dict[str, int] = {}
    digests: dict[str, int] = {}
    for line, row in rows:
        try:
            case = Case.model_validate(row)
        except ValidationError as error:
            told = dict.fromkeys(_told(one) for one in error.errors())
            problems += [f"{path}:{line}: {one}" for one in told]
        else:
            found.append(case)
            if case.name in names:
                problems.append(f"{path}:{line}: id: {case.name!r} is in line {names[case.name]}")
            elif case.digest in digests:
                problems.append(f"{path}:{line}: the same case is in line {digests[case.digest]}")
            names[case.name] = digests[case.digest] = line
        if len(problems) >= _MOST_ERRORS:
            break
    if problems:
        raise DataError("\n".join(problems[:_MOST_ERRORS]))
    if not found:
        raise DataError(f"{path} holds no case")
    return found


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: not a JSON object: {error}") from error


class _Loader(yaml.SafeLoader):
    """Dates stay texts, as in JSON."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML has it
        first: [(tag, form) for tag, form in found if not tag.endswith(":timestamp")]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _yaml_rows(path: Path, text: str) -> Sequence[tuple[int, Any]]:
    try:
        node = yaml.compose(text, Loader=_Loader)
        rows = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not YAML: {error}") from error
    if not isinstance(rows, list) or not isinstance(node, yaml.SequenceNode):
        raise DataError(f"{path}:1: expected a list of cases, each with a prompt")
    lines = [item.start_mark.line + 1 for item in node.value]
    return list(zip(lines, rows, strict=True))


def _told(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    field = where.partition(".")[0]
    if field in _EXPECTED and error["type"] != "value_error":  # pydantic tells each form it tried
        return f"{field}: expected {_EXPECTED[field]}"
    reason = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        fields = ", ".join(info.alias or name for name, info in Case.model_fields.items())
        reason = f"there is no such field; fields: {fields}"
    return f"{where}: {reason}" if where else reason
