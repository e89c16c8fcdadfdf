"""Examines the models of a stack: first contact, probes, questions, verdicts, capability file.

Endpoints are examined at the same time, the models of one endpoint one after the other. Of each
role the first candidate that is there is examined, the others only looked at, because asking a
model loads it; ``every`` examines all.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from rolecall.config.schema import Stack
from rolecall.doctor.contact import contact_all
from rolecall.doctor.findings import Examined
from rolecall.doctor.problems import unfit
from rolecall.doctor.verdict import Verdict, judge
from rolecall.errors import RolecallError
from rolecall.models.capabilities import CapabilityFile
from rolecall.progress import Progress, SilentProgress


@dataclass(frozen=True)
class RoleVerdict:
    """The verdict on one role: that of the first of its models that is there."""

    verdict: Verdict
    why: str
    model: str
    endpoint: str


@dataclass(frozen=True)
class Examination:
    """The whole: one entry per model at an endpoint, one verdict per role."""

    models: list[Examined]
    roles: dict[str, RoleVerdict]
    file_problem: str | None = None


async def examine(
    stack: Stack,
    *,
    role: str | None = None,
    quick: bool = False,
    every: bool = False,
    write: bool = True,
    progress: Progress | None = None,
) -> Examination:
    """Examine a stack.

    Args:
        role: only the models of this one.
        quick: no questions of quality, no long prompt.
        every: also the candidates that would only be asked when the first ones fail.
        write: keep what was seen in the capability file.
    """
    file = CapabilityFile()
    problem = await asyncio.to_thread(file.problem)
    found = [Examined(c, problems=c.problems) for c in await contact_all(stack, role)]
    for one in found:
        one.verdict, one.why = one.contact.verdict, one.contact.why
    due = [one for one in found if one.verdict == "ok" and (every or _is_first(one, found))]
    groups: dict[str, list[Examined]] = {}
    for one in due:
        groups.setdefault(one.contact.key, []).append(one)
    if groups:
        # not before: nothing that is up is told of at once, without loading a model's client
        from rolecall.doctor.visit import Visitor

        visitor = Visitor(stack, quick, progress or SilentProgress())
        await asyncio.gather(*(visitor.visit(group) for group in groups.values()))
    if write:
        fresh = [one.capability for one in found if one.capability is not None]
        try:
            if fresh:
                await asyncio.to_thread(file.put, fresh)
        except (OSError, RolecallError) as error:
            problem = f"the capability file was not written: {error}"
    roles = {name: _verdict(name, found, stack) for name in stack.models if role in {None, name}}
    return Examination(found, roles, problem)


def _is_first(one: Examined, found: list[Examined]) -> bool:
    """Whether some role has no better candidate that is there."""
    return any(
        all(
            other.verdict != "ok" or other.contact.roles[role] >= place
            for other in found
            if role in other.contact.roles
        )
        for role, place in one.contact.roles.items()
    )


def _verdict(role: str, found: list[Examined], stack: Stack) -> RoleVerdict:
    mine = sorted(
        (one for one in found if role in one.contact.roles), key=lambda o: o.contact.roles[role]
    )
    first = mine[0]
    for one in mine:
        spec = one.contact.spec
        if one.capability is None:
            continue
        verdict, why = judge(
            role,
            one.capability,
            one.scores,
            stack.models[role][one.contact.roles[role]].context_length,
            api=one.api,
            by_label=role == "router" and stack.settings.routing.strategy == "llm",
        )
        if verdict == "unfit":
            one.problems.append(unfit(role, spec, why))
        if one is not first:
            verdict = "weak" if verdict == "ok" else verdict
            why = f"{first.contact.spec.id}: {first.why}; {spec.id} stands in: {why}"
        return RoleVerdict(verdict, why, spec.id, spec.endpoint)
    return RoleVerdict(first.verdict, first.why, first.contact.spec.id, first.contact.spec.endpoint)
