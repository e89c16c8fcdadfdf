"""Runs and shows evaluations and explanations for ``rolecall router``."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rolecall import bridge
from rolecall.cli.output import out, printable, styled, table
from rolecall.cli.router_plots import check_plots, write_plots
from rolecall.config.load import load_stack
from rolecall.config.schema import ENCODING, Stack
from rolecall.errors import DataError, UsageError
from rolecall.models.client import LocalLLMClient
from rolecall.progress import Progress
from rolecall.routing.encoder.bands import threshold_for
from rolecall.routing.encoder.versions import current_artefact
from rolecall.routing.evaluation import FEW, Outcome, by, measure, outcomes
from rolecall.routing.examples import Example, read_examples, shipped
from rolecall.routing.explanation import Explanation
from rolecall.routing.strategies import make_strategy
from rolecall.routing.training.encoded import Sets
from rolecall.routing.training.sources import LeftOut, leave_one_source_out

_CUT = 110
_STRATEGIES = ("hybrid", "encoder", "llm")


def run_evaluation(
    data: Path | None,
    strategy: str | None,
    stack: str | None,
    limit: int | None,
    progress: Progress,
    plot: Path | None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The figures, and the wrong decisions, the surest first.

    Raises:
        UsageError: there is no such strategy, or the plots cannot be written there.
        DataError: the file of labelled prompts is wrong.
        ArtefactDamaged: the encoder cannot be used: nothing else is measured in its place.
    """
    if strategy is not None and strategy not in _STRATEGIES:
        raise UsageError(f"there is no strategy {strategy!r}; {', '.join(_STRATEGIES)}")
    overrides = {"routing.strategy": strategy} if strategy else None
    if plot is not None:
        check_plots(plot)
    loaded = load_stack(stack, overrides)
    examples = shipped("test") if data is None else read_examples(data)
    _check_labels(examples, data, loaded)
    if limit is not None and limit < len(examples):
        examples = random.Random(0).sample(examples, limit)  # noqa: S311 - not for secrets
    chosen = loaded.settings.routing.strategy
    found = bridge.run(_outcomes(loaded, examples, progress))
    figures = measure(found)
    figures["strategy"] = chosen
    figures["decided_by"] = {
        name: sum(outcome.strategy == name for outcome in found)
        for name in sorted({outcome.strategy for outcome in found})
    }
    if chosen in ENCODING:
        figures["guarantee"] = _guarantee(loaded.settings.routing.max_error, figures)
    if any(example.source for example in examples):
        figures["sources"] = by(found, lambda outcome: outcome.example.source or "–")
        figures["kinds"] = by(found, lambda outcome: outcome.example.kind)
    if plot is not None:
        figures["plots"] = [str(path) for path in write_plots(found, figures, plot)]
    wrong = sorted((o for o in found if not o.correct), key=lambda o: -o.confidence)
    return figures, [_wrong(outcome) for outcome in wrong]


async def _outcomes(stack: Stack, examples: Sequence[Example], progress: Progress) -> list[Outcome]:
    client = LocalLLMClient(stack, progress=progress)
    try:
        strategy = make_strategy(client)
        if stack.settings.routing.strategy in ENCODING:
            current_artefact()  # raises when damaged
        await strategy.decide("hello")  # the first decision also loads
        total = len(examples)
        with progress.step("Routing", total=total, unit="prompts") as advance:

            def counted() -> Iterator[Example]:
                for example in examples:
                    yield example
                    advance(1)

            return await outcomes(strategy, counted())
    finally:
        await client.aclose()


def _check_labels(examples: Sequence[Example], data: Path | None, stack: Stack) -> None:
    labels = [role.label for role in stack.roles.values()]
    unknown = Counter(example.label for example in examples if example.label not in labels)
    if data is not None and unknown:
        listed = ", ".join(f"{label} ({n})" for label, n in sorted(unknown.items()))
        raise DataError(
            f"{data}: stack {stack.name} has no role for these labels: {listed}. "
            f"Its labels: {', '.join(labels)}"
        )


def _guarantee(max_error: float, figures: dict[str, Any]) -> dict[str, Any]:
    error = figures["answered_error"]
    return {
        "max_error": max_error,
        "sure_from": threshold_for(current_artefact().bands, max_error),
        "answered": 1.0 - figures["abstained"],
        "error": error,
        "held": error is None or error <= max_error,
    }


def _wrong(outcome: Outcome) -> dict[str, Any]:
    return {
        "prompt": outcome.example.prompt,
        "context": list(outcome.example.context),
        "label": outcome.example.label,
        "given": outcome.label,
        "confidence": outcome.confidence,
        "strategy": outcome.strategy,
    }


def print_figures(figures: dict[str, Any], wrong: list[dict[str, Any]]) -> None:
    """Show the figures to people."""
    low, high = figures["accuracy_interval"]
    out.print(
        styled(f"accuracy {figures['accuracy']:.3f}", "bold"),
        f"({low:.3f} to {high:.3f}) on {figures['n']} prompts, strategy {figures['strategy']}",
    )
    shown = table("", "")
    shown.show_header = False
    ece_low, ece_high = figures["ece_interval"]
    shown.add_row("macro-F1", f"{figures['macro_f1']:.3f}")
    shown.add_row(
        "calibration error",
        f"{figures['ece']:.3f} ({ece_low:.3f} to {ece_high:.3f}): how far stated confidences are "
        "from the truth"
        if figures["n"] >= FEW
        else f"too few prompts to tell ({figures['n']})",
    )
    auroc = figures["auroc"]
    shown.add_row(
        "confidence AUROC",
        "–" if auroc is None else f"{auroc:.3f}: a right decision is surer than a wrong one",
    )
    covered = ", ".join(f"{c['accuracy']:.3f} at {c['coverage']:.0%}" for c in figures["coverage"])
    shown.add_row("accuracy at coverage", covered)
    shown.add_row("labels dealt by chance", f"accuracy {figures['control_accuracy']:.3f}")
    shown.add_row(
        "mistakes",
        f"{figures['harmful_error']:.3f} hard ones for the small model, "
        f"{figures['cheap_error']:.3f} simple ones for a large one; mean cost "
        f"{figures['cost']:.3f} (3, 1, others 2)",
    )
    latency, words = figures["latency_ms"], figures["words"]
    shown.add_row(
        "latency",
        f"p50 {latency['p50']:.1f} ms, p95 {latency['p95']:.1f} ms "
        f"(prompts of {words['p50']:.0f} words, p95 {words['p95']:.0f})",
    )
    by_strategy = ", ".join(f"{name} {n}" for name, n in figures["decided_by"].items())
    shown.add_row("decided by", by_strategy)
    if "guarantee" in figures:
        shown.add_row("guarantee", _guarantee_line(figures["guarantee"]))
    out.print(shown)
    _print_classes(figures)
    for title in ("sources", "kinds"):
        if title in figures:
            groups = table(title[:-1], "n", "accuracy", "ECE")
            for name, row in figures[title].items():
                low, high = row["accuracy_interval"]
                accuracy = f"{row['accuracy']:.3f} ({low:.3f} to {high:.3f})"
                error = f"{row['ece']:.3f}" if row["n"] >= FEW else "–"
                groups.add_row(name, str(row["n"]), accuracy, error)
            out.print(groups)
    for path in figures.get("plots", []):
        out.print(path)
    for row in wrong:
        said = f"{row['label']} was given {row['given']} ({row['confidence']:.2f})"
        out.print(styled(said, "yellow"), printable(_one_line(row["prompt"])))


def sources_left_out(progress: Progress) -> list[LeftOut]:
    """Every shipped style, measured by a head that was not trained on it."""
    artefact = current_artefact()
    sets = Sets(artefact.encoder, progress, name=artefact.encoder_sha256)
    with progress.step("Training a head without each style"):
        return leave_one_source_out(sets)


def print_sources(found: list[LeftOut]) -> None:
    """Show them to people."""
    shown = table("style left out", "n", "accuracy", "ECE", "")
    for row in found:
        note = "the encoder has seen it" if row.seen_by_encoder else "never seen"
        shown.add_row(row.source, str(row.n), f"{row.accuracy:.3f}", f"{row.ece:.3f}", note)
    out.print(shown)


def _guarantee_line(found: dict[str, Any]) -> str:
    if found["error"] is None:
        return f"max_error {found['max_error']} cannot be promised: it abstains on everything"
    held = "held" if found["held"] else "not held"
    return (
        f"max_error {found['max_error']}: {held}, error {found['error']:.3f} on the "
        f"{found['answered']:.0%} it is sure of (from {found['sure_from']:.3f})"
    )


def _print_classes(figures: dict[str, Any]) -> None:
    labels = figures["confusion"]["labels"]
    classes = table("label", "precision", "recall", "F1", *(f"→ {label}" for label in labels))
    for label, counts in zip(labels, figures["confusion"]["rows_are_truth"], strict=True):
        row = figures["per_class"][label]
        scores = [f"{row[key]:.3f}" for key in ("precision", "recall", "f1")]
        classes.add_row(label, *scores, *map(str, counts))
    out.print(classes)


def print_explanation(found: Explanation) -> None:
    """Show an explanation to people."""
    sure = "sure" if found.sure else "not sure enough to decide alone"
    if found.sure_from > 1:
        sure = "never sure enough for max_error"
    out.print(
        styled(f"{found.label} {found.confidence:.3f}", "bold"),
        f"{sure} (decides alone from {min(found.sure_from, 1):.3f}; router {found.version})",
    )
    for label, value in found.probabilities.items():
        out.print(f"  {label:<12} {value:.3f} " + styled("█" * round(value * 40), "cyan").plain)
    pulls = table("what pulls", "log-odds")
    for name, value in found.pulls.items():
        pulls.add_row(name, f"{value:+.2f}")
    out.print(pulls)
    if found.passages:
        passages = table("without", "the probability changes by")
        for passage in found.passages:
            passages.add_row(printable(_one_line(passage.text)), f"{passage.change:+.3f}")
        out.print(passages)
    nearest = table("nearest", "label", "example")
    for neighbour in found.nearest:
        text = printable(_one_line(neighbour.prompt))
        nearest.add_row(f"{neighbour.likeness:.2f}", neighbour.label, text)
    out.print(nearest)


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _CUT else line[: _CUT - 1] + "…"
