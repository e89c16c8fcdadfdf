"""Answers as objects: a schema goes out with the call, what comes back is validated, once repaired.

A runner may ignore the schema, so its answer is read as leniently as a tool call and then judged.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda

from rolecall import bridge
from rolecall.errors import AnswerTruncated, AnswerUnfit, ModelCallFailed
from rolecall.models.object_reading import Unfit, goes_round, read_answer
from rolecall.models.portable_schema import bounded
from rolecall.models.restated_schema import Restated, restated
from rolecall.models.schema_modes import demand_for
from rolecall.models.schema_validation import check_schema
from rolecall.models.target import Schema, schema_of

__all__ = ["Ask", "Outcome", "Schema", "obtain", "structured"]

_ROUND_TEXT_CHARS = 160  # bounds of the second try, after an answer that went round in circles
_ROUND_ITEMS = 8
_ROUND_LEVELS = 3

Ask = Callable[[list[BaseMessage], dict[str, Any]], Awaitable[AIMessage]]
"""Calls the model with messages and a JSON schema."""


@dataclass(frozen=True)
class Outcome:
    """What came of asking for an object.

    Attributes:
        raw: the last reply, its text in the shape of the schema. Its
            ``response_metadata["structured"]`` says how many ``attempts`` it took and, of a second
            one, ``why``.
        parsed: the object; ``None`` only together with an ``error``.
    """

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
        model: the schema is bound to it for each call.
        prepare: turns the input into messages.
        schema: a pydantic class gives instances, everything else plain JSON values.
        include_raw: give ``{"raw", "parsed", "parsing_error"}`` and do not raise.

    Raises:
        UsageError: at once, when ``schema`` is no JSON schema.
        AnswerTruncated: the answer was cut off by the token limit.
        AnswerUnfit: the answer did not fit twice.
    """
    check_schema(schema_of(schema))

    async def ask(given: LanguageModelInput, config: RunnableConfig) -> Any:
        async def call(messages: list[BaseMessage], sent: dict[str, Any]) -> AIMessage:
            return await model.bind(schema=sent).ainvoke(messages, config)

        outcome = await obtain(call, prepare(given), schema)
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


async def obtain(ask: Ask, messages: list[BaseMessage], schema: Schema) -> Outcome:
    """Ask for an object of ``schema``, and once more if the answer does not fit.

    The second time in words that every runner's grammar enforces, where the schema has others.
    An answer that was cut off is not asked for again: it would be cut again. Only one that went
    round in circles is, with its texts and lists bounded.
    """
    wanted = schema_of(schema)
    reply = await ask(messages, wanted)
    try:
        return Outcome(_marked(reply, 1), read_answer(reply, schema, wanted))
    except Unfit as unfit:
        first = unfit
    why = str(first)
    if first.cut:
        if not goes_round(reply.text):
            return Outcome(_marked(reply, 1), error=_truncated(reply))
        why = "it went round in circles and was cut off"
        narrow = bounded(wanted, _ROUND_TEXT_CHARS, _ROUND_ITEMS, _ROUND_LEVELS)
        again = await ask(messages, narrow)
    else:
        other = restated(wanted)
        asked = other.schema if other else wanted
        demand = f"That does not fit: {why}\n{demand_for(asked)}"
        said = AIMessage(reply.text or "{}")
        again = await ask([*messages, said, HumanMessage(demand)], asked)
        again = _in_shape(again, other) if other else again
    marked = _marked(again, 2, why)
    try:
        return Outcome(marked, read_answer(again, schema, wanted))
    except Unfit as unfit:
        return Outcome(marked, error=_truncated(again) if unfit.cut else _unfit(again, unfit))


def _in_shape(reply: AIMessage, asked: Restated) -> AIMessage:
    """An answer to a restated schema as one to the schema itself; as it is if it does not fit."""
    try:
        value = asked.value(read_answer(reply, asked.schema, asked.schema))
    except Unfit:
        return reply
    return reply.model_copy(update={"content": json.dumps(value, ensure_ascii=False)})


def _marked(reply: AIMessage, attempts: int, why: str | None = None) -> AIMessage:
    note = {"attempts": attempts} | ({"why": why} if why else {})
    return reply.model_copy(
        update={"response_metadata": {**reply.response_metadata, "structured": note}}
    )


def _truncated(reply: AIMessage) -> AnswerTruncated:
    written = reply.usage_metadata["output_tokens"] if reply.usage_metadata else None
    size = f" after {written} tokens" if written else ""
    round_and_round = " It went round in circles." if goes_round(reply.text) else ""
    return AnswerTruncated(
        f"{_who(reply)}: its answer was cut off{size}, before the object was complete."
        f"{round_and_round} Give the call or the model's sampling a larger max_tokens, or bound "
        "the schema (maxLength, maxItems).",
        retryable=False,
        partial=reply.text,
    )


def _unfit(reply: AIMessage, why: Unfit) -> AnswerUnfit:
    return AnswerUnfit(
        f"{_who(reply)}: its answer does not fit the schema, also not on a second try: {why}. "
        "rolecall doctor shows whether its endpoint obeys JSON schemas.",
        retryable=False,
        partial=reply.text,
    )


def _who(reply: AIMessage) -> str:
    return str(reply.response_metadata.get("model_name", "the model"))
