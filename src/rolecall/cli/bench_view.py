"""Shows benchmarks to people."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rolecall.cli.output import out, seconds, styled, table

_COLOURS = {"better": "green", "worse": "red"}


def print_run(body: dict[str, Any]) -> None:
    """The figures of a run: one line per model and suite, then what differs."""
    resumed = f", {body['resumed']} cases from before" if body["resumed"] else ""
    out.print(styled(f"Run {body['run']}: {body['status']}{resumed}", "bold"))
    several = len({row["stack"] for row in body["rows"]}) > 1
    for role in dict.fromkeys(row["role"] for row in body["rows"]):
        out.print()
        out.print(styled(role, "bold"))
        shown = table(
            "suite", "model", "way", "score", "95 %", "cases", "first", "tokens/s", "time"
        )
        for row in (row for row in body["rows"] if row["role"] == role):
            model = f"{row['stack']}: {row['model']}" if several else row["model"]
            speed = f"{row['tokens_per_s']:.0f}" if row["tokens_per_s"] else "–"
            shown.add_row(
                row["suite"],
                model + (f" {row['quantization']}" if row["quantization"] else ""),
                row["arm"],
                share(row["score"]),
                interval(row["interval"]),
                _cases(row),
                seconds(row["ttft_ms"]),
                speed,
                seconds(1000 * row["seconds"]),
            )
        out.print(shown)
    if memory := {r["model"]: r["memory_bytes"] for r in body["rows"] if r["memory_bytes"]}:
        out.print()
        told = ", ".join(f"{name} {size / 1e6:,.0f} MB" for name, size in memory.items())
        out.print(f"Memory: {told}")
    if body["orchestration"]:
        out.print()
        out.print(styled("From the bare model to Rolecall around it", "bold"))
        _print_lines(body["orchestration"], lambda line: line["model"])
    if body["compared"]:
        out.print()
        out.print(styled("From the first model of a role to the others", "bold"))
        _print_lines(
            body["compared"], lambda line: f"{line['second']['stack']}: {line['second']['model']}"
        )
    for row in body.get("wrong", []):
        out.print()
        out.print(styled(f"{row['suite']} {row['case_id']} ({row['model']}, {row['arm']})", "bold"))
        out.print(styled(row["why"] or "", "yellow"))
        out.print(styled(row["answer"] or "", ""))
    for told in body["left_out"]:
        out.print(styled(f"Left out: {told}", "yellow"))
    for told in body["problems"]:
        out.print(styled(f"Not answered: {told}", "red"))
    if body["problems"]:
        out.print("What was answered is kept; the same command asks the rest.")
    if body.get("report"):
        out.print(f"Report: {body['report']}")


def print_difference(body: dict[str, Any]) -> None:
    """What changed from one side to the other."""
    out.print(f"From {body['first']}\n  to {body['second']}")
    if not body["suites"]:
        out.print("They have no case in common.")
        return
    out.print()
    _print_lines(body["suites"], None)
    for line in body["suites"]:
        for word in ("better", "worse"):
            if line[word]:
                out.print(styled(f"{line['suite']} {word}: {', '.join(line[word])}", ""))


def print_runs(runs: list[dict[str, Any]]) -> None:
    """The runs, the newest first."""
    if not runs:
        out.print("There are no runs yet: rolecall bench --quick")
        return
    shown = table("run", "when", "state", "answered", "stacks", "suites")
    for row in runs:
        plan = row["plan"]
        shown.add_row(
            str(row["id"]),
            datetime.fromtimestamp(row["started_at"]).strftime("%Y-%m-%d %H:%M"),
            "stopped" if row["status"] == "running" else row["status"],
            f"{row['answered']} of {plan['cases']}",
            ", ".join(plan["stacks"]),
            ", ".join(plan["suites"]) + (" (quick)" if plan["quick"] else ""),
        )
    out.print(shown)


def _print_lines(lines: list[dict[str, Any]], name: Any) -> None:
    head = ("suite", "pairs", "before", "after", "change", "95 %", "p", "time", "verdict")
    shown = table(*((*head[:1], "model", *head[1:]) if name else head))
    for line in lines:
        cells = [
            str(line["pairs"]),
            share(line["first_score"]),
            share(line["second_score"]),
            share(line["difference"], sign=True),
            interval(line["interval"], sign=True),
            "–" if line["p"] is None else f"{line['p']:.3f}",
            "–" if line["seconds_ratio"] is None else f"× {line['seconds_ratio']:.2f}",
        ]
        verdict = styled(line["verdict"], _COLOURS.get(line["verdict"], ""))
        names = [line["suite"], *([name(line)] if name else [])]
        shown.add_row(*names, *cells, verdict)
    out.print(shown)


def _cases(row: dict[str, Any]) -> str:
    told = str(row["cases"])
    if row["unscored"]:
        told += f", {row['unscored']} unscored"
    if row["errors"]:
        told += f", {row['errors']} not answered"
    return told


def share(value: float | None, *, sign: bool = False) -> str:
    """``0.5`` as ``50 %``."""
    if value is None:
        return "–"
    return f"{100 * value:+.0f} %" if sign else f"{100 * value:.0f} %"


def interval(value: list[float] | None, *, sign: bool = False) -> str:
    """``[0.25, 0.75]`` as ``25 to 75``."""
    if value is None:
        return "–"
    low, high = (f"{100 * v:+.0f}" if sign else f"{100 * v:.0f}" for v in value)
    return f"{low} to {high}"
