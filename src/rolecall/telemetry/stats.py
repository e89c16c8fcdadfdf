"""What the recorded calls add up to: errors, times, fallbacks, escalations, what routing spared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from rolecall.errors import UsageError
from rolecall.telemetry.rollup import CALL_SUMS, DECISION_SUMS, TOOL_SUMS, TURN_SUMS, middle_ms

if TYPE_CHECKING:
    from rolecall.sqlite import Database

By = Literal["role", "model", "day"]

RULE = (
    "Estimate: the calls that other models answered are counted as if the largest had made them, "
    "with as many tokens, its own mean time to the first token and its own mean speed in the same "
    "period. From that are taken the time they took, the time of all routing, and the fast path's "
    "answers that were passed on (counted as average ones)."
)


def first_day(since: str | None, today: date | None = None) -> str | None:
    """The first day (UTC, ``YYYY-MM-DD``) of ``7d`` (seven days, today included) or of a date.

    Raises:
        UsageError: it is neither.
    """
    if since is None:
        return None
    if days := re.fullmatch(r"([1-9]\d{0,4})d", since):
        start = (today or datetime.now(UTC).date()) - timedelta(days=int(days[1]) - 1)
        return start.isoformat()
    try:
        return date.fromisoformat(since).isoformat()
    except ValueError:
        raise UsageError(f"--since {since!r}: expected 7d or a date such as 2026-01-31") from None


@dataclass
class _Calls:
    """Sums of model calls and the histograms of their times."""

    sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CALL_SUMS, 0.0))
    times: dict[str, dict[int, int]] = field(default_factory=dict)

    def add(self, row: Mapping[str, Any]) -> None:
        for name in CALL_SUMS:
            self.sums[name] += row[name]

    def add_time(self, kind: str, bucket: int, count: int) -> None:
        histogram = self.times.setdefault(kind, {})
        histogram[bucket] = histogram.get(bucket, 0) + count

    def figures(self) -> dict[str, Any]:
        sums = self.sums
        return {
            "calls": int(sums["calls"]),
            "errors": int(sums["errors"]),
            "cancelled": int(sums["cancelled"]),
            "journaled": int(sums["journaled"]),
            "error_rate": _ratio(sums["errors"], sums["calls"]),
            "fallbacks": int(sums["fallbacks"]),
            "fallback_rate": _ratio(sums["fallbacks"], sums["ok"]),
            "ttft_ms": percentiles(self.times.get("ttft", {})),
            "total_ms": percentiles(self.times.get("total", {})),
            "tokens_per_s": _ratio(sums["generated"] * 1000.0, sums["generating_ms"], 1),
            "input_tokens": int(sums["input_tokens"]),
            "output_tokens": int(sums["output_tokens"]),
        }


def stats(
    db: Database, since: str | None = None, by: By | None = None, largest: str | None = None
) -> dict[str, Any]:
    """Sum up the telemetry.

    Args:
        db: ``telemetry.db``.
        since: the first day, ``YYYY-MM-DD`` (UTC).
        by: also per role, model or day.
        largest: the id of the model that would answer everything without routing.

    Returns:
        ``calls``, ``turns``, ``tools``, ``saved``, and ``groups`` with a ``key`` each where
        ``by`` is given. Times are milliseconds; what cannot be said is ``None``.
    """
    rows = _rows(db, f"SELECT * FROM call_days {_SINCE}", since)  # noqa: S608
    total, groups = _Calls(), dict[str, _Calls]()
    for row in rows:
        total.add(row)
        if by is not None:
            groups.setdefault(row[by], _Calls()).add(row)
    key = f"days.{by}" if by is not None else "''"
    sql = (
        f"SELECT {key} AS key, kind, bucket, sum(count) AS count FROM call_times "  # noqa: S608
        f"JOIN call_days AS days ON days.id = series {_SINCE} GROUP BY 1, 2, 3"
    )
    for row in _rows(db, sql, since):
        total.add_time(row["kind"], row["bucket"], row["count"])
        if by is not None:
            groups[row["key"]].add_time(row["kind"], row["bucket"], row["count"])
    turns, turns_by_day = _turns(db, since)
    found: dict[str, Any] = {
        "since": since,
        "calls": total.figures(),
        "turns": turns,
        "tools": _tools(db, since),
        "saved": _saved(rows, turns, largest),
    }
    if by is not None:
        found["by"] = by
        found["groups"] = [
            {
                "key": name,
                **groups.get(name, _Calls()).figures(),
                **({"turns": turns_by_day.get(name)} if by == "day" else {}),
            }
            for name in sorted({*groups, *(turns_by_day if by == "day" else ())})
        ]
    return found


_SINCE = "WHERE day >= ?"


def _rows(db: Database, sql: str, since: str | None) -> list[dict[str, Any]]:
    return list(db.query(sql, [since or ""]))


def percentiles(histogram: Mapping[int, int]) -> dict[str, float | None]:
    """p50 and p95 in milliseconds, by nearest rank; within 2.5 % (``rollup``)."""
    counted = sorted((bucket, count) for bucket, count in histogram.items() if count > 0)
    total = sum(count for _, count in counted)
    found: dict[str, float | None] = {}
    for name, share in (("p50", 0.50), ("p95", 0.95)):
        left = share * total
        found[name] = None
        for bucket, count in counted:
            left -= count
            if left <= 1e-9:
                found[name] = round(middle_ms(bucket), 3)
                break
    return found


def _turns(db: Database, since: str | None) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Figures of turns: of all, and of each day."""
    days: dict[str, dict[str, float]] = {}
    for table, names in (("turn_days", TURN_SUMS), ("decision_days", DECISION_SUMS)):
        for row in _rows(db, f"SELECT * FROM {table} {_SINCE}", since):  # noqa: S608
            sums = days.setdefault(row["day"], dict.fromkeys((*TURN_SUMS, *DECISION_SUMS), 0.0))
            for name in names:
                sums[name] += row[name]
    times: dict[str, dict[int, int]] = {}
    for row in _rows(db, f"SELECT * FROM turn_times {_SINCE}", since):  # noqa: S608
        times.setdefault(row["day"], {})[row["bucket"]] = row["count"]
    by_day = {day: _turn_figures(sums, times.get(day, {})) for day, sums in days.items()}
    whole = {name: sum(d[name] for d in days.values()) for name in (*TURN_SUMS, *DECISION_SUMS)}
    return _turn_figures(whole, _merged(times.values())), by_day


def _merged(histograms: Iterable[Mapping[int, int]]) -> dict[int, int]:
    merged: dict[int, int] = {}
    for histogram in histograms:
        for bucket, count in histogram.items():
            merged[bucket] = merged.get(bucket, 0) + count
    return merged


def _turn_figures(sums: Mapping[str, float], times: Mapping[int, int]) -> dict[str, Any]:
    return {
        "turns": int(sums["turns"]),
        "done": int(sums["done"]),
        "failed": int(sums["failed"]),
        "interrupted": int(sums["interrupted"]),
        "total_ms": percentiles(times),
        "small_model_share": _ratio(sums["small"], sums["done"]),
        "fast_path": int(sums["fast_path"]),
        "escalations": int(sums["escalations"]),
        "escalation_rate": _ratio(sums["escalations"], sums["fast_path"]),
        "routing_ms": round(sums["latency_ms"], 1),
    }


def _tools(db: Database, since: str | None) -> dict[str, Any]:
    by_name: dict[str, dict[str, float]] = {}
    for row in _rows(db, f"SELECT * FROM tool_days {_SINCE}", since):  # noqa: S608
        sums = by_name.setdefault(row["name"], dict.fromkeys(TOOL_SUMS, 0.0))
        for name in TOOL_SUMS:
            sums[name] += row[name]

    def figures(sums: Mapping[str, float]) -> dict[str, Any]:
        counts = {name: int(sums[name]) for name in TOOL_SUMS[:-1]}
        return {
            **counts,
            "error_rate": _ratio(sums["errors"], sums["calls"]),
            "mean_ms": _ratio(sums["latency_ms"], sums["calls"], 3),
        }

    whole = {name: sum(sums[name] for sums in by_name.values()) for name in TOOL_SUMS}
    names = {name: figures(by_name[name]) for name in sorted(by_name)}
    return {**figures(whole), "by_name": names}


def _saved(
    rows: list[dict[str, Any]], turns: Mapping[str, Any], largest: str | None
) -> dict[str, Any]:
    """What routing spared against one model for everything; see :data:`RULE`."""
    found: dict[str, Any] = {"largest": largest, "tokens": None, "seconds": None, "rule": RULE}
    if largest is None:
        return {**found, "note": "no model is known as the largest: name it with --largest"}
    answering = [row for row in rows if row["node"] != "router"]
    own = _sums(row for row in answering if row["model"] == largest)
    others = [row for row in answering if row["model"] != largest]
    if not own["generated"]:
        why = f"no finished calls of {largest} in this period to compare with"
        return {**found, "note": why}
    speed = own["generating_ms"] / own["generated"]
    first = own["waited_ms"] / own["timed"]
    fast = _sums(row for row in others if row["node"] == "answer")
    kept_share = 1.0 - min(1.0, turns["escalations"] / fast["ok"]) if fast["ok"] else 0.0
    rest = _sums(row for row in others if row["node"] != "answer")
    tokens, spared_ms, calls = 0.0, -float(turns["routing_ms"]), 0.0
    for sums, share in ((fast, kept_share), (rest, 1.0)):
        tokens += share * sums["ok_tokens"]
        calls += share * sums["ok"]
        spared_ms += share * (sums["ok"] * first + sums["ok_output"] * speed) - sums["ok_ms"]
    return {
        **found,
        "tokens": round(tokens),
        "seconds": round(spared_ms / 1000.0, 1),
        "calls": round(calls),
        "compared_calls": int(own["timed"]),
    }


def _sums(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    found = _Calls()
    for row in rows:
        found.add(row)
    return found.sums


def _ratio(part: float, whole: float, digits: int = 4) -> float | None:
    return round(part / whole, digits) if whole else None
