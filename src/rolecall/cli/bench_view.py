"""Shows benchmarks to people."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rolecall.cli.output import out, seconds, styled, table

_COLOURS = {"better": "green", "worse": "red"}
_VERDICTS = {"ok": "green", "weak": "yellow", "unfit": "red"}
_SHORT = {"no significant difference": "not significant", "nothing to compare": "–"}
_MOST_LISTED = 10


def print_run(body: dict[str, Any]) -> None:
    """The figures of a run: one line per model and suite, then what differs."""
    resumed = f", {body['resumed']} cases from before" if body["resumed"] else ""
    out.print(styled(f"Run {body['run']}: {body['status']}{resumed}", "bold"))
    several = len({row["stack"] for row in body["rows"]}) > 1
    ways = len({row["arm"] for row in body["rows"]}) > 1
    for role in dict.fromkeys(row["role"] for row in body["rows"]):
        out.print()
        out.print(styled(role, "bold"))
        head = ["suite", "model", *(["way"] if ways else []), "score", "95 %", "cases"]
        shown = table(*head, "first", "tok/s", "tokens", "time")
        for row in (row for row in body["rows"] if row["role"] == role):
            shown.add_row(
                row["suite"],
                named(row, stack=several),
                *([row["arm"]] if ways else []),
                share(row["score"]),
                interval(row["interval"]),
                _cases(row),
                seconds(row["ttft_ms"]),
                f"{row['tokens_per_s']:.0f}" if row["tokens_per_s"] else "–",
                f"{row['input_tokens'] + row['output_tokens']:,}",
                seconds(1000 * row["seconds"]),
            )
        out.print(shown)
    if memory := {r["model"]: r["memory_bytes"] for r in body["rows"] if r["memory_bytes"]}:
        out.print()
        told = ", ".join(f"{name} {size / 1e6:,.0f} MB" for name, size in memory.items())
        out.print(f"Memory: {told}")
    _print_verdicts(body["verdicts"], several)
    if body["orchestration"]:
        out.print()
        out.print(styled("From the bare model to Rolecall around it", "bold"))
        _print_lines(body["orchestration"], lambda line: line["model"])
    if body["compared"]:
        out.print()
        out.print(styled("From the first model of a role to the others", "bold"))
        _print_lines(body["compared"], lambda line: f"{named(line['second'])} ({line['arm']})")
    for line in body["attribution"]:
        told = f"{line['role']} {line['suite']}, {named(line['first'])} → {named(line['second'])}"
        out.print(
            styled(
                f"{told}: {share(line['difference'], sign=True)}, of it the model's "
                f"{share(line['of_model'], sign=True)} "
                f"({interval(line['model_interval'], sign=True)}), Rolecall's "
                f"{share(line['of_orchestration'], sign=True)} "
                f"({interval(line['orchestration_interval'], sign=True)})",
                "",
            )
        )
    if body["repeat"]:
        _print_repeat(body["repeat"])
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


def _print_verdicts(lines: list[dict[str, Any]], several: bool) -> None:
    if not lines:
        return
    out.print()
    shown = table("role", "verdict", "model", "why")
    for line in lines:
        rivals = sum(other["role"] == line["role"] for other in lines) > 1
        why = (
            f"{line['why']}; the best of those measured" if rivals and line["best"] else line["why"]
        )
        name = named(line) if several else named(line, stack=False)
        verdict = styled(line["verdict"], _VERDICTS[line["verdict"]])
        shown.add_row(line["role"], verdict, name, why)
    out.print(shown)


def _print_repeat(repeat: dict[str, Any]) -> None:
    """How far the runner gave the same again."""
    out.print()
    told = f"The same as run {repeat['run']}: {repeat['identical']} of {repeat['pairs']} answers"
    changed = repeat["pairs"] - repeat["same_score"]
    out.print(f"{told} are identical, {changed} scores changed.")
    for row in repeat["different"][:_MOST_LISTED]:
        scores = f"{share(row['first_score'])} → {share(row['second_score'])}"
        told = f"  the runner answered otherwise: {row['suite']} {row['case_id']} ({scores})"
        out.print(styled(told, "yellow"))


def named(line: dict[str, Any], *, stack: bool = True) -> str:
    """A model with its quantization, and the stack in front."""
    name = " ".join(str(part) for part in (line["model"], line["quantization"]) if part)
    return f"{line['stack']}: {name}" if stack else name


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
            row["status"],
            f"{row['answered']} of {plan['cases']}",
            ", ".join(plan["stacks"]),
            ", ".join(plan["suites"]) + (" (quick)" if plan["quick"] else ""),
        )
    out.print(shown)


def _print_lines(lines: list[dict[str, Any]], name: Any) -> None:
    roles = {(line["role"], line["suite"]) for line in lines}
    by_role = len(roles) > len({suite for _, suite in roles})
    names = [*(["role"] if by_role else []), "suite", *(["model"] if name else [])]
    shown = table(*names, "pairs", "before", "after", "change", "95 %", "time", "verdict")
    for line in lines:
        judged = _SHORT.get(line["verdict"], line["verdict"])
        shown.add_row(
            *([line["role"]] if by_role else []),
            line["suite"],
            *([name(line)] if name else []),
            str(line["pairs"]),
            share(line["first_score"]),
            share(line["second_score"]),
            share(line["difference"], sign=True),
            interval(line["interval"], sign=True),
            "–" if line["seconds_ratio"] is None else f"× {line['seconds_ratio']:.2f}",
            styled(judged, _COLOURS.get(judged, "")),
        )
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
