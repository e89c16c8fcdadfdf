"""Whether a tool call was meant: small models call a tool also for "Hello".

A call is judged by :mod:`rolecall.models.call_evidence`, about 10 ms and no model call. Three kinds
are taken out: a call of a tool that nobody offered, one that the message does not ask for, and one
of a tool to which another is clearly nearer. When none is left the same model is asked once more,
with the one tool that the message asks for, else without tools.

The check has its price in real calls, so a model is only checked where that pays, see
:func:`wants_check`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    ToolMessage,
)
from langchain_core.messages.tool import ToolCallChunk

from rolecall.config.schema import ModelSpec
from rolecall.errors import ArtefactDamaged
from rolecall.models.call_evidence import Evidence, evidence_for
from rolecall.models.wire import CallOptions

if TYPE_CHECKING:
    from rolecall.models.call_evidence import Embed, Vector

# A logistic model of three features. Set on the development cases of benchmarks/tool_calls.py,
# which no figure is reported on; its --fit prints what a regression on them would choose.
WEIGHTS = {"likeness": 8.0, "idleness": -8.0, "grounded": 3.0, "intercept": -1.0}
UNGROUNDABLE = 0.75  # stands for groundedness where no argument could stand in the conversation
LEAST = 0.42  # probability from which on a call was meant
SURE = 0.7  # probability, without any arguments, from which on a message asks for a tool
NEARER = 0.12  # likeness that another tool must have more; a right call lacked at most 0.08
_LONGEST_SAID = 2000  # characters of a message that are looked at
_MOST_KEPT = 512

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NotMeant:
    """A call that was taken out, and why."""

    name: str
    arguments: dict[str, Any]
    why: str

    def as_dict(self) -> dict[str, Any]:
        """As it stands in ``response_metadata["calls_not_meant"]``."""
        return {"name": self.name, "args": self.arguments, "why": self.why}


def wants_check(spec: ModelSpec, makes_up_calls: bool | None, *, unmarked: bool) -> bool:
    """Whether the calls of a model are checked.

    ``tool_check: auto`` does what ``rolecall doctor`` measured: yes where the model calls when no
    tool fits. Where that was not measured, yes for calls that came as plain text, without the
    marker of any chat template: a model that does not keep to its own call format was hardly
    trained to hold back either. A good model behind a server that does not read its marked calls
    is left alone.
    """
    if spec.tool_check == "auto":
        return unmarked if makes_up_calls is None else makes_up_calls
    return spec.tool_check == "always"


@dataclass
class ToolCheck:
    """Judges calls. One for a client: it keeps the vectors of the tools.

    Args:
        embed: text → unit vector; by default the encoder of the router, loaded on first use.
    """

    embed: Embed | None = None
    _vectors: dict[str, Vector] = field(default_factory=dict)
    _broken: bool = False

    async def not_meant(
        self, messages: Sequence[BaseMessage], options: CallOptions, last: AIMessageChunk
    ) -> dict[int, NotMeant]:
        """The calls of a finished reply that were not meant, by their place in it.

        A caller that demands a call (``tool_choice``), and a model that goes on after a tool's
        result, are not second-guessed.
        """
        functions = {
            str(function_of(tool).get("name")): function_of(tool) for tool in options.tools
        }
        calls = {place: _read(call) for place, call in enumerate(last.tool_call_chunks)}
        if options.tool_choice not in {None, "auto"} or not messages:
            return {}
        found: dict[int, NotMeant] = {}
        for place, (name, arguments) in calls.items():
            if name not in functions:
                found[place] = NotMeant(name, arguments, "there is no such tool")
        known = {place: call for place, call in calls.items() if place not in found}
        if known and _is_said(messages[-1]):
            judged = await self._off_loop(lambda: self._judge(known, functions, messages))
            found |= judged or {}
        return found

    async def wanted(
        self, messages: Sequence[BaseMessage], options: CallOptions
    ) -> dict[str, Any] | None:
        """The offered tool that the message asks for; ``None`` when it asks for none."""
        if not options.tools or not messages or not _is_said(messages[-1]):
            return None
        return await self._off_loop(lambda: self._nearest(messages, options))

    async def _off_loop(self, work: Callable[[], T]) -> T | None:
        """Work with the encoder; ``None`` where that cannot be used, which is told once."""
        if self._broken:
            return None
        try:
            return await asyncio.to_thread(work)
        except ArtefactDamaged as error:
            self._broken = True
            _log.warning("tool calls are not checked: %s", error)
            return None

    def _nearest(
        self, messages: Sequence[BaseMessage], options: CallOptions
    ) -> dict[str, Any] | None:
        said = _said(messages)
        found = {
            place: probability_meant(evidence_for({}, function_of(tool), said, "", self.vector))
            for place, tool in enumerate(options.tools)
        }
        best = max(found, key=lambda place: found[place])
        return options.tools[best] if found[best] >= SURE else None

    def _judge(
        self,
        calls: Mapping[int, tuple[str, dict[str, Any]]],
        functions: Mapping[str, Mapping[str, Any]],
        messages: Sequence[BaseMessage],
    ) -> dict[int, NotMeant]:
        said = _said(messages)
        heard = "\n".join(message.text for message in messages)
        likeness = {
            name: evidence_for({}, function, said, "", self.vector).likeness
            for name, function in functions.items()
        }
        nearest = max(likeness, key=lambda name: likeness[name])
        found = {}
        for place, (name, arguments) in calls.items():
            evidence = evidence_for(arguments, functions[name], said, heard, self.vector)
            probability = probability_meant(evidence)
            if probability < LEAST:
                why = f"the message does not ask for it (probability {probability:.2f})"
                found[place] = NotMeant(name, arguments, why)
            elif len(calls) == 1 and likeness[nearest] - likeness[name] >= NEARER:
                found[place] = NotMeant(name, arguments, f"{nearest} is nearer to the message")
        return found

    def vector(self, text: str) -> Vector:
        """The unit vector of a text, kept for the next time."""
        if text not in self._vectors:
            if self.embed is None:
                self.embed = _encoder()
            if len(self._vectors) >= _MOST_KEPT:
                self._vectors.clear()
            self._vectors[text] = self.embed(text)
        return self._vectors[text]


def probability_meant(evidence: Evidence) -> float:
    """The probability that a call was meant."""
    grounded = UNGROUNDABLE if evidence.grounded is None else evidence.grounded
    score = (
        WEIGHTS["intercept"]
        + WEIGHTS["likeness"] * evidence.likeness
        + WEIGHTS["idleness"] * evidence.idleness
        + WEIGHTS["grounded"] * grounded
    )
    return 1.0 / (1.0 + math.exp(-score))


def without(last: AIMessageChunk, places: Mapping[int, NotMeant]) -> AIMessageChunk:
    """The last chunk of a reply without the calls at these places; what went is in its metadata."""
    kept = [c for place, c in enumerate(last.tool_call_chunks) if place not in places]
    numbered: list[ToolCallChunk] = [{**call, "index": at} for at, call in enumerate(kept)]
    return AIMessageChunk(
        content=last.content,
        tool_call_chunks=numbered,
        usage_metadata=last.usage_metadata,
        response_metadata={**last.response_metadata, **noted(places)},
        chunk_position="last",
    )


def noted(places: Mapping[int, NotMeant]) -> dict[str, Any]:
    """What ``response_metadata`` says of calls that were taken out."""
    return {"calls_not_meant": [call.as_dict() for call in places.values()]}


def without_tools(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """The conversation for a call that offers no tools: earlier calls and results are left out."""
    kept: list[BaseMessage] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            continue
        if isinstance(message, AIMessage) and message.tool_calls:
            if message.text.strip():
                kept.append(AIMessage(message.text))
            continue
        kept.append(message)
    return kept


def _is_said(message: BaseMessage) -> bool:
    """Whether it is a user's message with words to go by (an image alone has none)."""
    return isinstance(message, HumanMessage) and bool(message.text.strip())


def function_of(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """The function of a tool in OpenAI's form: name, description, parameters."""
    inner = tool.get("function", tool)
    return inner if isinstance(inner, Mapping) else {}


def _said(messages: Sequence[BaseMessage]) -> list[str]:
    return [m.text[:_LONGEST_SAID] for m in messages if isinstance(m, HumanMessage)]


def _read(call: ToolCallChunk) -> tuple[str, dict[str, Any]]:
    try:
        arguments = json.loads(call["args"] or "{}")
    except ValueError:
        arguments = {}
    return call["name"] or "", arguments if isinstance(arguments, dict) else {}


def _encoder() -> Embed:
    # a leaf of routing, which imports nothing of the client
    from rolecall.routing.encoder.versions import current_artefact

    encoder = current_artefact().encoder
    return lambda text: encoder.encode(text).sentence
