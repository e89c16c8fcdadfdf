"""A run as a report: markdown, or one HTML file that opens offline. Names are escaped."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rolecall.bench.charts import bars, scatter
from rolecall.errors import StateError, UsageError

_FORMS = (".html", ".md")
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0;font-size:14px}
th,td{text-align:left;padding:.25rem .7rem;border-bottom:1px solid #ddd}
figure{margin:1.5rem 0}svg{max-width:100%;height:auto}
.better,.ok{color:#176b2c}.weak{color:#8a5a00}.worse,.unfit{color:#a11}
"""
_HEAD = (
    *("role", "suite", "model", "way", "score", "95 %", "cases"),
    *("first token", "tokens/s", "tokens", "time", "memory"),
)
_CHANGE = ("role", "suite", "model", "before", "after", "change", "95 %", "p", "time", "verdict")
_CLASSES = frozenset({"better", "worse", "ok", "weak", "unfit"})
_VERDICT = ("role", "model", "why", "verdict")
_SPLIT = ("role", "suite", "models", "change", "of the model", "of Rolecall")
_Section = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
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
    if path.suffix not in _FORMS:
        raise UsageError(f"--report {path}: expected a file that ends in {' or '.join(_FORMS)}")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--report {path}: there is no folder {path.absolute().parent}")


def write_report(body: Mapping[str, Any], path: Path) -> None:
    """Write the figures of a run. Plots of a markdown report stand beside it as SVG files.

    Raises:
        StateError: it cannot be written.
    """
    plots = _plots(body["rows"])
    try:
        if path.suffix == ".html":
            path.write_text(_html(body, plots), encoding="utf-8")
            return
        names = {}
        for title, svg in plots.items():
            file = path.with_name(f"{path.stem}-{title.split()[0].lower()}.svg")
            file.write_text(svg, encoding="utf-8")
            names[title] = file.name
        path.write_text(_markdown(body, names), encoding="utf-8")
    except OSError as error:
        raise StateError(f"cannot write {path}: {error.strerror or error}") from error


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


def _sections(body: Mapping[str, Any]) -> list[_Section]:
    made: list[_Section] = [("Figures", _HEAD, _table(body["rows"]))]
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


def _html(body: Mapping[str, Any], plots: Mapping[str, str]) -> str:
    parts = [f"<h1>Benchmark run {body['run']}</h1>"]
    for title, svg in plots.items():
        parts.append(f"<h2>{title}</h2><figure>{svg}</figure>")
    for title, head, rows in _sections(body):
        cells = "".join(f"<th>{name}</th>" for name in head)
        parts.append(f"<h2>{title}</h2><table><tr>{cells}</tr>")
        for row in rows:
            kind = f' class="{row[-1]}"' if row[-1] in _CLASSES else ""
            told = "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
            parts.append(f"<tr{kind}>{told}</tr>")
        parts.append("</table>")
    parts += [f"<p>{html.escape(note)}</p>" for note in _notes(body)]
    text = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>Benchmark run {body['run']}</title><style>{_STYLE}</style></head>"
        f"<body>{text}</body></html>\n"
    )


def _markdown(body: Mapping[str, Any], plots: Mapping[str, str]) -> str:
    lines = [f"# Benchmark run {body['run']}", ""]
    for title, head, rows in _sections(body):
        lines += [f"## {title}", "", _row(head), _row(["---"] * len(head))]
        lines += [*(_row([_plain(cell) for cell in row]) for row in rows), ""]
    for title, name in plots.items():
        lines += [f"## {title}", "", f"![{title}]({name.replace(' ', '%20')})", ""]
    return "\n".join([*lines, *(f"{_plain(note)}\n" for note in _notes(body))])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _plain(text: str) -> str:
    """No markup of a name counts: it is text."""
    kept = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{mark}" if mark in r"\`*_[]|#" else mark for mark in kept)
