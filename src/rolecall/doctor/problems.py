"""What is wrong with a model at an endpoint, and what to change: the key or the command."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from rolecall.config.schema import EMBEDDED, ModelSpec, Stack
from rolecall.doctor.verdict import EMBEDDING
from rolecall.models.capabilities import (
    IN_TEXT,
    ApiSeen,
    Capability,
    WireApi,
    choose_api,
)
from rolecall.models.server_facts import LLAMA_CPP, LM_STUDIO, OLLAMA, VLLM

_START = {
    11434: "start Ollama: ollama serve",
    1234: "start LM Studio's server: lms server start",
    5272: "start Foundry Local: foundry service start",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and the next thing to try."""

    what: str
    remedy: str

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return {"what": self.what, "remedy": self.remedy}


def nothing_answers(spec: ModelSpec, stack: Stack, roles: list[str]) -> Problem:
    """Nobody listens at the endpoint."""
    key = f"models.{roles[0]}.endpoint in {stack.source}"
    start = _START.get(urlsplit(spec.endpoint).port or 0, "start the runner")
    return Problem(f"nothing answers at {spec.endpoint}", f"{start}, or correct {key}")


def not_offered(spec: ModelSpec, offered: list[str], roles: list[str], stack: Stack) -> Problem:
    """The server does not have the model."""
    listed = ", ".join(sorted(offered)[:5]) or "no model"
    port = urlsplit(spec.endpoint).port
    load = {11434: f"ollama pull {spec.id}", 1234: f"lms load {spec.id}"}.get(port or 0)
    put = f"put one of these as models.{roles[0]}.id into {stack.source}"
    return Problem(
        f"{spec.endpoint} has no model {spec.id}; it has {listed}",
        f"{load}, or {put}" if load else f"load it there, or {put}",
    )


def unfit(role: str, spec: ModelSpec, why: str) -> Problem:
    """The model cannot do a role's work."""
    larger = " (rolecall models list)" if spec.endpoint == EMBEDDED else ""
    return Problem(
        f"{spec.id} is unfit for {role}: {why}", f"a more able model as models.{role}.id{larger}"
    )


def found_problems(
    spec: ModelSpec, roles: list[str], seen: Capability, stack: Stack
) -> Iterator[Problem]:
    """What the probes found wrong, with remedies in the words of the runner."""
    place = f"models.{roles[0]}"
    chosen = choose_api(seen) if spec.api == "auto" else spec.api
    api = seen.api(chosen)
    if not api.works and roles == [EMBEDDING]:
        return
    if not api.works:
        yield Problem(
            f"it gives no answer on {chosen}",
            f"{place}.api: auto" if _working(seen) else "look at the runner's own log",
        )
        return
    yield from _about_schemas(place, chosen, seen)
    yield from _about_tools(place, api, seen)
    if api.reasoning == IN_TEXT and seen.runner in {LLAMA_CPP, VLLM}:
        flag = "--reasoning-format auto" if seen.runner == LLAMA_CPP else "--reasoning-parser NAME"
        yield Problem(
            "its reasoning comes within the answer; Rolecall parts them", f"start it with {flag}"
        )
    if api.streaming_usage is False:
        yield Problem(
            "its streams do not say how many tokens they took, so a prompt that is cut in silence "
            "cannot be noticed",
            f"state {place}.context_length; a newer version of the runner may count",
        )
    routing = stack.settings.routing
    if "router" in roles and api.logprobs is False and routing.strategy in {"hybrid", "llm"}:
        yield Problem(
            "it gives no log-probabilities, so the router model's opinion is asked for as JSON",
            "settings.routing.strategy: encoder decides without a model",
        )
    yield from _about_context(place, spec, seen, chosen)
    if seen.speed.tokens_per_s is not None and seen.speed.tokens_per_s < 3:
        yield Problem(
            f"it writes {seen.speed.tokens_per_s:.1f} tokens/s",
            f"a smaller model or a smaller quantization as {place}.id",
        )


def _working(seen: Capability) -> bool:
    return any(api.works for api in seen.apis.values())


def _about_schemas(place: str, chosen: WireApi, seen: Capability) -> Iterator[Problem]:
    if seen.api(chosen).json_schema is not False:
        return
    better = [name for name, api in seen.apis.items() if api.json_schema]
    if better:
        yield Problem(
            f"{chosen} ignores JSON schemas; {better[0]} obeys them", f"{place}.api: {better[0]}"
        )
        return
    yield Problem(
        "it obeys a JSON schema on no API; structured answers are checked and asked for again",
        {
            LLAMA_CPP: "a newer llama-server obeys response_format",
            VLLM: "a newer version obeys response_format",
        }.get(seen.runner or "", "a newer version of the runner, or another runner"),
    )


def _about_tools(place: str, api: ApiSeen, seen: Capability) -> Iterator[Problem]:
    remedy = {
        LLAMA_CPP: "start it with --jinja, or use a model whose template knows tools",
        VLLM: "start it with --enable-auto-tool-choice --tool-call-parser NAME",
        OLLAMA: "a model that ollama.com tags with tools",
        LM_STUDIO: "a model that LM Studio marks with tool use",
    }.get(seen.runner or "", "a model that was trained to call tools")
    if seen.endpoint == EMBEDDED:
        remedy = "a larger model of rolecall models list"
    if api.tools == "text":
        yield Problem("it writes tool calls into its text; Rolecall reads them there", remedy)
    if api.tools == "none":
        yield Problem("it called no tool when one was needed", f"{place}.tools: [], or {remedy}")
    if seen.makes_up_calls:
        yield Problem(
            "it calls tools for messages that need none", f"{place}.tools: [], or a larger model"
        )


def _about_context(
    place: str, spec: ModelSpec, seen: Capability, chosen: WireApi
) -> Iterator[Problem]:
    wanted, has = spec.context_length, seen.context_length
    if wanted and has and has < wanted and chosen != "ollama":
        more = {
            LLAMA_CPP: f"start it with -c {wanted}",
            VLLM: f"start it with --max-model-len {wanted}",
            LM_STUDIO: f"lms load {spec.id} --context-length {wanted}",
            OLLAMA: f"{place}.api: ollama (its own API sets the length)",
        }.get(seen.runner or "", "load it with more context")
        yield Problem(
            f"the stack states {wanted} tokens of context, the server gives {has}",
            f"{more}, or {place}.context_length: {has}",
        )
    if seen.truncation == "cuts":
        length = has or wanted
        yield Problem(
            "it cuts a prompt that is too long and does not say so",
            f"{place}.context_length: {length}, so that Rolecall shortens it first"
            if length
            else f"state {place}.context_length",
        )
