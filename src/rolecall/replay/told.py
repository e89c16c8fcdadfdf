"""Comparisons in words: what the command line and reports show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rolecall.replay.comparison import NOT_MADE, RECORDED, Comparison, Side, ToolUse

_NOTHING = "–"
_LONGEST_ARGUMENT = 60


def verdict(comparison: Comparison) -> str:
    """``failed``, ``same`` or ``changed``; ``–`` where there is no answer to compare."""
    if comparison.failed:
        return "failed"
    if comparison.same_answer is None:
        return _NOTHING
    return "same" if comparison.same_answer else "changed"


def rows_of(comparison: Comparison) -> list[tuple[str, str, str]]:
    """What there is to compare: a name, as it was, as it is in the replay."""
    both = (comparison.original, comparison.replay)
    made = {
        "decision": [_decision(side) for side in both],
        "answered by": [_speaker(side) for side in both],
        "way": [" → ".join(side.path) or _NOTHING for side in both],
        "answer": [side.answer or _NOTHING for side in both],
        "time": [duration(side.latency_ms) for side in both],
        "tokens": [_tokens(side) for side in both],
        "tools": ["\n".join(_tool(tool) for tool in side.tools) or _NOTHING for side in both],
        "error": [side.error or _NOTHING for side in both],
    }
    return [
        (name, before, after)
        for name, (before, after) in made.items()
        if name in {"decision", "answer", "time", "tokens"} or {before, after} != {_NOTHING}
    ]


def notes_of(comparison: Comparison) -> list[str]:
    """What a reader should know beside the rows."""
    told = list(comparison.notes)
    if comparison.from_step is not None:
        told.append(
            f"It ran on from step {comparison.from_step}: time and tokens are those of the rest."
        )
    if lacking := [tool.name for tool in comparison.replay.tools if tool.how == NOT_MADE]:
        told.append(
            f"Not called, as not safe to repeat: {', '.join(lacking)}. The model was told so."
        )
    return told


def alike(comparison: Comparison) -> str:
    """How alike the answers are, in words."""
    if comparison.failed:
        return "no answer"
    if comparison.same_answer:
        return "the same answer"
    return f"{share(comparison.similarity)} alike"


def route(side: Side) -> str:
    """The decision's label with its confidence."""
    if side.route is None or side.confidence is None:
        return _NOTHING
    return f"{side.route} {side.confidence:.2f}"


def moved(comparison: Comparison) -> str:
    """The decision, or what became of it."""
    before, after = comparison.original.route or _NOTHING, comparison.replay.route or _NOTHING
    return before if before == after else f"{before} → {after}"


def share(value: float | None) -> str:
    """``0.5`` as ``50 %``."""
    return _NOTHING if value is None else f"{100 * value:.0f} %"


def span(value: Sequence[float] | None) -> str:
    """``[0.25, 0.75]`` as ``25 to 75``."""
    return _NOTHING if value is None else f"{100 * value[0]:.0f} to {100 * value[1]:.0f}"


def ratio(value: float | None, interval: Sequence[float] | None = None) -> str:
    """``1.5`` as ``× 1.50``, with its interval."""
    if value is None:
        return _NOTHING
    return f"× {value:.2f}" + (
        f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval is not None else ""
    )


def duration(milliseconds: float | None) -> str:
    """``1234.5`` ms as ``1.2 s``, short times as ``12 ms``."""
    if milliseconds is None:
        return _NOTHING
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000:.1f} s"


def figures_told(summary: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The figures of many turns: a name, the figure, its interval or what it is of."""
    decisions, answers = summary["decisions"], summary["answers"]
    latency, tokens = summary["latency"], summary["tokens"]
    return [
        (
            "decisions changed",
            f"{decisions['changed']} of {decisions['compared']}",
            f"{share(decisions['kept'])} stayed ({span(decisions['interval'])})",
        ),
        (
            "answers changed",
            f"{answers['changed']} of {answers['compared']}",
            f"{share(answers['kept'])} stayed ({span(answers['interval'])})",
        ),
        (
            "likeness of answers",
            share(answers["similarity"]),
            span(answers["similarity_interval"]),
        ),
        ("no answer", f"{summary['errors']} of {summary['turns']}", ""),
        ("tool calls not made", str(summary["not_made"]), ""),
        (
            "time, median",
            ratio(latency["ratio"], latency["interval"]),
            f"{duration(latency['before'])} → {duration(latency['after'])}",
        ),
        (
            "tokens, median",
            ratio(tokens["ratio"], tokens["interval"]),
            f"{_count(tokens['before'])} → {_count(tokens['after'])}",
        ),
    ]


def _decision(side: Side) -> str:
    if side.decision is None:
        return _NOTHING
    return f"{route(side)} ({side.strategy}): {side.decision['reason']}"


def _speaker(side: Side) -> str:
    return " · ".join(part for part in (side.role, side.model) if part) or _NOTHING


def _tokens(side: Side) -> str:
    if side.tokens is None:
        return _NOTHING
    return f"{_count(side.input_tokens)} in, {_count(side.output_tokens)} out"


def _count(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:,.0f}"


def _tool(tool: ToolUse) -> str:
    arguments = ", ".join(f"{name}={_argument(value)}" for name, value in tool.arguments.items())
    told = {RECORDED: ", as recorded", NOT_MADE: ", not called"}.get(tool.how, "")
    return f"{tool.name}({arguments}): {tool.status}{told}"


def _argument(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= _LONGEST_ARGUMENT else text[:_LONGEST_ARGUMENT] + "…"
