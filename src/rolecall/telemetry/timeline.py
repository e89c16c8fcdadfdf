"""When a turn's nodes, model calls and tool calls ran: bars, in milliseconds from its start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rolecall.telemetry.steps import TOOLS, Step, ended_at, steps_of

Kind = Literal["turn", "node", "model", "tool"]


@dataclass(frozen=True)
class Bar:
    """One thing that took time.

    Attributes:
        kind: what it was; calls stand below the node that made them.
        name: the node, the model or the tool.
        start_ms, end_ms: from the turn's start.
        ok: whether it succeeded.
        first_token_ms: when a model's first token came, from the turn's start.
        note: what else there is to say: tokens, an error.
    """

    kind: Kind
    name: str
    start_ms: float
    end_ms: float
    ok: bool = True
    first_token_ms: float | None = None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The bar as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Timeline:
    """A turn's bars in order; the first is the turn itself."""

    title: str
    bars: list[Bar]

    @property
    def total_ms(self) -> float:
        """From the start of the first bar to the end of the last."""
        return max(bar.end_ms for bar in self.bars)


def timeline_of(trace: Mapping[str, Any]) -> Timeline:
    """The timeline of a trace, as ``Traces.show`` gives it."""
    turn = trace["turn"]
    steps = steps_of(trace)
    calls = [(call["started_at"] or 0.0, _model_bar, call) for call in trace["model_calls"]]
    calls += [(call["started_at"] or 0.0, _tool_bar, call) for call in trace["tool_calls"]]
    calls.sort(key=lambda call: call[0])
    starts = [at for at, _, _ in calls] + [step.started_at for step in steps]
    zero = min([turn["started_at"] or min(starts, default=0.0), *starts])
    bars: list[Bar] = []
    waiting = list(calls)
    for number, step in enumerate(steps):
        last = number == len(steps) - 1
        beside = not last and steps[number + 1].started_at == step.started_at
        bars.append(Bar("node", step.node, _ms(step.started_at, zero), _ms(step.ended_at, zero)))
        if beside:  # several tools at once: their calls stand below the last
            continue
        own = [call for call in waiting if last or _within(call, step)]
        waiting = [call for call in waiting if call not in own]
        bars += [make(call, zero) for _, make, call in own]
    bars += [make(call, zero) for _, make, call in waiting]
    end = max(
        [_ms(ended_at(turn["started_at"], turn["total_ms"]), zero), *(b.end_ms for b in bars)]
    )
    whole = Bar("turn", "turn", 0.0, end, turn["status"] in {"done", "interrupted"})
    return Timeline(f"trace {turn['trace_id']} · {turn['status']}", [whole, *bars])


def _within(call: tuple[float, Any, Mapping[str, Any]], step: Step) -> bool:
    node = call[2].get("node", TOOLS)
    return node == step.node and call[0] <= step.ended_at + 0.002


def _model_bar(call: Mapping[str, Any], zero: float) -> Bar:
    start = _ms(call["started_at"], zero)
    ttft = call["ttft_ms"]
    said = [f"{call['input_tokens']} → {call['output_tokens']} tokens"]
    if call["input_tokens"] is None and call["output_tokens"] is None:
        said = []
    if call["status"] != "ok":
        said.append(": ".join(part for part in (call["status"], call["error"]) if part))
    return Bar(
        "model",
        call["model"] or call["role"] or "model",
        start,
        start + (call["latency_ms"] or 0.0),
        call["status"] in {"ok", "journaled"},
        None if ttft is None else start + ttft,
        "; ".join(said),
    )


def _tool_bar(call: Mapping[str, Any], zero: float) -> Bar:
    start = _ms(call["started_at"], zero)
    good = call["status"] in {"success", "journaled", "skipped"}
    note = "" if call["status"] == "success" else str(call["status"] or "")
    return Bar(
        "tool",
        call["name"] or "tool",
        start,
        start + (call["latency_ms"] or 0.0),
        good,
        note=note,
    )


def _ms(at: float | None, zero: float) -> float:
    return max(0.0, ((at or zero) - zero) * 1000.0)
