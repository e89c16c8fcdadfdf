"""What the benchmarks kept in this home say of each model in each role.

Of several runs of one suite the one with most cases answered counts, of equal ones the newest.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rolecall.bench.store import BenchStore
from rolecall.config.schema import ModelSpec
from rolecall.doctor.quality import Score
from rolecall.errors import RolecallError
from rolecall.models.capabilities import Speed, endpoint_key

_SPEED = "speed"
Key = tuple[str, str, str, str | None]
"""Role, endpoint, model, quantization."""


@dataclass
class Standing:
    """One model in one role.

    Attributes:
        scores: right answers by suite.
        runs: which run each suite's figures are from, and the subject there.
        at: when the newest of them was measured, seconds since the epoch.
    """

    scores: dict[str, Score] = field(default_factory=dict)
    runs: dict[str, tuple[int, str]] = field(default_factory=dict)
    speed: Speed = field(default_factory=Speed)
    at: float = 0.0

    def asked(self, suite: str) -> int:
        """How many cases of a suite were scored."""
        return self.scores[suite].asked if suite in self.scores else 0

    def rows(self, store: BenchStore, suite: str) -> list[dict[str, Any]]:
        """The results that the figures of a suite come from."""
        if suite not in self.runs:
            return []
        run, subject = self.runs[suite]
        return [r for r in store.results(run) if (r["subject"], r["suite"]) == (subject, suite)]


def standings(store: BenchStore) -> dict[Key, Standing]:
    """By role, endpoint (as the capability file names it), model and quantization."""
    found: dict[Key, Standing] = {}
    for group in store.totals():  # the one that counts comes last
        one = found.setdefault(_key(group), Standing())
        suite = str(group["suite"])
        one.runs[suite] = int(group["run"]), str(group["subject"])
        one.at = max(one.at, float(group["at"]))
        if group["scored"]:
            one.scores[suite] = Score(round(group["total"]), int(group["scored"]))
    for one in found.values():
        if rows := one.rows(store, _SPEED):
            one.speed = Speed(
                ttft_ms=_middle(rows, "ttft_ms"), tokens_per_s=_middle(rows, "tokens_per_s")
            )
    return found


def _key(group: Mapping[str, Any]) -> Key:
    endpoint = str(group["endpoint"])
    with suppress(RolecallError, ValueError):
        endpoint = endpoint_key(ModelSpec(id=str(group["model"]), endpoint=endpoint))
    return str(group["role"]), endpoint, str(group["model"]), group["quantization"]


def _middle(rows: list[dict[str, Any]], name: str) -> float | None:
    known = [row[name] for row in rows if row[name] is not None]
    return median(known) if known else None
