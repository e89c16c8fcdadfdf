"""Which way of asking for a schema each model obeys.

Runners claim several ways and obey some: llama.cpp takes ``text.format`` on Responses and ignores
it, MLX ignores ``response_format``, LM Studio refuses ``json_object``. Each way is tried in order;
one that was refused, or whose answer has not the shape that it demands, is passed over for the rest
of the process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple, cast

from langchain_core.messages import BaseMessage, HumanMessage

from rolecall.config.schema import EMBEDDED, ModelSpec
from rolecall.errors import ModelCallFailed, RolecallError, UsageError
from rolecall.models.capabilities import WireApi
from rolecall.models.portable_schema import core, portable
from rolecall.models.schema_validation import breaks_shape, check_schema
from rolecall.models.wire import CallOptions, Wire

_REFUSALS = frozenset({400, 404, 405, 422, 501})
_ENOUGH = 2  # so many schemas that a way did not obey, and it is not tried for others


class Form(StrEnum):
    """How a schema is put to a model."""

    SCHEMA = "schema"  # the runner is to generate by it
    CORE = "core"  # the same, bounds and patterns left out
    JSON = "json"  # any JSON, the schema in the prompt
    PROMPT = "prompt"  # only the prompt


_BY_GRAMMAR = frozenset({Form.SCHEMA, Form.CORE})


class Way(NamedTuple):
    """A wire API and a form."""

    api: WireApi
    form: Form


@dataclass
class _Seen:
    obeyed: int = 0
    broken: set[str] = field(default_factory=set)  # schemas


@dataclass(frozen=True)
class SchemaPlan:
    """One attempt to get an answer under a schema.

    Attributes:
        spec: the model.
        schema: what the answer has to obey, as text.
        way: how it is asked for.
        options: the call's options, of this way.
        sent: the schema as this way sends it.
    """

    spec: ModelSpec
    schema: str
    way: Way
    options: CallOptions
    sent: dict[str, Any]

    def messages(self, messages: list[BaseMessage]) -> list[BaseMessage]:
        """The messages of this way: the schema stands in them where the runner does not read it."""
        if self.way.form in {Form.SCHEMA, Form.CORE}:
            return messages
        demand = demand_for(json.loads(self.schema))
        last = messages[-1] if messages else None
        if isinstance(last, HumanMessage) and isinstance(last.content, str):
            told = last.model_copy(update={"content": f"{last.content}\n\n{demand}"})
            return [*messages[:-1], told]
        return [*messages, HumanMessage(demand)]


class SchemaModes:
    """What was seen of each model at each endpoint, in this process. Shared by all event loops."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, Way], _Seen] = {}

    def plan(self, spec: ModelSpec, wire: Wire, options: CallOptions) -> SchemaPlan | None:
        """How to ask a model for the schema of a call; ``None`` when it has none.

        Args:
            spec: the model.
            wire: tells the API that it is addressed over, and what ``rolecall doctor`` has
                measured of its endpoint.
            options: of the call.

        Raises:
            UsageError: the schema is not a JSON schema.
        """
        if options.schema is None:
            return None
        check_schema(options.schema)
        text = json.dumps(options.schema)
        ways = ways_of(spec, cast("WireApi", wire.api))
        free = [
            way
            for way in ways
            if not self._is_shut(spec, way, text)
            and not (way.form in _BY_GRAMMAR and _is_known_to_ignore(wire, way.api))
        ]
        way = free[0] if free else ways[-1]
        sent = core(options.schema) if way.form is Form.CORE else portable(options.schema)
        if way.form in _BY_GRAMMAR:
            chosen = replace(options, schema=sent)
        else:
            chosen = replace(options, schema=None, json_object=way.form is Form.JSON)
        return SchemaPlan(spec, text, way, chosen, sent)

    def refused(self, plan: SchemaPlan, failure: RolecallError) -> bool:
        """Whether the server did not like this way and there is another to try at once."""
        if not isinstance(failure, ModelCallFailed) or failure.partial:
            return False
        if failure.status not in _REFUSALS or "context" in str(failure).lower():
            return False
        if plan.way.form is Form.PROMPT:  # it was not the schema that it did not like
            for (endpoint, model, _), seen in self._seen.items():
                if (endpoint, model) == (plan.spec.endpoint, plan.spec.id):
                    seen.broken.discard(plan.schema)
            return False
        self._of(plan).broken.add(plan.schema)
        return True

    def judge(self, plan: SchemaPlan, text: str, finish_reason: str | None) -> None:
        """Remember whether an answer has the shape that was demanded; a cut one tells nothing."""
        if finish_reason == "length":
            return
        try:
            obeyed = not breaks_shape(json.loads(text), plan.sent)
        except (ValueError, RecursionError):
            obeyed = False
        except UsageError:
            return  # a reference that leads nowhere: there is nothing to judge by
        if obeyed:
            self._of(plan).obeyed += 1
            return
        self._of(plan).broken.add(plan.schema)
        if plan.way.form is Form.SCHEMA:  # what is ignored is ignored without its bounds too
            self._of(plan, Form.CORE).broken.add(plan.schema)

    def _of(self, plan: SchemaPlan, form: Form | None = None) -> _Seen:
        way = Way(plan.way.api, form or plan.way.form)
        return self._seen.setdefault((plan.spec.endpoint, plan.spec.id, way), _Seen())

    def _is_shut(self, spec: ModelSpec, way: Way, schema: str) -> bool:
        seen = self._seen.get((spec.endpoint, spec.id, way))
        if seen is None:
            return False
        return schema in seen.broken or len(seen.broken) >= max(_ENOUGH, seen.obeyed)


def _is_known_to_ignore(wire: Wire, api: WireApi) -> bool:
    return wire.capability is not None and wire.capability.api(api).json_schema is False


def ways_of(spec: ModelSpec, api: WireApi) -> list[Way]:
    """Every way of asking a model for a schema, best first."""
    forms = [Way(api, form) for form in Form]
    if api != "responses":
        return forms
    chat = [Way("chat_completions", form) for form in (Form.SCHEMA, Form.CORE, Form.JSON)]
    if spec.endpoint == EMBEDDED:  # known to ignore text.format
        return [*chat, forms[-1]]
    return [forms[0], *chat, forms[-1]]


def demand_for(schema: Mapping[str, Any]) -> str:
    """What a model is told that is not made to obey."""
    text = json.dumps(schema, ensure_ascii=False)
    return f"Reply with nothing but one JSON value of this JSON schema:\n{text}"
