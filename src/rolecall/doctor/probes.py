"""Probes: what one model's server does when it is asked for something.

Each takes the subject and the API and adds what it saw to a dict, with the field names of
:class:`~rolecall.models.capabilities.ApiSeen` or ``Capability``. A probe that raises has seen
nothing; the examination notes why. Where a question's natural answer would not show the
difference, it asks for something else: a schema is put to a question that has nothing to do with
it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx

from rolecall.doctor.dialogue import Ask
from rolecall.doctor.subject import Refused, Subject
from rolecall.models.capabilities import IN_TEXT, NO_REASONING, Speed, WireApi
from rolecall.models.endpoint import Address
from rolecall.models.outgoing import argument_schemas
from rolecall.models.server_facts import ServerFacts
from rolecall.models.text.reasoning import split_reasoning
from rolecall.models.text.tool_calls import parse_tool_calls
from rolecall.models.wire import CallOptions

Seen = dict[str, Any]
ApiProbe = Callable[[Subject, WireApi, Seen], Awaitable[None]]

LITELLM = "LiteLLM"
_PROXY_S = 2.0
LONGEST_CONTEXT = 8192  # tokens up to which a prompt that is too long is tried
_ABSENT = frozenset({400, 403, 404, 405, 410, 422, 501})
_SENTENCE = "What is the capital of France? Answer in one sentence."
_SCHEMA = {
    "type": "object",
    "properties": {
        "mark": {"type": "string", "enum": ["kilo", "lima"]},
        "shade": {"type": "string", "enum": ["ochre", "teal"]},
    },
    "required": ["mark", "shade"],
    "additionalProperties": False,
}


def _function(name: str, about: str, argument: str, kind: str) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {argument: {"type": kind}},
        "required": [argument],
    }
    function = {"name": name, "description": about, "parameters": parameters}
    return {"type": "function", "function": function}


TOOLS = (
    _function("get_forecast", "The weather forecast of a city.", "city", "string"),
    _function("set_timer", "Starts a timer that rings.", "minutes", "integer"),
)
_WANTS_TWO = "What will the weather be in Oslo, and what in Rome? Use the tools."
_WANTS_NONE = ("Hello!", "Who wrote Hamlet?", "Write two lines about the sea.")


# --- one wire API --------------------------------------------------------------------------------


async def answers(subject: Subject, api: WireApi, seen: Seen) -> None:
    """``works`` and ``reasoning``: a short question. The first tokens show whether it reasons."""
    try:
        said = await subject.say(api, Ask("What is 17 plus 5?", subject.tokens(24)))
    except (Refused, ValueError) as error:
        if not isinstance(error, Refused) or error.status in _ABSENT:
            seen["works"] = False
        raise
    seen["works"] = True
    reasoning, _ = split_reasoning(said.text)
    in_text = bool(reasoning) or "<think>" in said.text
    seen["reasoning"] = said.reasoning_field or (IN_TEXT if in_text else NO_REASONING)
    subject.thinks = subject.thinks or seen["reasoning"] != NO_REASONING
    if said.load_s is not None and said.load_s > 0.1:
        seen["load_s"] = said.load_s


async def obeys_schema(subject: Subject, api: WireApi, seen: Seen) -> None:
    """``json_schema``: the schema has nothing to do with the question."""
    try:
        said = await subject.say(api, Ask(_SENTENCE, subject.tokens(40), schema=_SCHEMA))
    except Refused as error:
        if error.status in _ABSENT:
            seen["json_schema"] = False
            return
        raise
    seen["json_schema"] = _obeyed(split_reasoning(said.text)[1] or said.text)


def _obeyed(text: str) -> bool:
    try:
        found = json.loads(text)
    except ValueError:
        return False
    properties: dict[str, Any] = _SCHEMA["properties"]  # type: ignore[assignment]
    return (
        isinstance(found, dict)
        and set(found) == set(properties)
        and all(found[key] in properties[key]["enum"] for key in properties)
    )


async def calls_tools(subject: Subject, api: WireApi, seen: Seen) -> None:
    """``tools`` and ``parallel_tools``: a question that needs two calls of one tool."""
    try:
        said = await subject.say(api, Ask(_WANTS_TWO, subject.tokens(72), tools=TOOLS))
    except Refused as error:
        if error.status not in _ABSENT:
            raise
        seen["tools"] = "none"
        return
    if said.calls:
        seen["tools"], seen["parallel_tools"] = "native", len(said.calls) > 1
        return
    written = parse_tool_calls(said.text, argument_schemas(TOOLS)).calls
    seen["tools"] = "text" if written else "none"


async def scores_tokens(subject: Subject, api: WireApi, seen: Seen) -> None:
    """``logprobs``: through our client, as the router asks for them."""
    options = CallOptions(max_tokens=1, temperature=0.0, top_logprobs=5)
    try:
        reply, _ = await subject.ask(api, "Answer A or B.", options)
    except Refused as error:
        if error.status not in _ABSENT:
            raise
        seen["logprobs"] = False
        return
    logprobs = reply.response_metadata.get("logprobs")
    entries = logprobs.get("content") if isinstance(logprobs, dict) else logprobs
    first = entries[0] if isinstance(entries, list) and entries else None
    top = first.get("top_logprobs") if isinstance(first, dict) else None
    seen["logprobs"] = isinstance(top, list) and len(top) > 1


async def counts_in_a_stream(subject: Subject, api: WireApi, seen: Seen) -> None:
    """``streaming_usage``: through our client, which always streams."""
    options = CallOptions(max_tokens=subject.tokens(8), temperature=0.0)
    reply, _ = await subject.ask(api, "Name one colour.", options)
    usage = reply.usage_metadata
    seen["streaming_usage"] = usage is not None and usage["input_tokens"] > 0


API_PROBES: tuple[tuple[str, ApiProbe], ...] = (
    ("a JSON schema", obeys_schema),
    ("tools", calls_tools),
    ("usage in a stream", counts_in_a_stream),
    ("log-probabilities", scores_tokens),
)


# --- the model, whatever the API -----------------------------------------------------------------


async def makes_up_calls(subject: Subject, api: WireApi, seen: Seen) -> None:
    """``makes_up_calls``: tools are offered, and none of them fits."""
    options = CallOptions(tools=TOOLS, max_tokens=subject.tokens(40), temperature=0.0)
    for text in _WANTS_NONE:
        reply, _ = await subject.ask(api, text, options)
        if reply.tool_calls:
            seen["makes_up_calls"] = True
            return
    seen["makes_up_calls"] = False


async def embeds(subject: Subject, api: WireApi, seen: Seen) -> None:
    """``embeddings``: ``/v1/embeddings`` with this model."""
    try:
        reply = await subject.post("/v1/embeddings", {"model": subject.name, "input": "a word"})
        seen["embeddings"] = bool(reply.json()["data"][0]["embedding"])
    except (Refused, ValueError, KeyError, IndexError, TypeError):
        seen["embeddings"] = False


async def overflows(subject: Subject, api: WireApi, seen: Seen) -> None:
    """``truncation``: a prompt of about 1.2 times the context, where that is short."""
    context = subject.facts.context_length or subject.spec.context_length
    if context is None:
        raise NotTried("the context length is not known")
    if context > LONGEST_CONTEXT:
        raise NotTried(f"the context of {context} tokens is too long to be tried cheaply")
    words = int(context * 1.2) + 64
    try:
        said = await subject.say(api, Ask("word " * words, 1))
    except Refused as error:
        if error.status >= 500 and error.status != 501:
            raise
        seen["truncation"] = "refuses"
        return
    if said.input_tokens is None:
        raise NotTried("it does not say how many tokens it read")
    seen["truncation"] = "cuts" if said.input_tokens < 0.9 * words else "reads"


async def times(subject: Subject, api: WireApi, seen: Seen) -> None:
    """``speed``: a streamed answer to a prompt of about 200 tokens that no cache can know."""
    notes = " ".join(f"{secrets.randbelow(900) + 100}" for _ in range(60))
    text = f"Case {secrets.token_hex(4)}. Numbers: {notes}. Tell a story about a lighthouse."
    options = CallOptions(max_tokens=32, temperature=0.0)
    _, record = await subject.ask(api, text, options)
    if record.ttft_ms is None or record.latency_ms is None:
        return
    first_s, rest_s = record.ttft_ms / 1000, (record.latency_ms - record.ttft_ms) / 1000
    written, read_in = record.output_tokens or 0, record.input_tokens or 0
    seen["speed"] = Speed(
        ttft_ms=round(record.ttft_ms, 1),
        tokens_per_s=round((written - 1) / rest_s, 1) if written > 1 and rest_s > 0.002 else None,
        prefill_tokens_per_s=round(read_in / first_s, 1) if read_in and first_s > 0.002 else None,
    )


async def proxy_facts(address: Address, http: httpx.AsyncClient, facts: ServerFacts) -> ServerFacts:
    """LiteLLM's proxy, which passes calls on: known by its health pages (its documentation)."""
    try:
        alive = await http.get(address.root + "/health/liveliness", timeout=_PROXY_S)
        if alive.status_code != httpx.codes.OK or "alive" not in alive.text[:40]:
            return facts
        ready = await http.get(address.root + "/health/readiness", timeout=_PROXY_S)
        version = ready.json().get("litellm_version")
    except (httpx.HTTPError, ValueError, AttributeError):
        return facts
    return replace(facts, runner=LITELLM, version=str(version) if version else None)


class NotTried(Exception):
    """A probe that makes no sense here; the message says why."""


MODEL_PROBES: tuple[tuple[str, ApiProbe, bool], ...] = (
    ("speed", times, True),
    ("embeddings", embeds, True),
    ("made-up tool calls", makes_up_calls, False),
    ("a prompt that is too long", overflows, False),
)
"""Name, probe, and whether a quick examination makes it too."""
