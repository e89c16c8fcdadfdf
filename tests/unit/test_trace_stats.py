"""Telemetry is summed up: exact counts, percentiles within what is promised, honest estimates."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from rolecall.config.schema import TelemetrySettings
from rolecall.errors import UsageError
from rolecall.telemetry import rollup
from rolecall.telemetry.open import open_recorder
from rolecall.telemetry.schema import migrations
from rolecall.telemetry.stats import first_day, percentiles, stats

DAY_1, DAY_2 = 86_400.0 * 20_000, 86_400.0 * 20_001  # 2024-10-04 and the day after


@pytest.fixture
def db() -> Database:
    made = Database(memory=True)
    migrations.apply(made)
    return made


def call(db: Database, **row: Any) -> None:
    blank = {
        "trace_id": "t",
        "node": "reasoning",
        "role": "reasoning",
        "model": "large",
        "endpoint": "http://e",
        "attempt": 1,
        "status": "ok",
        "started_at": DAY_1,
    }
    db.table("model_calls").insert(blank | row)


def turn(db: Database, trace_id: str, status: str = "done", **row: Any) -> None:
    blank = {"trace_id": trace_id, "status": status, "started_at": DAY_1, "role": "reasoning"}
    db.table("turns").upsert(blank | row, pk="trace_id")


def test_nothing_recorded_says_nothing(db: Database) -> None:
    found = stats(db, by="role", largest="large")
    assert found["calls"]["calls"] == 0
    assert found["calls"]["error_rate"] is None
    assert found["calls"]["ttft_ms"] == {"p50": None, "p95": None}
    assert found["groups"] == []
    assert found["saved"]["seconds"] is None
    assert "no finished calls of large" in found["saved"]["note"]


def test_calls_errors_tokens_and_speed(db: Database) -> None:
    call(db, ttft_ms=100.0, latency_ms=1100.0, input_tokens=10, output_tokens=50)
    call(db, status="error", latency_ms=5.0)
    call(db, status="cancelled", input_tokens=7)
    db.table("model_calls").insert({"trace_id": "t", "status": "journaled", "started_at": DAY_1})
    found = stats(db)["calls"]
    assert (found["calls"], found["errors"], found["cancelled"], found["journaled"]) == (3, 1, 1, 1)
    assert found["error_rate"] == pytest.approx(1 / 3, abs=1e-4)
    assert (found["input_tokens"], found["output_tokens"]) == (17, 50)
    assert found["tokens_per_s"] == 50.0
    assert found["ttft_ms"]["p50"] == pytest.approx(100, rel=0.026)
    assert found["total_ms"]["p95"] == pytest.approx(1100, rel=0.026)


def test_a_call_fell_back_when_another_model_answered(db: Database) -> None:
    call(db, trace_id="a", status="error")
    call(db, trace_id="a", attempt=2)  # the same model, asked again
    call(db, trace_id="b", status="error")
    call(db, trace_id="b", attempt=2, model="spare")
    call(db, trace_id="c", status="error")
    call(db, trace_id="c", attempt=2, endpoint="http://other")
    call(db, trace_id="d")
    found = stats(db)["calls"]
    assert found["fallbacks"] == 2
    assert found["fallback_rate"] == 0.5


def test_a_turn_counts_once_however_often_its_row_changes(db: Database) -> None:
    turn(db, "a", "running")
    assert stats(db)["turns"]["turns"] == 0
    turn(db, "a", "interrupted", total_ms=10.0)
    turn(db, "a", "running")
    turn(db, "a", "done", role="answer", total_ms=500.0, started_at=DAY_2)
    turn(db, "b", "failed")
    found = stats(db, by="day")
    assert (found["turns"]["turns"], found["turns"]["done"], found["turns"]["failed"]) == (2, 1, 1)
    assert found["turns"]["interrupted"] == 0
    assert found["turns"]["small_model_share"] == 1.0
    assert found["turns"]["total_ms"]["p50"] == pytest.approx(500, rel=0.026)
    assert [(g["key"], g["turns"]["turns"]) for g in found["groups"]] == [
        ("2024-10-04", 1),
        ("2024-10-05", 1),
    ]


def test_escalations_are_counted_against_the_fast_path(db: Database) -> None:
    add = db.table("decisions").insert
    for routing, strategy in (("HANDLE", "llm"), ("HANDLE", "fixed"), ("DELEGATE", "hybrid")):
        add({"at": DAY_1, "routing_decision": routing, "strategy": strategy, "latency_ms": 2.0})
    add({"at": DAY_1, "routing_decision": "DELEGATE", "strategy": "escalation", "latency_ms": 0.0})
    found = stats(db)["turns"]
    assert (found["fast_path"], found["escalations"], found["escalation_rate"]) == (2, 1, 0.5)
    assert found["routing_ms"] == 6.0


def test_tools_and_their_errors(db: Database) -> None:
    for name, status in (
        ("clock", "success"),
        ("clock", "error"),
        ("read_file", "unknown"),
        ("clock", "not_meant"),
        ("clock", "journaled"),
    ):
        row = {"name": name, "status": status, "started_at": DAY_1, "latency_ms": 4.0}
        db.table("tool_calls").insert(row)
    found = stats(db)["tools"]
    assert (found["calls"], found["errors"], found["not_meant"]) == (3, 2, 1)
    assert found["by_name"]["clock"]["calls"] == 2
    assert found["by_name"]["clock"]["mean_ms"] == 4.0


@pytest.mark.parametrize(("by", "keys"), [("role", ["coding", "reasoning"]), ("model", ["c", "l"])])
def test_groups_add_up_to_the_whole(db: Database, by: Any, keys: list[str]) -> None:
    for number in range(10):
        coding = number % 3 == 0
        call(
            db,
            role="coding" if coding else "reasoning",
            model="c" if coding else "l",
            latency_ms=100.0 if coding else 1000.0,
            started_at=DAY_1 if number < 5 else DAY_2,
        )
    found = stats(db, by=by)
    assert [group["key"] for group in found["groups"]] == keys
    assert sum(group["calls"] for group in found["groups"]) == found["calls"]["calls"] == 10
    assert found["groups"][0]["total_ms"]["p95"] == pytest.approx(100, rel=0.026)
    assert stats(db, since="2024-10-05")["calls"]["calls"] == 5


def test_percentiles_are_within_what_is_promised(db: Database) -> None:
    draw = random.Random(7)
    values = [draw.lognormvariate(5, 2) for _ in range(2000)]
    for value in values:
        call(db, latency_ms=value)
    found = stats(db)["calls"]["total_ms"]
    ordered = sorted(values)
    assert found["p50"] == pytest.approx(ordered[999], rel=0.0251)
    assert found["p95"] == pytest.approx(ordered[1899], rel=0.0251)


@pytest.mark.parametrize("ms", [0.01, 0.99, 1.0, 9.99, 10.0, 20.0, 49.9, 100.0, 1e4, 1e6, 5e6])
def test_a_bucket_holds_its_value(db: Database, ms: float) -> None:
    call(db, latency_ms=ms)
    (bucket,) = [row["bucket"] for row in db.query("SELECT bucket FROM call_times")]
    assert rollup.middle_ms(bucket) == pytest.approx(ms, rel=0.0251, abs=0.026)


def test_nearest_rank() -> None:
    assert percentiles({1000: 1}) == {"p50": 1.025, "p95": 1.025}
    assert percentiles({1000: 19, 2000: 1})["p95"] == 1.025
    assert percentiles({1000: 18, 2000: 2})["p95"] == 2.05


def test_what_routing_spared_follows_the_stated_rule(db: Database) -> None:
    # the largest: first token after 1 s, then 10 ms a token
    call(db, ttft_ms=1000.0, latency_ms=2000.0, input_tokens=5, output_tokens=100)
    small = {"node": "answer", "role": "router", "model": "small", "ttft_ms": 10.0}
    for _ in range(4):
        call(db, **small, latency_ms=200.0, input_tokens=10, output_tokens=50)
    call(db, node="router", role="router", model="small", latency_ms=70.0, input_tokens=900)
    row = {"at": DAY_1, "strategy": "llm", "routing_decision": "HANDLE", "latency_ms": 25.0}
    db.table("decisions").insert_all([row] * 4)
    spared = stats(db, largest="large")["saved"]
    assert spared["tokens"] == 4 * 60
    assert spared["seconds"] == pytest.approx(4 * 1.5 - 4 * 0.2 - 4 * 0.025, abs=0.05)
    assert (spared["calls"], spared["compared_calls"]) == (4, 1)
    db.table("decisions").insert({"at": DAY_1, "strategy": "escalation", "latency_ms": 0.0})
    spared = stats(db, largest="large")["saved"]
    assert spared["tokens"] == 3 * 60  # one of the four answers was passed on
    assert spared["seconds"] == pytest.approx(3 * 1.5 - 4 * 0.2 - 4 * 0.025, abs=0.05)


def test_routing_that_lost_time_is_not_called_a_gain(db: Database) -> None:
    call(db, ttft_ms=1.0, latency_ms=2.0, output_tokens=100)
    call(db, model="small", node="answer", latency_ms=9000.0, output_tokens=10)
    assert stats(db, largest="large")["saved"]["seconds"] == pytest.approx(-9.0, abs=0.05)


def test_rows_from_before_the_sums_are_counted() -> None:
    old, new = Database(memory=True), Database(memory=True)
    migrations.apply(old, stop_before="m003_paths_and_sums")
    migrations.apply(new)
    for made in (old, new):
        for number in range(5):
            call(made, attempt=1 + number % 2, model=f"m{number}", latency_ms=10.0 * number)
            turn(made, f"t{number}", total_ms=5.0)
        made.table("tool_calls").insert({"name": "x", "status": "error", "started_at": DAY_1})
        made.table("decisions").insert({"at": DAY_1, "strategy": "llm", "latency_ms": 1.5})
    migrations.apply(old)
    assert stats(old, by="model") == stats(new, by="model")


@pytest.mark.parametrize(
    ("since", "day"),
    [(None, None), ("1d", "2026-03-10"), ("7d", "2026-03-04"), ("2026-01-31", "2026-01-31")],
)
def test_since(since: str | None, day: str | None) -> None:
    assert first_day(since, date(2026, 3, 10)) == day


@pytest.mark.parametrize("since", ["", "7", "0d", "-1d", "yesterday", "2026-13-01", "7h", "d"])
def test_since_is_days_or_a_date(since: str) -> None:
    with pytest.raises(UsageError, match="expected 7d or a date"):
        first_day(since)


def test_the_command_prints_one_object(run: Callable[..., Any], rolecall_home: Path) -> None:
    recorder = open_recorder(TelemetrySettings())
    recorder.add("turns", {"trace_id": "t", "status": "done", "role": "answer", "started_at": 1.0})
    row = {"trace_id": "t", "node": "answer", "role": "router", "model": "tiny", "attempt": 1}
    recorder.add("model_calls", {**row, "status": "ok", "started_at": 1.0, "latency_ms": 12.0})
    recorder.close()
    found = run("trace", "stats", "--by", "role", "--json")
    assert found.code == 0
    assert found.json["groups"][0]["key"] == "router"
    assert found.json["saved"]["largest"] == "tiny"
    shown = run("trace", "stats", "--by", "model")
    assert "small model  100.0% of the answers" in shown.out
    assert "Estimate:" in shown.out
    wrong = run("trace", "stats", "--by", "moon", "--json")
    assert wrong.code == 2
    assert "expected one of role, model, day" in wrong.json["error"]
    assert run("trace", "stats", "--since", "soon").code == 2
