"""A run as a report: markdown, or one HTML file that opens offline. Names are escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rolecall.bench.charts import bars, scatter
from rolecall.pages import Page, Section, check_path, write_page

_HEAD = (
    *("role", "suite", "model", "way", "score", "95 %", "cases"),
    *("first token", "tokens/s", "tokens", "time", "memory"),
)
_CHANGE = ("role", "suite", "model", "before", "after", "change", "95 %", "p", "time", "verdict")
_VERDICT = ("role", "model", "why", "verdict")
_SPLIT = ("role", "suite", "models", "change", "of the model", "of Rolecall")
_NOTE = (
    "Scores are means over cases; intervals are 95 % by bootstrap (Wilson's where all are equal). "
    "Changes are paired by case; McNemar's exact test, Holm's rule over the suites. Cases without "
    "an expected answer are unscored, cases that were not answered count nowhere."
)


def check_report(path: Path) -> None:
    """Refuse a report that could not be written, before anything is measured.

    Raises:
        UsageError: it is neither HTML nor markdown, or its folder is missing.
    """
    check_path(path)


def write_report(body: Mapping[str, Any], path: Path) -> None:
    """Write the figures of a run. Plots of a markdown report stand beside it as SVG files.

    Raises:
        StateError: it cannot be written.
    """
    plots = _plots(body["rows"])
    write_page(Page(f"Benchmark run {body['run']}", _sections(body), plots, _notes(body)), path)


def _plots(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    scored = [row for row in rows if row["score"] is not None]
    if not scored:
        return {}
    made = {"Scores per role and suite": bars([_bar(row) for row in scored])}
    points = [
        (row["seconds_p50"], row["score"], f"{row['suite']} {_model(row)}")
        for row in scored
        if row["seconds_p50"]
    ]
    if points:
        made["Accuracy against latency"] = scatter(points)
    return made


def _bar(row: Mapping[str, Any]) -> tuple[str, float, float, float]:
    low, high = row["interval"]
    return f"{row['role']} {row['suite']}: {_model(row)}", row["score"], low, high


def _model(row: Mapping[str, Any]) -> str:
    name = " ".join(str(part) for part in (row["model"], row["quantization"]) if part)
    return f"{row['stack']}: {name}" + (" (bare)" if row["arm"] == "bare" else "")


def _percent(value: float | None, *, sign: bool = False) -> str:
    return "–" if value is None else f"{100 * value:{'+' if sign else ''}.0f} %"


def _span(value: Sequence[float] | None) -> str:
    return "–" if value is None else f"{100 * value[0]:.0f} to {100 * value[1]:.0f}"


def _table(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            row["role"],
            row["suite"],
            _model(row),
            row["arm"],
            _percent(row["score"]),
            _span(row["interval"]),
            f"{row['scored']} of {row['cases']}",
            "–" if row["ttft_ms"] is None else f"{row['ttft_ms']:.0f} ms",
            "–" if row["tokens_per_s"] is None else f"{row['tokens_per_s']:.0f}",
            f"{row['input_tokens'] + row['output_tokens']:,}",
            f"{row['seconds']:.0f} s",
            "–" if row["memory_bytes"] is None else f"{row['memory_bytes'] / 1e6:,.0f} MB",
        )
        for row in rows
    ]


def _changes(lines: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            line["role"],
            line["suite"],
            _named(line)
            if "model" in line
            else f"{_named(line['first'])} → {_named(line['second'])} ({line['arm']})",
            _percent(line["first_score"]),
            _percent(line["second_score"]),
            _percent(line["difference"], sign=True),
            _span(line["interval"]),
            "–" if line["p"] is None else f"{line['p']:.3f}",
            "–" if line["seconds_ratio"] is None else f"× {line['seconds_ratio']:.2f}",
            line["verdict"],
        )
        for line in lines
    ]


def _named(subject: Mapping[str, Any]) -> str:
    name = " ".join(str(part) for part in (subject["model"], subject["quantization"]) if part)
    return f"{subject['stack']}: {name}"


def _split(lines: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            line["role"],
            line["suite"],
            f"{_named(line['first'])} → {_named(line['second'])}",
            _percent(line["difference"], sign=True),
            f"{_percent(line['of_model'], sign=True)} ({_span(line['model_interval'])})",
            f"{_percent(line['of_orchestration'], sign=True)} "
            f"({_span(line['orchestration_interval'])})",
        )
        for line in lines
    ]


def _sections(body: Mapping[str, Any]) -> list[Section]:
    made: list[Section] = [("Figures", _HEAD, _table(body["rows"]))]
    if body["verdicts"]:
        judged: list[tuple[str, ...]] = [
            (line["role"], _named(line), line["why"], line["verdict"]) for line in body["verdicts"]
        ]
        made.append(("Verdicts", _VERDICT, judged))
    if body["orchestration"]:
        title = "From the bare model to Rolecall around it"
        made.append((title, _CHANGE, _changes(body["orchestration"])))
    if body["compared"]:
        title = "From the first model of a role to the others"
        made.append((title, _CHANGE, _changes(body["compared"])))
    if body["attribution"]:
        title = "What of the difference is the model's, and what Rolecall's"
        made.append((title, _SPLIT, _split(body["attribution"])))
    return made


def _notes(body: Mapping[str, Any]) -> list[str]:
    repeat = body["repeat"]
    return [
        _NOTE,
        *(
            [
                f"Beside run {repeat['run']}, which asked the same: {repeat['identical']} of "
                f"{repeat['pairs']} answers are identical, {repeat['same_score']} scores."
            ]
            if repeat
            else []
        ),
        *(f"Left out: {told}" for told in body["left_out"]),
        *(f"Not answered: {told}" for told in body["problems"]),
    ]
