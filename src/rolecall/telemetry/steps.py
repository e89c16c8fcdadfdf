"""Which nodes a turn went through, and when: read from one trace."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

TOOLS = "tool_runner"


@dataclass(frozen=True)
class Step:
    """One run of a node; times are Unix seconds.

    It begins where the step before it ended, so it holds what the graph did in between.
    """

    node: str
    started_at: float
    ended_at: float


def steps_of(trace: Mapping[str, Any]) -> list[Step]:
    """A trace's steps in order: as recorded, else from what was called in them.

    Of a turn that was resumed, the earlier run's steps come from what was called.
    """
    turn = trace["turn"]
    start = turn["started_at"] or 0.0
    recorded = _recorded(turn)
    if not recorded:
        return _from_calls(_calls(trace))
    earlier = (call for call in _calls(trace) if call.started_at < start - 0.001)
    return [*_from_calls(earlier), *recorded]


def path_of(trace: Mapping[str, Any]) -> list[str]:
    """The names of the nodes that a trace went through, in order."""
    names = [step.node for step in steps_of(trace)]
    if not _recorded(trace["turn"]):
        names = ["init", *names]
        if trace["turn"]["status"] == "done":
            names.append("synthesis")
    return names


def ended_at(started_at: float | None, latency_ms: float | None) -> float:
    """When something ended, in Unix seconds."""
    return (started_at or 0.0) + (latency_ms or 0.0) / 1000.0


def _recorded(turn: Mapping[str, Any]) -> list[Step]:
    try:
        path = turn.get("path") or []
        path = json.loads(path) if isinstance(path, str) else path
        ends = [(str(node), float(ms)) for node, ms in path]
    except (ValueError, TypeError):
        return []  # not written by us
    start = turn["started_at"] or 0.0
    steps: list[Step] = []
    for node, ms in ends:
        before = steps[-1] if steps else Step("", start, start)
        beside = node == TOOLS == before.node  # calls of one message run at once
        begin = before.started_at if beside else before.ended_at
        steps.append(Step(node, begin, max(begin, start + ms / 1000.0)))
    return steps


def _calls(trace: Mapping[str, Any]) -> list[Step]:
    found = [
        Step("router", d["at"] - (d["latency_ms"] or 0.0) / 1000.0, d["at"])
        for d in trace["decisions"]
        if d["strategy"] != "escalation" and d["at"]
    ]
    for call in trace["model_calls"]:
        begin = call["started_at"] or 0.0
        found.append(Step(call["node"] or "", begin, ended_at(begin, call["latency_ms"])))
    for call in trace["tool_calls"]:
        if call["status"] != "not_meant":
            begin = call["started_at"] or 0.0
            found.append(Step(TOOLS, begin, ended_at(begin, call["latency_ms"])))
    return sorted(found, key=lambda step: step.started_at)


def _from_calls(calls: Iterable[Step]) -> list[Step]:
    """One step for the calls of a node that follow each other."""
    steps: list[Step] = []
    for call in calls:
        if steps and steps[-1].node == call.node:
            last = steps[-1]
            ended = max(last.ended_at, call.ended_at)
            steps[-1] = Step(last.node, last.started_at, ended)
        else:
            steps.append(call)
    return steps
