"""Shows replays to people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rolecall.cli.output import out, styled, table
from rolecall.replay.comparison import Comparison
from rolecall.replay.regression import Regression, figures
from rolecall.replay.told import (
    alike,
    figures_told,
    moved,
    notes_of,
    ratio,
    rows_of,
    share,
    verdict,
)

_COLOURS = {"same": "green", "changed": "yellow", "failed": "red", "–": ""}
_MOST_LISTED = 20


def print_thread(
    comparisons: Sequence[Comparison],
    left_out: Sequence[str],
    stack: str | None,
    report: Path | None,
) -> None:
    """The turns of one thread, side by side; ``stack`` is how the user named it."""
    for one in comparisons:
        head = styled(f"Turn {one.turn} of {one.thread}  ", "bold")
        out.print(head + styled(alike(one), _COLOURS[verdict(one)]))
        out.print(styled(one.question, "bold"))
        shown = table("", f"then: {one.original.stack or '?'}", f"replay: {one.replay.stack}")
        for name, before, after in rows_of(one):
            shown.add_row(
                styled(name, "dim"), styled(before, ""), styled(after, _colour(name, one))
            )
        out.print(shown)
        for note in notes_of(one):
            out.print(styled(note, "yellow"))
        out.print()
    if len(comparisons) > 1:
        _print_figures(figures(comparisons))
    with_stack = "" if stack is None else f" --stack {stack}"
    for kept, last in {one.replay_thread: one for one in comparisons if one.replay_thread}.items():
        out.print(f"Kept as {kept}. Go on there: rolecall {_next(kept, last)}{with_stack}")
    _print_end(left_out, report)


def _next(thread: str, last: Comparison) -> str:
    if not last.failed:
        return f'ask "…" --thread {thread}'
    return f'resume {thread} --answer "…"' if last.replay.waits else f"resume {thread}"


def print_regression(regression: Regression, report: Path | None) -> None:
    """What a stack changes over many threads."""
    resumed = f", {regression.resumed} turns from before" if regression.resumed else ""
    told = f"Run {regression.run} on {regression.stack}: {regression.status}{resumed}"
    out.print(styled(told, "bold"))
    summary = regression.summary()
    out.print(f"{summary['turns']} turns of {summary['threads']} threads")
    _print_figures(summary)
    for name, count in summary["decisions"]["moves"].items():
        out.print(f"  {name}: {count}")
    changed = [
        one for one in regression.comparisons if one.decision_changed or verdict(one) != "same"
    ]
    if changed:
        out.print()
        shown = table(
            "turn", "answer", "decision", "alike", "time", "tokens", "question", last="ellipsis"
        )
        for one in changed[:_MOST_LISTED]:
            shown.add_row(
                f"{one.thread} {one.turn}",
                styled(verdict(one), _COLOURS[verdict(one)]),
                styled(moved(one), "yellow" if one.decision_changed else ""),
                share(one.similarity),
                ratio(one.latency_ratio),
                ratio(one.tokens_ratio),
                styled(" ".join(one.question.split()), ""),
            )
        out.print(shown)
        if len(changed) > _MOST_LISTED:
            more = len(changed) - _MOST_LISTED
            out.print(
                f"… and {more} more: rolecall replay --show {regression.run} --report run.html"
            )
    _print_end(regression.left_out, report)
    if regression.status != "done":
        out.print("What was replayed is kept; the same command asks the rest.")


def print_runs(runs: Sequence[dict[str, Any]]) -> None:
    """The runs, the newest first."""
    from rolecall.cli.threads import when

    if not runs:
        out.print("There are no runs yet: rolecall replay --all --stack NAME")
        return
    shown = table("run", "when", "state", "replayed", "stack")
    for row in runs:
        shown.add_row(
            str(row["id"]),
            when(row["started_at"]),
            row["status"],
            f"{row['replayed']} of {row['turns']}",
            styled(row["stack"], ""),
        )
    out.print(shown)


def _colour(name: str, one: Comparison) -> str:
    if name == "error":
        return "red"
    if name == "decision" and one.decision_changed:
        return "yellow"
    return _COLOURS[verdict(one)] if name == "answer" else ""


def _print_figures(summary: dict[str, Any]) -> None:
    shown = table("", "", "")
    for name, value, more in figures_told(summary):
        shown.add_row(name, value, styled(more, "dim"))
    out.print(shown)


def _print_end(left_out: Sequence[str], report: Path | None) -> None:
    for told in left_out:
        out.print(styled(f"Left out: {told}", "yellow"))
    if report is not None:
        out.print(f"Report: {report}")
