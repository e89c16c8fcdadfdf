"""One model asked everything: probes of each API, then of the model, then questions.

No probe can end the visit: it has a time limit, and what it could not see stays unknown, with a
note.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import httpx

from rolecall.config.schema import EMBEDDED, ModelSpec, Stack
from rolecall.doctor.findings import Examined
from rolecall.doctor.probes import API_PROBES, MODEL_PROBES, NotTried, answers, embeds, proxy_facts
from rolecall.doctor.problems import Problem, found_problems
from rolecall.doctor.quality import QUESTIONS, Question, Score, in_turn
from rolecall.doctor.subject import Subject
from rolecall.doctor.verdict import needs_of
from rolecall.errors import RolecallError
from rolecall.models.capabilities import ApiSeen, Capability, Speed, WireApi, choose_api
from rolecall.models.endpoint import Address, open_http
from rolecall.models.identity import fingerprint
from rolecall.models.server_facts import LLAMA_CPP, OLLAMA, ServerFacts, read_facts
from rolecall.models.wire import CallOptions
from rolecall.progress import Progress

FIRST_ANSWER_S = 120.0  # it may have to load the model
PROBE_S = 30.0
THINKING_PROBE_S = 60.0
MODEL_S = 300.0  # for all of one model; what is left then stays unknown
_EMBEDDED_CONTEXT = 8192


class Visitor:
    """Examines one model after the other."""

    def __init__(self, stack: Stack, quick: bool, progress: Progress) -> None:
        self._stack = stack
        self._quick = quick
        self._progress = progress

    async def visit(self, group: list[Examined]) -> None:
        """The models of one endpoint, in turn."""
        for one in group:
            try:
                await self._examine(one)
            except (RolecallError, httpx.HTTPError, OSError) as error:
                one.verdict, one.why = "unreachable", str(error) or type(error).__name__
                one.problems.append(Problem(one.why, "rolecall doctor again, once that is mended"))

    async def _examine(self, one: Examined) -> None:
        spec = one.contact.spec
        load_s: float | None = None
        if spec.endpoint == EMBEDDED:
            same = [s for c in self._stack.models.values() for s in c if s.id == spec.id]
            longest = max(s.context_length or _EMBEDDED_CONTEXT for s in same)
            spec = spec.model_copy(update={"context_length": longest})
            one.contact.address, load_s = await asyncio.to_thread(self._start, spec)
        address = one.contact.address
        assert address is not None
        async with open_http(FIRST_ANSWER_S, tls=address.tls) as http:
            one.facts = await read_facts(address, one.contact.name, http)
            subject = Subject(spec, address, one.contact.name, one.facts, http)
            try:
                with self._progress.step(
                    f"Examining {spec.id}", self._steps(one), unit="probes"
                ) as advance:
                    await _Visit(one, subject, self._quick, advance, load_s).run()
            finally:
                await subject.client.aclose()
        assert one.capability is not None
        mark = await fingerprint(spec, address)
        one.capability = one.capability.model_copy(update={"fingerprint": mark or ""})
        one.problems += found_problems(
            one.contact.spec, list(one.contact.roles), one.capability, self._stack
        )

    def _start(self, spec: ModelSpec) -> tuple[Address, float | None]:
        from rolecall.models.embedded.runner import EmbeddedRunner

        runner = EmbeddedRunner(self._progress)
        before = {server.pid for server in runner.running()}
        started = time.monotonic()
        server = runner.ensure(
            spec.id, context_length=spec.context_length, parallel=spec.max_concurrency
        )
        load_s = None if server.pid in before else round(time.monotonic() - started, 1)
        return Address(server.base_url, server.api_key), load_s

    def _steps(self, one: Examined) -> int:
        apis = len(_apis(one))
        model = [probe for probe in MODEL_PROBES if probe[2] or not self._quick]
        questions = 0 if self._quick else sum(len(QUESTIONS[kind]) for kind in _kinds(one))
        return apis * (1 + len(API_PROBES)) + len(model) + questions


def _apis(one: Examined) -> list[WireApi]:
    native = one.facts.runner == OLLAMA or one.contact.spec.api == "ollama"
    return ["chat_completions", "responses", *(["ollama"] if native else [])]  # type: ignore[list-item]


def _kinds(one: Examined) -> list[str]:
    kinds = [kind for role in one.contact.roles for kind in needs_of(role).kinds]
    return list(dict.fromkeys(kinds))


class _Visit:
    """All that is asked of one model."""

    def __init__(
        self,
        one: Examined,
        subject: Subject,
        quick: bool,
        advance: Callable[[int], None],
        load_s: float | None,
    ) -> None:
        self._one = one
        self._subject = subject
        self._quick = quick
        self._advance = advance
        self._load_s = load_s
        self._until = time.monotonic() + MODEL_S

    async def run(self) -> None:
        """Fill in the capability, the API and the scores."""
        one, subject, seen = self._one, self._subject, dict[str, Any]()
        apis: dict[WireApi, ApiSeen] = {}
        for api in _apis(one):
            apis[api] = ApiSeen.model_validate(await self._api(api))
        spec = one.contact.spec
        one.facts = await self._facts()
        capability = Capability(
            endpoint=one.contact.key,
            model=spec.id,
            fingerprint="",
            runner=one.facts.runner,
            version=one.facts.version,
            context_length=one.facts.context_length,
            apis=apis,
            measured_at=time.time(),
        )
        one.capability = capability
        one.api = choose_api(capability) if spec.api == "auto" else spec.api
        works = bool(apis[one.api].works)
        for name, probe, always in MODEL_PROBES:
            if not works and probe is not embeds:
                self._advance(1)
            elif always or not self._quick:
                await self._probe(name, probe(subject, one.api, seen))
        tools = apis[one.api].tools
        seen["calls_as_text"] = None if tools is None else tools == "text"
        speed = seen.pop("speed", Speed()).model_copy(update={"load_s": self._load_s})
        one.capability = capability.model_copy(update={**seen, "speed": speed})
        if works and not self._quick:
            for kind, question in in_turn(_kinds(one)):
                await self._score(kind, question, one.api)
            quality = {k: (s.right, s.asked) for k, s in one.scores.items() if s.asked}
            one.capability = one.capability.model_copy(update={"quality": quality or None})

    async def _facts(self) -> ServerFacts:
        """What the server tells once the model is loaded; before, some tell no context length."""
        subject = self._subject
        facts = await read_facts(subject.address, subject.name, subject.http)
        if subject.spec.endpoint == EMBEDDED:  # a wheel's llama.cpp knows no build of its own
            return replace(facts, runner=LLAMA_CPP, version=f"xllamacpp {version('xllamacpp')}")
        if facts.runner is None and subject.facts.runner is not None:
            return subject.facts
        subject.facts = (
            facts if facts.runner else await proxy_facts(subject.address, subject.http, facts)
        )
        return subject.facts

    async def _api(self, api: WireApi) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        await self._probe(api, answers(self._subject, api, seen), FIRST_ANSWER_S)
        self._load_s = seen.pop("load_s", None) or self._load_s
        for name, probe in API_PROBES:
            if seen.get("works"):
                await self._probe(f"{name} on {api}", probe(self._subject, api, seen))
            else:
                self._advance(1)
        return seen

    async def _probe(self, name: str, work: Awaitable[None], limit_s: float = 0.0) -> None:
        with self._noted(name):
            async with asyncio.timeout(self._limit(limit_s)):
                await work

    def _limit(self, limit_s: float) -> float:
        usual = THINKING_PROBE_S if self._subject.thinks else PROBE_S
        return max(0.0, min(limit_s or usual, self._until - time.monotonic()))

    @contextmanager
    def _noted(self, name: str) -> Iterator[None]:
        """A probe that fails is noted, and the examination goes on."""
        try:
            yield
        except TimeoutError:
            late = "no time was left" if time.monotonic() >= self._until else "it took too long"
            self._one.notes.append(f"{name}: {late}")
        except NotTried as error:
            self._one.notes.append(f"{name}: not tried, {error}")
        except json.JSONDecodeError:
            self._one.notes.append(f"{name}: its answer is not JSON")
        except Exception as error:
            said = " ".join(str(error).split())[:200] or type(error).__name__
            self._one.notes.append(f"{name}: {said}")
        finally:
            self._advance(1)

    async def _score(self, kind: str, question: Question, api: WireApi) -> None:
        options = CallOptions(max_tokens=self._subject.tokens(question.max_tokens), temperature=0.0)
        score = self._one.scores.setdefault(kind, Score(0, 0))
        with self._noted(f"a question ({kind})"):
            async with asyncio.timeout(self._limit(0.0)):
                reply, _ = await self._subject.ask(api, question.text, options)
            right = question.right(reply.text)
            self._one.scores[kind] = Score(
                score.right + right,
                score.asked + 1,
                score.missed if right else (*score.missed, question.text),
            )
