"""What changed between two sets of results, on the cases that both answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from rolecall.bench.figures import difference_interval, holm, mcnemar, ratio_interval
from rolecall.bench.store import BenchStore
from rolecall.errors import UsageError

Row = Mapping[str, Any]
_MOST_LISTED = 10


def compare(first: Sequence[Row], second: Sequence[Row]) -> list[dict[str, Any]]:
    """One line per role and suite of what both have: scores paired by case.

    Returns:
        ``role, suite, pairs, identical`` (answers that are equal),
        `` first_score, second_score, difference, interval, better, worse`` (case
        ids, at most ten), ``p, significant, verdict`` (``better``, ``worse``, ``no significant
        difference`` or ``nothing to compare``), and ``seconds_ratio, tokens_ratio`` with their
        intervals: the median of second over first, ``None`` where one has no such figure.
    """
    lines: list[dict[str, Any]] = []
    for role, suite in dict.fromkeys((row["role"], row["suite"]) for row in first):
        pairs = _pairs(role, suite, first, second)
        if not pairs:
            continue
        scored = [(a, b) for a, b in pairs if a["score"] is not None and b["score"] is not None]
        line: dict[str, Any] = {"role": role, "suite": suite, "pairs": len(scored)}
        line["identical"] = sum(a["answer"] == b["answer"] for a, b in pairs)
        line |= _scores(scored) if scored else _NOTHING
        line["seconds_ratio"], line["seconds_interval"] = _ratio(pairs, "seconds")
        line["tokens_ratio"], line["tokens_interval"] = _ratio(pairs, "output_tokens")
        lines.append(line)
    judged = [line for line in lines if line["p"] is not None]
    for line, kept in zip(judged, holm([line["p"] for line in judged]), strict=True):
        line["significant"] = kept
        if kept:
            line["verdict"] = "better" if line["difference"] > 0 else "worse"
    return lines


_NOTHING: dict[str, Any] = {
    "first_score": None,
    "second_score": None,
    "difference": None,
    "interval": None,
    "better": [],
    "worse": [],
    "p": None,
    "significant": False,
    "verdict": "nothing to compare",
}


def _scores(scored: Sequence[tuple[Row, Row]]) -> dict[str, Any]:
    first, second = [a["score"] for a, _ in scored], [b["score"] for _, b in scored]
    return {
        "first_score": mean(first),
        "second_score": mean(second),
        "difference": mean(second) - mean(first),
        "interval": difference_interval(first, second),
        "better": [b["case_id"] for a, b in scored if b["score"] > a["score"]][:_MOST_LISTED],
        "worse": [b["case_id"] for a, b in scored if b["score"] < a["score"]][:_MOST_LISTED],
        "p": mcnemar(first, second),
        "significant": False,
        "verdict": "no significant difference",
    }


def _pairs(
    role: str, suite: str, first: Sequence[Row], second: Sequence[Row]
) -> list[tuple[Row, Row]]:
    def answered(rows: Sequence[Row]) -> dict[str, Row]:
        return {
            row["case_digest"]: row
            for row in rows
            if (row["role"], row["suite"]) == (role, suite) and row["status"] != "error"
        }

    others = answered(second)
    return [(row, others[digest]) for digest, row in answered(first).items() if digest in others]


def _ratio(
    pairs: Sequence[tuple[Row, Row]], name: str
) -> tuple[float, list[float]] | tuple[None, None]:
    both = [(a[name], b[name]) for a, b in pairs if a[name] and b[name]]
    if not both:
        return None, None
    return ratio_interval([a for a, _ in both], [b for _, b in both])


def side(store: BenchStore, text: str, *, arm: str = "rolecall") -> tuple[str, list[Row]]:
    """The results that a user names: ``RUN``, ``STACK`` (its latest run that has
    answers of it), each with ``@MODEL``.

    ``last`` is the latest run; ``@MODEL@QUANTIZATION`` tells quantizations of one model. Of a run
    with several stacks the first counts, of a role with several models the first asked, unless
    they are named.

    Returns:
        What it came to, in words, and the rows.

    Raises:
        UsageError: there is no such run, stack or model.
    """
    name, _, model = text.partition("@")
    numbered = store.named(name)
    run = store.latest_of(name) if numbered is None else numbered
    if run is None:
        raise UsageError(
            f"there is no run or stack {name!r} among the results; "
            "rolecall bench list shows the runs"
        )
    rows: list[Row] = [row for row in store.results(run) if row["arm"] == arm]
    stack = name if numbered is None else next((row["stack"] for row in rows), "")
    rows = [row for row in rows if row["stack"] == stack and model in {"", *_names(row)}]
    if not rows:
        raise UsageError(f"run {run} has no results for {text!r}")
    firsts: dict[str, tuple[Any, ...]] = {}
    for row in rows:
        firsts.setdefault(row["role"], _subject(row))
    rows = [row for row in rows if firsts[row["role"]] == _subject(row)]
    shown = ", ".join(dict.fromkeys(_names(row)[-1] for row in rows))
    return f"run {run}, stack {stack} ({shown})", rows


def _subject(row: Row) -> tuple[Any, ...]:
    return row["model"], row["quantization"], row["endpoint"]


def _names(row: Row) -> list[str]:
    """What a user may call the model: its id, with its quantization where one is known."""
    model, quantization = str(row["model"]), row["quantization"]
    return [model, f"{model}@{quantization}"] if quantization else [model]
