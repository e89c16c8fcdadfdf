"""What is known of the candidates of a stack, from benchmarks and from the doctor, judged.

The verdicts are those of :mod:`rolecall.doctor.verdict`. Nothing is loaded and no model is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rolecall.bench.difference import compare
from rolecall.bench.standing import Standing, standings
from rolecall.bench.store import BenchStore
from rolecall.config.schema import ModelSpec, Stack
from rolecall.doctor.quality import Score
from rolecall.doctor.verdict import FEWEST_CASES, Verdict, judge, needs_of, worse_first
from rolecall.errors import RolecallError
from rolecall.models.capabilities import Capability, CapabilityFile, endpoint_key
from rolecall.models.check import check_stack

BENCHED, EXAMINED = "bench", "doctor"


@dataclass(frozen=True)
class Candidate:
    """A model that is there, and what is known of it in a role.

    Attributes:
        listed: the stack names it for the role; else only its endpoint offers it.
    """

    role: str
    spec: ModelSpec
    listed: bool
    standing: Standing | None
    seen: Capability | None

    @property
    def scores(self) -> dict[str, Score]:
        """The doctor's questions, by kind."""
        quality = (self.seen.quality if self.seen else None) or {}
        return {kind: Score(right, asked) for kind, (right, asked) in quality.items()}

    @property
    def known_from(self) -> str | None:
        """``bench`` or ``doctor``: which of them measured how good it is in the role."""
        needs = needs_of(self.role)
        own = next(iter(needs.suites), "")
        if self.standing and self.standing.asked(own) >= FEWEST_CASES:
            return BENCHED
        if needs.kinds and all(kind in self.scores for kind in needs.kinds):
            return EXAMINED
        return None

    def judged(self, stack: Stack) -> tuple[Verdict, str]:
        """Its verdict for the role, and why."""
        return judge(
            self.role,
            self.seen,
            self.scores,
            self.spec.context_length,
            suites=self.standing.scores if self.standing else None,
            speed=self.standing.speed if self.standing else None,
            api=None if self.spec.api == "auto" else self.spec.api,
            by_label=self.role == "router" and stack.settings.routing.strategy == "llm",
        )

    def shares(self, source: str) -> list[float]:
        """What it is ranked by, most telling first."""
        needs = needs_of(self.role)
        names = needs.suites if source == BENCHED else needs.kinds
        scores: Mapping[str, Score] = self.scores
        if source == BENCHED:
            scores = self.standing.scores if self.standing else {}
        return [scores[name].share if name in scores else 0.0 for name in names]


async def judge_stack(stack: Stack, store: BenchStore | None) -> dict[str, Any]:
    """The rows of :func:`rolecall.models.check.check_stack` with verdicts, and the best per role.

    Returns:
        ``models``: the rows; ``verdict`` and ``why`` take in what was measured, ``known_from`` is
        ``bench``, ``doctor`` or ``None``. ``suggestions``: by role ``model, endpoint, verdict, why,
        known_from, listed, preferred`` (it is the stack's first already) and ``significant``
        (better than the first on the same cases; ``None`` where that cannot be said).
    """
    rows = await check_stack(stack)
    known = await asyncio.to_thread(standings, store) if store else {}
    entries = await asyncio.to_thread(CapabilityFile().entries)
    seen = {(entry.endpoint, entry.model): entry for entry in entries}
    there: dict[str, list[Candidate]] = {}
    places: dict[str, int] = {}
    for row in rows:
        role = row["role"]
        place = places[role] = places.get(role, -1) + 1
        row["known_from"] = None
        offers = row.pop("offers")
        if row["verdict"] != "ok":
            continue
        spec = stack.models[role][place]
        one = _candidate(role, spec, known, seen, listed=True)
        verdict, why = one.judged(stack)
        row |= {"verdict": verdict, "known_from": one.known_from}
        row["why"] = f"{row['why']}; {why}" if why else row["why"]
        there.setdefault(role, []).append(one)
        listed = {other.id for other in stack.models[role]}
        for unlisted in _others([name for name in offers if name not in listed], spec):
            other = _candidate(role, unlisted, known, seen, listed=False)
            if other.known_from is not None:
                there[role].append(other)
    suggestions = {
        role: found
        for role, ones in there.items()
        if (found := _best(role, ones, stack, store)) is not None
    }
    return {"models": rows, "suggestions": suggestions}


def _candidate(
    role: str,
    spec: ModelSpec,
    known: Mapping[tuple[str, str, str, str | None], Standing],
    seen: Mapping[tuple[str, str], Capability],
    *,
    listed: bool,
) -> Candidate:
    try:
        key = endpoint_key(spec)
    except RolecallError:
        key = spec.endpoint
    standing = known.get((role, key, spec.id, spec.quantization))
    if not listed:  # another stack may have named its quantization
        same = (one for name, one in known.items() if name[:3] == (role, key, spec.id))
        standing = next(same, None)
    return Candidate(role, spec, listed, standing, seen.get((key, spec.id)))


def _others(offers: Sequence[str], spec: ModelSpec) -> list[ModelSpec]:
    """What else the endpoint of a model offers."""
    update = {"quantization": None, "context_length": None}
    return [spec.model_copy(update={"id": name, **update}) for name in offers]


def _best(
    role: str, ones: Sequence[Candidate], stack: Stack, store: BenchStore | None
) -> dict[str, Any] | None:
    """The best of those that were measured in the same way: benchmarks before questions.

    ``None`` where none was, or where the stack's first is known to be better.
    """
    source = BENCHED if any(one.known_from == BENCHED for one in ones) else EXAMINED
    measured = [one for one in ones if one.known_from == source]
    if not measured:
        return None
    best = min(
        measured,
        key=lambda one: (
            worse_first(one.judged(stack)[0]),
            [-share for share in one.shares(source)],
            not one.listed,
        ),
    )
    verdict, why = best.judged(stack)
    first = stack.models[role][0]
    listed = next((one for one in ones if one.spec == first), best)
    if worse_first(verdict) > worse_first(listed.judged(stack)[0]):
        return None  # the first was not measured in this way, but does what the role needs
    preferred = (best.spec.id, best.spec.endpoint) == (first.id, first.endpoint)
    return {
        "model": best.spec.id,
        "endpoint": best.spec.endpoint,
        "verdict": verdict,
        "why": why,
        "known_from": source,
        "listed": best.listed,
        "preferred": preferred,
        "significant": None if preferred else _significant(role, best, ones, first, store),
    }


def _significant(
    role: str,
    best: Candidate,
    ones: Sequence[Candidate],
    first: ModelSpec,
    store: BenchStore | None,
) -> bool | None:
    """Whether the best beats the stack's first on the role's own suite, case by case."""
    other = next((one for one in ones if one.spec == first), None)
    if store is None or other is None or other.standing is None or best.standing is None:
        return None
    own = next(iter(needs_of(role).suites))
    lines = compare(other.standing.rows(store, own), best.standing.rows(store, own))
    return lines[0]["verdict"] == "better" if lines else None
