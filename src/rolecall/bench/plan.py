"""What a benchmark asks: which cases of which suites, of which models, in which way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from rolecall import __version__
from rolecall.bench.arms import Arm
from rolecall.bench.cases import Case
from rolecall.bench.suites import SEED, Suite
from rolecall.config.schema import ENCODING, ModelRole, ModelSpec, Stack
from rolecall.errors import UsageError
from rolecall.routing.encoder.versions import current_mark

_PACKAGED = frozenset({"clock", "calculator", "read_file", "search_files"})


@dataclass(frozen=True)
class Entry:
    """Cases that one model is asked in one way. ``stack`` is as :func:`bench_stack` makes it."""

    stack: Stack
    role: str
    spec: ModelSpec
    arm: Arm
    suite: Suite
    cases: tuple[Case, ...]

    @cached_property  # a row of each case has it, and the router may be trained meanwhile
    def subject(self) -> str:
        """Names the model, the way and all settings that can change an answer."""
        settings = self.stack.settings
        seen = {
            "stack": self.stack.name,
            "role": self.role,
            "arm": self.arm,
            "specs": [spec.model_dump(mode="json") for spec in self.stack.models[self.role]],
            "prompts": {name: role.prompt for name, role in self.stack.roles.items()},
            "told": {
                name: [role.description, *role.examples] for name, role in self.stack.roles.items()
            },
            "routing": settings.routing.model_dump(mode="json"),
            "turn": settings.turn.model_dump(mode="json"),
            "memory": settings.memory.model_dump(mode="json"),
            "filters": settings.filters.model_dump(mode="json"),
            "version": __version__,
        }
        if any(case.label for case in self.cases) and settings.routing.strategy in ENCODING:
            seen["router"] = current_mark()
        return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Plan:
    """All that is asked, in order, and what cannot be asked, with reasons."""

    entries: tuple[Entry, ...]
    left_out: tuple[str, ...]
    quick: bool

    @property
    def digest(self) -> str:
        """Equal for two commands that ask the same of the same models."""
        asked = [
            (entry.subject, entry.suite.name, [case.digest for case in entry.cases])
            for entry in self.entries
        ]
        return hashlib.sha256(json.dumps([asked, self.quick]).encode()).hexdigest()[:16]

    def as_json(self) -> dict[str, Any]:
        """What ``bench list`` shows of it."""
        return {
            "stacks": list(dict.fromkeys(entry.stack.name for entry in self.entries)),
            "models": list(dict.fromkeys(entry.spec.id for entry in self.entries)),
            "suites": list(dict.fromkeys(entry.suite.name for entry in self.entries)),
            "arms": list(dict.fromkeys(entry.arm for entry in self.entries)),
            "cases": sum(len(entry.cases) for entry in self.entries),
            "left_out": list(self.left_out),
            "quick": self.quick,
            "contexts": {
                entry.subject: entry.spec.context_length
                for entry in self.entries
                if entry.spec.context_length is not None
            },
        }


def bench_stack(
    stack: Stack, role: str, spec: ModelSpec, arm: Arm, max_tokens: int, *, decides: bool = False
) -> Stack:
    """The stack with one model in one role, drawn without chance, and no one to stand in.

    Args:
        max_tokens: of an answer.
        decides: the model is asked who answers, so all roles stay to choose from.
    """
    sampling = spec.sampling.model_copy(
        update={"temperature": 0.0, "seed": SEED, "max_tokens": max_tokens}
    )
    changes: dict[str, Any] = {"sampling": sampling}
    if isinstance(spec.tools, list):  # the user's own tools are not called by a benchmark
        changes["tools"] = [name for name in spec.tools if name in _PACKAGED]
    if arm == "bare":
        changes |= {"tool_check": "never", "tools": []}
    kept = stack.roles if decides else {role: stack.roles[role]}
    roles = {name: replace(one, fallback=()) for name, one in kept.items()}
    return replace(stack, models={role: [spec.model_copy(update=changes)]}, roles=roles)


def make_plan(
    stacks: Sequence[Stack],
    suites: Sequence[Suite],
    *,
    models: Sequence[str] = (),
    roles: Sequence[str] = (),
    bare: bool = False,
    quick: bool = False,
    limit: int | None = None,
    no_sandbox: str | None = None,
) -> Plan:
    """The plan of a benchmark.

    Args:
        models: ids; without any the first model of each role, with ``all`` all of them.
        roles: only these; a suite for another role is asked of each of them, but decisions are
            only asked of the router.
        bare: also ask each model alone.
        limit: at most so many cases of a suite.
        no_sandbox: why code cannot be run; cases with tests are then left out.

    Raises:
        UsageError: no model or role is of that name, or nothing is left to ask.
    """
    entries: list[Entry] = []
    left_out: list[str] = []
    known_models: set[str] = set()
    for stack in stacks:
        known_models |= {spec.id for specs in stack.models.values() for spec in specs}
        for suite in suites:
            groups: dict[tuple[str, bool], list[Case]] = {}
            untested = 0
            for case in suite.sample(quick, limit):
                if case.tests is not None and no_sandbox is not None:
                    untested += 1
                    continue
                decides = case.label is not None
                own = ModelRole.ROUTER if decides else case.role or suite.role
                asked = [own] if decides or not roles else list(roles)
                for role in asked:
                    if not roles or role in roles:
                        groups.setdefault((role, decides), []).append(case)
            if untested:
                left_out.append(f"{suite.name}: {untested} cases with tests: {no_sandbox}")
            for (role, decides), cases in groups.items():
                if role not in stack.models:
                    left_out.append(f"{suite.name}: stack {stack.name} has no role {role}")
                    continue
                for spec in _wanted(stack.models[role], models):
                    for arm in _arms(suite, bare):
                        tokens = _tokens(spec, suite, quick)
                        made = bench_stack(stack, role, spec, arm, tokens, decides=decides)
                        entries.append(Entry(made, role, spec, arm, suite, tuple(cases)))
    if unknown := [name for name in models if name != "all" and name not in known_models]:
        raise UsageError(
            f"no stack has a model {unknown[0]!r}; models: {', '.join(sorted(known_models))}"
        )
    left_out = list(dict.fromkeys(left_out))
    if not entries:
        raise UsageError("nothing is left to ask: " + ("; ".join(left_out) or "no role fits"))
    return Plan(tuple(entries), tuple(left_out), quick)


def _wanted(specs: Sequence[ModelSpec], models: Sequence[str]) -> list[ModelSpec]:
    if not models:
        return [specs[0]]
    found = [spec for spec in specs if "all" in models or spec.id in models]
    return list({(spec.id, spec.endpoint, spec.quantization): spec for spec in found}.values())


def _arms(suite: Suite, bare: bool) -> list[Arm]:
    return ["rolecall", "bare"] if bare and suite.bare else ["rolecall"]


def _tokens(spec: ModelSpec, suite: Suite, quick: bool) -> int:
    """A stack's own limit gives a model room to think; speed is measured at one length for all."""
    if quick:
        return suite.quick_tokens
    if suite.name == "speed":
        return suite.max_tokens
    return max(spec.sampling.max_tokens or 0, suite.max_tokens)
