"""What the figures of a run say of each model in its role, by the doctor's thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from statistics import median
from typing import Any

from rolecall.bench.suites import SUITES
from rolecall.config.schema import ModelSpec
from rolecall.doctor.quality import Score
from rolecall.doctor.verdict import judge, needs_of, worse_first
from rolecall.errors import RolecallError
from rolecall.models.capabilities import Capability, CapabilityFile, Speed, endpoint_key

Row = Mapping[str, Any]
NAMES = ("stack", "role", "model", "endpoint", "quantization")


def verdicts(rows: Sequence[Row], contexts: Mapping[str, int]) -> list[dict[str, Any]]:
    """One line per stack, role and model that went through Rolecall in a built-in suite.

    Args:
        rows: results.
        contexts: what the stacks state, by subject.

    Returns:
        The names, ``verdict``, ``why``, and ``best``: of the models measured for the role, which
        has the best verdict and, of those, the most right answers in the role's suites.
    """
    seen = {(entry.endpoint, entry.model): entry for entry in CapabilityFile().entries()}
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row["arm"] == "rolecall" and row["status"] != "error" and row["suite"] in SUITES:
            groups.setdefault(tuple(row[name] for name in NAMES), []).append(row)
    found: list[dict[str, Any]] = []
    order: list[tuple[int, list[float]]] = []
    for key, group in groups.items():
        line = dict(zip(NAMES, key, strict=True))
        scores = _scores(group)
        capability = seen.get((_endpoint(line), line["model"]))
        context = min(
            (contexts[s] for s in {r["subject"] for r in group} & set(contexts)), default=None
        )
        verdict, why = judge(
            line["role"],
            capability,
            _questions(capability),
            context,
            suites=scores,
            speed=_speed(group),
        )
        found.append({**line, "verdict": verdict, "why": why})
        needs = needs_of(line["role"])
        shares = [-scores[name].share if name in scores else 0.0 for name in needs.suites]
        order.append((worse_first(verdict), shares))
    for line in found:
        rivals = [place for place, other in enumerate(found) if other["role"] == line["role"]]
        line["best"] = found[min(rivals, key=lambda place: order[place])] is line
    return found


def _scores(group: Sequence[Row]) -> dict[str, Score]:
    scored: dict[str, list[float]] = {}
    for row in group:
        if row["score"] is not None:
            scored.setdefault(row["suite"], []).append(row["score"])
    return {suite: Score(round(sum(marks)), len(marks)) for suite, marks in scored.items()}


def _speed(group: Sequence[Row]) -> Speed:
    rows = [row for row in group if row["suite"] == "speed"]
    known = {
        name: [row[name] for row in rows if row[name] is not None]
        for name in ("ttft_ms", "tokens_per_s")
    }
    return Speed.model_validate({name: median(v) for name, v in known.items() if v})


def _questions(seen: Capability | None) -> dict[str, Score]:
    quality = (seen.quality if seen else None) or {}
    return {kind: Score(right, asked) for kind, (right, asked) in quality.items()}


def _endpoint(line: Row) -> str:
    endpoint = str(line["endpoint"])
    with suppress(RolecallError, ValueError):
        return endpoint_key(ModelSpec(id=str(line["model"]), endpoint=endpoint))
    return endpoint
