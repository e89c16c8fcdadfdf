"""Plots of an evaluation: reliability diagram, risk-coverage curve, confusion matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from rolecall.database_errors import file_error
from rolecall.errors import ConfigError, UsageError
from rolecall.routing.evaluation import Outcome

_SIZE = (5.0, 4.2)
_BINS = 10


def check_plots(folder: Path) -> None:
    """Whether plots can be written there, asked before the work is done.

    Raises:
        ConfigError: matplotlib is not installed.
        UsageError: there is a file of that name.
    """
    if find_spec("matplotlib") is None:
        raise ConfigError('matplotlib is not installed: pip install "rolecall[plots]"')
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; plots go into a folder")


def write_plots(found: Sequence[Outcome], figures: dict[str, Any], folder: Path) -> list[Path]:
    """Write ``reliability.png``, ``risk_coverage.png`` and ``confusion.png``.

    Raises:
        StateError: the folder cannot be written to.
    """
    from matplotlib.figure import Figure

    correct = np.asarray([outcome.correct for outcome in found])
    confidences = np.asarray([outcome.confidence for outcome in found])
    drawings: dict[str, Callable[[Any], None]] = {
        "reliability.png": lambda axes: _reliability(axes, correct, confidences, figures["ece"]),
        "risk_coverage.png": lambda axes: _risk_coverage(axes, correct, confidences),
        "confusion.png": lambda axes: _confusion(axes, figures["confusion"]),
    }
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, draw in drawings.items():
            figure = Figure(figsize=_SIZE, layout="constrained")
            draw(figure.add_subplot())
            figure.savefig(folder / name, dpi=120)
            written.append(folder / name)
    except OSError as error:
        raise file_error("write", folder, error) from error
    return written


def _reliability(axes: Any, correct: Any, confidences: Any, ece: float) -> None:
    bins = np.minimum((confidences * _BINS).astype(int), _BINS - 1)
    present = np.unique(bins)
    means = [float(confidences[bins == b].mean()) for b in present]
    rates = [float(correct[bins == b].mean()) for b in present]
    sizes = [float((bins == b).mean()) * 600 + 10 for b in present]
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.plot(means, rates, color="C0", linewidth=1)
    axes.scatter(means, rates, s=sizes, color="C0", alpha=0.6)
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel="confidence",
        ylabel="share that is right",
        title=f"Reliability (ECE {ece:.3f})",
    )


def _risk_coverage(axes: Any, correct: Any, confidences: Any) -> None:
    ranked = correct[np.argsort(-confidences, kind="stable")]
    count = np.arange(1, len(ranked) + 1)
    axes.plot(count / len(ranked), 1 - np.cumsum(ranked) / count)
    axes.axhline(1 - correct.mean(), color="0.7", linewidth=1)
    axes.set(xlim=(0, 1), xlabel="share decided", ylabel="error among it", title="Risk–coverage")
    axes.set_ylim(bottom=0)


def _confusion(axes: Any, confusion: dict[str, Any]) -> None:
    labels = confusion["labels"]
    counts = np.asarray(confusion["rows_are_truth"])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=colour)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="given", ylabel="should be", title="Decisions")
