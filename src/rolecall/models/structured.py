"""Answers as objects: a schema goes out with the call, what comes back is validated, once repaired.

A runner may ignore the schema, so its answer is read as leniently as a tool call and then judged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.pydantic import is_basemodel_subclass

from rolecall import bridge
from rolecall.errors import ModelCallFailed
from rolecall.models.text.loose_json import read_value

_MOST_OBJECTS = 20
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
}

Schema = dict[str, Any] | type
"""A pydantic class, a TypedDict, a JSON schema or a function in OpenAI's form."""


@dataclass(frozen=True)
class _Outcome:
    raw: AIMessage
    parsed: Any = None
    error: ModelCallFailed | None = None


def structured(
    model: Runnable[LanguageModelInput, AIMessage],
    prepare: Any,
    schema: Schema,
    *,
    include_raw: bool,
) -> Runnable[LanguageModelInput, Any]:
    """A runnable that answers with an object of ``schema``, never with ``None``.

    Args:
        model: already bound to the schema.
        prepare: turns the input into messages.
        schema: a pydantic class gives instances, everything else dicts.
        include_raw: give ``{"raw", "parsed", "parsing_error"}`` and do not raise.

    Raises:
        ModelCallFailed: the answer did not fit twice.
    """

    async def ask(given: LanguageModelInput, config: RunnableConfig) -> Any:
        outcome = await _ask(model, prepare(given), schema, config)
        if include_raw:
            return {
                "raw": outcome.raw,
                "parsed": outcome.parsed,
                "parsing_error": outcome.error,
            }
        if outcome.error is not None:
            raise outcome.error
        return outcome.parsed

    def ask_and_wait(given: LanguageModelInput, config: RunnableConfig) -> Any:
        return bridge.run(ask(given, config))

    return RunnableLambda(ask_and_wait, afunc=ask, name="structured_answer")


async def _ask(
    model: Runnable[LanguageModelInput, AIMessage],
    messages: list[BaseMessage],
    schema: Schema,
    config: RunnableConfig,
) -> _Outcome:
    reply = await model.ainvoke(messages, config)
    try:
        return _Outcome(reply, _read(reply.text, schema))
    except ValueError as error:
        why = str(error)
    demand = (
        f"That does not fit: {why}\nReply with nothing but one JSON object of this schema:\n"
        + json.dumps(convert_to_json_schema(schema), ensure_ascii=False)
    )
    said = AIMessage(reply.text or "{}")
    reply = await model.ainvoke([*messages, said, HumanMessage(demand)], config)
    try:
        return _Outcome(reply, _read(reply.text, schema))
    except ValueError as error:
        who = reply.response_metadata.get("model_name", "the model")
        failure = ModelCallFailed(
            f"{who}: its answer does not fit the schema, also not on a second try: {error}. "
            "rolecall doctor shows whether its endpoint obeys JSON schemas.",
            retryable=False,
            partial=reply.text,
        )
        return _Outcome(reply, error=failure)


def _read(text: str, schema: Schema) -> Any:
    """The object in an answer.

    Raises:
        ValueError: there is none, or it does not fit (pydantic's error is one).
    """
    found = _object_in(text)
    if found is None:
        raise ValueError("no JSON object in the answer" if text.strip() else "the answer is empty")
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        # pydantic v1 classes have parse_obj only
        validate = getattr(schema, "model_validate", None) or getattr(schema, "parse_obj")  # noqa: B009
        return validate(found)
    _check(found, convert_to_json_schema(schema), "the answer")
    return found


def _object_in(text: str) -> dict[str, Any] | None:
    at = -1
    for _ in range(_MOST_OBJECTS):
        at = text.find("{", at + 1)
        if at < 0:
            return None
        found = read_value(text, at)
        if found is not None and isinstance(found[0], dict):
            return found[0]
    return None


def _check(value: object, schema: Mapping[str, Any], where: str) -> None:
    """The part of JSON Schema that models get wrong: types, required keys, enumerations."""
    if "enum" in schema and value not in schema["enum"]:
        raise ValueError(f"{where} is not one of {schema['enum']}")
    named = schema.get("type")
    kinds = named if isinstance(named, list) else [named] if isinstance(named, str) else []
    allowed = tuple(kind for name in kinds for kind in _TYPES.get(name, (object,)))
    is_switch = isinstance(value, bool) and bool not in allowed and object not in allowed
    if allowed and (is_switch or not isinstance(value, allowed)):
        raise ValueError(f"{where} is not of type {named}")
    if isinstance(value, dict):
        for key in schema.get("required") or []:
            if key not in value:
                raise ValueError(f"{where} lacks {key!r}")
        for key, inner in (schema.get("properties") or {}).items():
            if key in value and isinstance(inner, dict):
                _check(value[key], inner, f"{key!r}")
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for item in value:
            _check(item, schema["items"], f"an item of {where}")
