"""Replays as a report to read."""

from __future__ import annotations

from collections.abc import Sequence

from rolecall.bench.charts import bars
from rolecall.pages import Page, Section
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

_TURNS = ("turn", "question", "decision", "likeness", "time", "tokens", "answer")
_ANSWERS = ("turn", "question", "then", "in the replay", "answer")
_FIGURES = ("figure", "value", "95 %, or of what")
_NOTE = (
    "Answers are the same where they differ in white space at most; likeness is by words and "
    "their order, without a judge: two right answers in other words are not alike. Intervals are "
    "95 %, by bootstrap over turns. Times of then were taken then, on whatever else ran."
)


def page_of_thread(comparisons: Sequence[Comparison], left_out: Sequence[str]) -> Page:
    """The turns of one thread, side by side."""
    first = comparisons[0]
    sections: list[Section] = []
    if len(comparisons) > 1:
        sections.append(("Figures", _FIGURES, list(figures_told(figures(comparisons)))))
    for one in comparisons:
        head = ("", f"then: {one.original.stack or 'stack not known'}", f"{one.replay.stack}")
        rows: list[tuple[str, ...]] = [("question", one.question, ""), *rows_of(one)]
        rows += [("note", "", note) for note in notes_of(one)]
        sections.append((f"Turn {one.turn}: {alike(one)}", head, rows))
    title = f"Thread {first.thread} replayed on {first.replay.stack}"
    return Page(title, sections, notes=[_NOTE, *(f"Left out: {told}" for told in left_out)])


def page_of_run(regression: Regression) -> Page:
    """Many threads: the figures, what changed, and the changed answers."""
    summary = regression.summary()
    sections: list[Section] = [("Figures", _FIGURES, list(figures_told(summary)))]
    if moves := summary["decisions"]["moves"]:
        counted = [(name, str(count)) for name, count in moves.items()]
        sections.append(("Decisions that changed", ("decision", "turns"), counted))
    turns = [
        (
            f"{one.thread} {one.turn}",
            one.question,
            moved(one),
            share(one.similarity),
            ratio(one.latency_ratio),
            ratio(one.tokens_ratio),
            verdict(one),
        )
        for one in regression.comparisons
    ]
    sections.append(("Turns", _TURNS, turns))
    changed = [
        (
            f"{one.thread} {one.turn}",
            one.question,
            one.original.answer or "",
            one.replay.error or one.replay.answer or "",
            verdict(one),
        )
        for one in regression.comparisons
        if verdict(one) != "same"
    ]
    if changed:
        sections.append(("Answers that changed", _ANSWERS, changed))
    return Page(
        f"Replay run {regression.run} on {regression.stack}",
        sections,
        _plots(regression),
        [_NOTE, *(f"Left out: {told}" for told in regression.left_out)],
    )


def _plots(regression: Regression) -> dict[str, str]:
    summary = regression.summary()
    decisions, answers = summary["decisions"], summary["answers"]
    shares = [
        ("decisions that stayed", decisions["kept"], decisions["interval"]),
        ("answers that stayed", answers["kept"], answers["interval"]),
        ("likeness of answers", answers["similarity"], answers["similarity_interval"]),
    ]
    drawn = [(name, value, *interval) for name, value, interval in shares if value is not None]
    return {"Shares that stayed": bars(drawn)} if drawn else {}
