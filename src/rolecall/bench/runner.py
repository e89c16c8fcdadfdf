"""Asks what a plan says, case by case, and keeps each result before the next is asked.

A run that was stopped is taken up by the same plan. Cases are asked one at a time: times would
otherwise be those of the queue.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rolecall.bench.arms import Answer, BuildGraph, Subject
from rolecall.bench.cases import Case
from rolecall.bench.memory import memory_of
from rolecall.bench.plan import Entry, Plan
from rolecall.bench.sandbox import Sandbox
from rolecall.bench.store import BenchStore
from rolecall.errors import NoModelReachable, RolecallError, UnknownModel
from rolecall.progress import Progress
from rolecall.sqlite import storable

_FAILURES = 3  # in a row, after which an endpoint counts as gone


@dataclass
class Run:
    """A run of a benchmark.

    Attributes:
        resumed: how many cases were answered before this command.
        problems: what failed, one message per model that could not be asked on.
    """

    id: int
    resumed: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        """``done``, or ``partial`` where something was not answered."""
        return "partial" if self.problems else "done"


@dataclass(frozen=True)
class _Failed:
    """Why a case was not answered, and whether the endpoint counts as gone."""

    problem: str
    gone: bool


async def run_plan(
    plan: Plan,
    store: BenchStore,
    *,
    build_graph: BuildGraph,
    sandbox: Sandbox | None,
    progress: Progress,
    fresh: bool = False,
) -> Run:
    """Ask everything that is not answered yet.

    Args:
        fresh: do not go on with a run that was stopped.

    Raises:
        StateError: a result cannot be kept.
        RolecallError: the configuration is wrong.
    """
    number, resumed = await store.begin(plan.digest, plan.as_json(), fresh=fresh)
    run = Run(number)
    done = await store.done(number) if resumed else set()
    run.resumed = len(done)
    gone: set[tuple[str, str]] = set()
    for entry in plan.entries:
        left = [
            case
            for case in entry.cases
            if (entry.subject, entry.suite.name, case.digest) not in done
        ]
        where = (entry.spec.id, entry.spec.endpoint)
        if not left or where in gone:
            continue
        label = f"{entry.stack.name} {entry.role} {entry.spec.id} {entry.arm}: {entry.suite.name}"
        subject = Subject(
            entry.stack,
            entry.role,
            entry.arm,
            entry.suite.through,
            build_graph=build_graph,
            sandbox=sandbox,
            progress=progress,
        )
        async with subject:
            failed = await _ask_all(run, entry, left, subject, store, progress, label)
        if failed is not None:
            told = f"{entry.spec.id} at {entry.spec.endpoint}, {entry.suite.name}: {failed.problem}"
            run.problems.append(told)
            if failed.gone:
                gone.add(where)
    await store.end(number, run.status, run.problems)
    return run


async def _ask_all(
    run: Run,
    entry: Entry,
    cases: list[Case],
    subject: Subject,
    store: BenchStore,
    progress: Progress,
    label: str,
) -> _Failed | None:
    """Ask the cases; the last failure, if there was one."""
    try:
        await subject.ready()
    except RolecallError as error:
        if not _is_the_endpoints(error):
            raise
        return _Failed(str(error), gone=True)
    memory = await memory_of(entry.spec)
    failures = 0
    failed: _Failed | None = None
    with progress.step(label, total=len(cases), unit="cases") as advance:
        for case in cases:
            try:
                answer = await subject.ask(case)
            except RolecallError as error:
                if not _is_the_endpoints(error):
                    raise
                failures += 1
                failed = _Failed(str(error), gone=failures == _FAILURES)
                await store.keep(_row(run, entry, case, None, failed.problem, memory))
                if failed.gone:
                    return failed
            else:
                failures = 0
                await store.keep(_row(run, entry, case, answer, answer.mark.why, memory))
            advance(1)
    return failed


def _is_the_endpoints(error: RolecallError) -> bool:
    """Whether an error says something of the endpoint: others can still be asked."""
    return error.exit_code == NoModelReachable.exit_code or isinstance(error, UnknownModel)


def _row(
    run: Run, entry: Entry, case: Case, answer: Answer | None, why: str, memory: int | None
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "run": run.id,
        "subject": entry.subject,
        "stack": entry.stack.name,
        "role": entry.role,
        "model": entry.spec.id,
        "endpoint": entry.spec.endpoint,
        "quantization": entry.spec.quantization,
        "arm": entry.arm,
        "suite": entry.suite.name,
        "case_id": case.name,
        "case_digest": case.digest,
        "about": case.about,
        "status": "error",
        "why": storable(why),
        "memory_bytes": memory,
        "at": time.time(),
    }
    if answer is None:
        return row
    calls = [call for call in answer.calls if call.status == "ok"]
    speeds = [
        call.output_tokens * 1000.0 / (call.latency_ms - call.ttft_ms)
        for call in calls
        if call.output_tokens and call.latency_ms and call.ttft_ms is not None
        if call.latency_ms > call.ttft_ms
    ]
    ttft = next((call.ttft_ms for call in calls if call.ttft_ms is not None), None)
    return row | {
        "status": "ok" if answer.mark.score is not None else "unscored",
        "score": answer.mark.score,
        "answer": storable(answer.text),
        "input_tokens": sum(call.input_tokens or 0 for call in calls),
        "output_tokens": sum(call.output_tokens or 0 for call in calls),
        "calls": len(answer.calls),
        "seconds": answer.seconds,
        "ttft_ms": ttft,
        "tokens_per_s": median(speeds) if speeds else None,
    }
