"""Figures of a run: one row per stack, role, model, way and suite; and what differs within it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, median
from typing import Any

from rolecall.bench.attribution import attribute
from rolecall.bench.difference import compare
from rolecall.bench.figures import mean_interval

Row = Mapping[str, Any]
_SUBJECT = ("stack", "model", "endpoint", "quantization")
_KEY = ("stack", "role", "model", "endpoint", "quantization", "arm", "suite")


def summarise(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One line per stack, role, model, way and suite.

    Returns:
        The names, and ``cases, scored, unscored, errors, score, interval, input_tokens,
        output_tokens, seconds`` (of all cases), ``seconds_p50, ttft_ms, tokens_per_s`` (medians)
        and ``memory_bytes``. ``score`` is the mean over scored cases, ``None`` without any.
    """
    found: list[dict[str, Any]] = []
    for key, group in _grouped(rows, _KEY).items():
        scores = [row["score"] for row in group if row["score"] is not None]
        asked = [row for row in group if row["status"] != "error"]
        found.append(
            {
                **dict(zip(_KEY, key, strict=True)),
                "cases": len(group),
                "scored": len(scores),
                "unscored": sum(row["status"] == "unscored" for row in group),
                "errors": len(group) - len(asked),
                "score": mean(scores) if scores else None,
                "interval": mean_interval(scores) if scores else None,
                "input_tokens": sum(row["input_tokens"] or 0 for row in asked),
                "output_tokens": sum(row["output_tokens"] or 0 for row in asked),
                "seconds": sum(row["seconds"] for row in asked),
                "seconds_p50": _middle(row["seconds"] for row in asked),
                "ttft_ms": _middle(row["ttft_ms"] for row in asked),
                "tokens_per_s": _middle(row["tokens_per_s"] for row in asked),
                "memory_bytes": max((row["memory_bytes"] or 0 for row in group), default=0) or None,
            }
        )
    return found


def attributed(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Differences between a role's first model and the others, split into model and Rolecall."""
    found: list[dict[str, Any]] = []
    for (role,), group in _grouped(rows, ("role",)).items():
        subjects = list(_grouped(group, _SUBJECT).items())
        for key, other in subjects[1:]:
            first_key, first = subjects[0]
            names = {
                "role": role,
                "first": dict(zip(_SUBJECT, first_key, strict=True)),
                "second": dict(zip(_SUBJECT, key, strict=True)),
            }
            found += [{**names, **line} for line in attribute(first, other)]
    return found


def orchestration(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What Rolecall changes about each model: the bare model against itself in the assistant."""
    found: list[dict[str, Any]] = []
    names = ("stack", "role", "model", "endpoint", "quantization")
    for key, group in _grouped(rows, names).items():
        bare = [row for row in group if row["arm"] == "bare"]
        whole = [row for row in group if row["arm"] == "rolecall"]
        if bare and whole:
            found += [
                {**dict(zip(names, key, strict=True)), **line} for line in compare(bare, whole)
            ]
    return found


def models_compared(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Each further model of a role, or the same one in another stack, against the first."""
    found: list[dict[str, Any]] = []
    for (_, arm), group in _grouped(rows, ("role", "arm")).items():
        subjects = list(_grouped(group, _SUBJECT).items())
        for key, other in subjects[1:]:
            first_key, first = subjects[0]
            found += [
                {
                    "arm": arm,
                    "first": dict(zip(_SUBJECT, first_key, strict=True)),
                    "second": dict(zip(_SUBJECT, key, strict=True)),
                    **line,
                }
                for line in compare(first, other)
            ]
    return found


def _grouped(rows: Iterable[Row], names: Sequence[str]) -> dict[tuple[Any, ...], list[Row]]:
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups


def _middle(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
