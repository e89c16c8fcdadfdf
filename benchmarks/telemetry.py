"""Telemetry at a million recorded calls, what a turn costs on disk, and what recording costs it.

``--calls N`` records fewer.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.measure import p50, p95, temporary_home, verdict
from rolecall import Assistant, load_stack
from rolecall.database import DatabaseFile
from rolecall.models.scripted import ScriptedReply, ScriptedRunner
from rolecall.telemetry.recorder import NoRecorder
from rolecall.telemetry.schema import migrations
from rolecall.telemetry.traces import Traces

_SEED, _DAYS, _START = 20260101, 90, 1_767_225_600.0  # from 2026-01-01, UTC
_QUESTION = "Which sort is stable?"
_TURNS, _WARM_UP = 300, 30


def main() -> None:
    """Print each figure beside its target."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=1_000_000)
    calls = parser.parse_args().calls
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with temporary_home() as home:
        _million(Path(home) / "telemetry.db", calls)
    with temporary_home() as home:
        _bytes_per_turn(Path(home))
    _on_and_off()


# --- a million calls ------------------------------------------------------------------------------


def _million(path: Path, calls: int) -> None:
    started = time.perf_counter()
    file = DatabaseFile(path, migrations)
    turns = file.submit(lambda db: _fill(db.conn, calls)).result()
    took = time.perf_counter() - started
    print(
        f"{calls:,} model calls of {turns:,} turns over {_DAYS} days: "
        f"{path.stat().st_size / 1e6:,.0f} MB, written in {took:.0f} s"
    )
    file.close()
    traces = Traces(DatabaseFile(path, migrations))
    opened = _timed(lambda: traces.latest(1))
    print(f"{'opening the file':44} {opened:10.1f} ms")
    queries: dict[str, tuple[Callable[[], Any], float]] = {
        "trace stats": (lambda: traces.stats(largest="large"), 1000.0),
        "trace stats --by role": (lambda: traces.stats(by="role", largest="large"), 1000.0),
        "trace stats --by day": (lambda: traces.stats(by="day", largest="large"), 1000.0),
        "trace stats --since 2026-03-01 --by model": (
            lambda: traces.stats("2026-03-01", "model", "large"),
            1000.0,
        ),
        "trace list": (lambda: traces.latest(20), 100.0),
        "trace list -n 1000": (lambda: traces.latest(1000), 100.0),
        "trace list --thread (a long thread)": (lambda: traces.latest(20, "thread-0"), 100.0),
    }
    for name, (query, bound) in queries.items():
        worst = max(_timed(query) for _ in range(5))
        print(f"{name:44} {worst:10.1f} ms  {verdict(worst, bound)}  (slowest of 5)")


def _timed(query: Callable[[], Any]) -> float:
    started = time.perf_counter()
    query()
    return (time.perf_counter() - started) * 1000.0


def _fill(connection: sqlite3.Connection, calls: int) -> int:
    """Turns with 2.5 calls on average; times are log-normal; a tenth runs in one thread."""
    draw = random.Random(_SEED)
    made = turns = 0
    connection.execute("PRAGMA cache_size=-262144")  # for writing only; reading opens anew
    while made < calls:
        rows: dict[str, list[tuple[Any, ...]]] = {"turns": [], "decisions": [], "model_calls": []}
        for _ in range(2000):
            if made >= calls:
                break
            found = list(_turn(draw, turns))
            made += sum(table == "model_calls" for table, _ in found)
            turns += 1
            for table, row in found:
                rows[table].append(row)
        connection.execute("BEGIN")
        for table, many in rows.items():
            connection.executemany(_SQL[table], many)
        connection.execute("COMMIT")
    return turns


_SQL = {
    "turns": "INSERT INTO turns (trace_id, turn_id, thread_id, stack, status, role, finish_reason, "
    "started_at, total_ms, overhead_ms) VALUES (?, ?, ?, 's', ?, ?, 'stop', ?, ?, 5)",
    "decisions": "INSERT INTO decisions (trace_id, at, strategy, routing_decision, target_model, "
    "confidence, reason, probabilities, latency_ms) VALUES (?, ?, ?, ?, ?, 0.9, '', '{}', ?)",
    "model_calls": "INSERT INTO model_calls (trace_id, node, role, model, endpoint, api, attempt, "
    "status, started_at, input_tokens, output_tokens, ttft_ms, latency_ms, finish_reason) "
    "VALUES (?, ?, ?, ?, 'http://localhost:1234/v1', 'chat_completions', ?, ?, ?, ?, ?, ?, ?, ?)",
}
_MODELS = {"router": "small", "answer": "small", "reasoning": "large", "coding": "coder"}


def _turn(draw: random.Random, number: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    trace = f"{draw.getrandbits(128):032x}"
    at = _START + draw.random() * _DAYS * 86_400
    node = draw.choices(("answer", "reasoning", "coding"), (5, 3, 2))[0]
    escalated = node == "answer" and draw.random() < 0.1
    nodes = ["router", node, *(["reasoning"] if escalated else [])]
    nodes += [nodes[-1]] * draw.choice((0, 0, 1))  # a round of tools
    handle = "HANDLE" if node == "answer" else "DELEGATE"
    yield "decisions", (trace, at, "llm", handle, None, draw.lognormvariate(3, 0.5))
    if escalated:
        yield "decisions", (trace, at + 1, "escalation", "DELEGATE", "REASONING", 0.0)
    total = 20.0
    for name in nodes:
        failed = draw.random() < 0.02
        first, whole = draw.lognormvariate(5, 0.6), draw.lognormvariate(6.5, 0.8)
        role = "router" if name == "answer" else name
        if failed:
            yield "model_calls", (trace, name, role, _MODELS[name], 1, "error", at, *[None] * 5)
        model, attempt = ("spare", 2) if failed else (_MODELS[name], 1)
        tokens = (draw.randint(100, 4000), draw.randint(1, 600))
        times = (first, first + whole, "stop")
        yield "model_calls", (trace, name, role, model, attempt, "ok", at, *tokens, *times)
        total += first + whole
    thread = "thread-0" if number % 10 == 0 else f"thread-{number // 20}"
    status = "done" if draw.random() < 0.98 else "failed"
    yield "turns", (trace, trace, thread, status, nodes[-1], at, total)


# --- one turn -------------------------------------------------------------------------------------


def _bytes_per_turn(home: Path) -> None:
    turns = 200
    with _runner() as runner:
        settings = {"telemetry.store_texts": False, "routing.strategy": "llm"}
        with Assistant.open(_stack(runner, home, settings)) as assistant:
            assistant.ask(_QUESTION)
            assistant.flush()
            before = _pages(home)
            for _ in range(turns):
                assistant.ask(_QUESTION)
    size = (_pages(home) - before) / turns
    print(f"{'bytes per turn, without texts':44} {size:10.0f} B   {verdict(size, 3000)}")


def _pages(home: Path) -> int:
    connection = sqlite3.connect(home / "telemetry.db")
    pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
    free: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    size: int = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    return (pages - free) * size


def _on_and_off() -> None:
    """The same turn with and without telemetry, in turns, so that noise meets both."""
    times: dict[str, list[float]] = {"off": [], "on": []}
    with temporary_home() as home, _runner() as runner:
        stack = _stack(runner, Path(home), {})
        on = Assistant.open(stack)
        with patch("rolecall.assistant.open_recorder", lambda settings: _Off()):
            off = Assistant.open(stack)

        async def measure() -> None:
            for index in range(_TURNS + _WARM_UP):
                for name, assistant in (("off", off), ("on", on)):
                    started = time.perf_counter()
                    await assistant.aask(_QUESTION, role="reasoning")
                    if index >= _WARM_UP:
                        times[name].append((time.perf_counter() - started) * 1000.0)

        asyncio.run(measure())
        on.close()
        off.close()
    for name, values in times.items():
        print(
            f"{'turn, telemetry ' + name:44} {p50(values):10.2f} ms p50 {p95(values):8.2f} ms p95"
        )
    ratio = p50(times["on"]) / p50(times["off"])
    print(f"{'telemetry on / off (p50)':44} {ratio:10.3f}     {verdict(ratio, 1.03)}")


class _Off(NoRecorder):
    def flush(self) -> None:
        """Nothing to write."""

    def close(self) -> None:
        """Nothing to close."""


def _runner() -> ScriptedRunner:
    runner = ScriptedRunner(models=["tiny"])
    runner.default = ScriptedReply("Merge sort is stable.")
    return runner


def _stack(runner: ScriptedRunner, home: Path, overrides: dict[str, Any]) -> Any:
    path = home / "bench.yaml"
    spec = f"{{id: tiny, endpoint: '{runner.endpoint}'}}"
    path.write_text(f"models: {{router: {spec}, reasoning: {spec}, coding: {spec}}}\n")
    return load_stack(path, overrides)
