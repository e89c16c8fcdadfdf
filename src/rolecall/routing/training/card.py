"""The model card of a router version (Mitchell et al. 2019, arXiv 1810.03993)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rolecall.routing.encoder.artefact import READ
from rolecall.routing.encoder.bands import DELTA, threshold_for

if TYPE_CHECKING:
    from rolecall.routing.training.build import Fitted
    from rolecall.routing.training.encoded import Sets

CARD = "CARD.md"

_MAX_ERRORS = (0.02, 0.05, 0.1)


def card(
    version: str,
    sets: Sets,
    new: Fitted,
    measured: dict[str, Any],
    recipe: str,
    consult: dict[str, float],
) -> str:
    """The card as Markdown."""
    splits = {
        "train": sets.train.examples,
        "calibration": sets.calibration.examples,
        "test": sets.test.examples,
    }
    sizes = "\n".join(
        f"| {name} | {len(examples)} | {_counts(e.label for e in examples)} | "
        f"{', '.join(sorted({e.source for e in examples}))} |"
        for name, examples in splits.items()
    )
    corrections = len(sets.corrections.examples) if sets.corrections else 0
    low, high = measured["ece_interval"]
    at_80 = next(c["accuracy"] for c in measured["coverage"] if c["coverage"] == 0.8)
    auroc = "–" if measured["auroc"] is None else f"{measured['auroc']:.3f}"
    sources = "\n".join(
        f"| {name} | {row['n']} | {row['accuracy']:.3f} | {row['ece']:.3f} |"
        for name, row in [*measured["sources"].items(), *measured["kinds"].items()]
    )
    bands = "\n".join(_band_line(new, max_error) for max_error in _MAX_ERRORS)
    roles = new.roles_measured
    return f"""# Router {version}

Decides who answers a message: `HANDLE` (the router model itself), `REASONING` or `CODING`.

- **Encoder**: all-MiniLM-L6-v2 (Apache-2.0), fine-tuned, int8, ONNX. {recipe}
- **Spelling**: a word that neither its vocabulary nor the training messages know is read as the
  commonest word of those messages that is one slip away. The encoder was fine-tuned on messages
  as they stand, head and calibration were fitted on messages so mended.
- **Head**: multinomial logistic regression over the class vector, the mean before the last layer
  and {sets.train.rows.shape[1] - READ} surface features; temperature
  {new.head.temperature:.2f} and one offset per label.
- **Intended use**: English messages to an assistant. Not for deciding anything about people.

## Data

| split | examples | labels | styles |
|---|---:|---|---|
{sizes}

Corrections mixed in: {corrections}. See the datasheet beside the data.

## On styles that were neither trained nor calibrated on

Accuracy **{measured["accuracy"]:.3f}**, macro-F1 {measured["macro_f1"]:.3f}, calibration error
(ECE, 10 bins) **{measured["ece"]:.3f}** (95 % interval {low:.3f} to {high:.3f}), AUROC of the
confidence {auroc}, accuracy on the surest 80 %: **{at_80:.3f}**. The same labels
dealt out at random: {measured["control_accuracy"]:.3f}.

Hard messages that the small model would get (the harmful mistake):
{measured["harmful_error"]:.3f}; simple ones that a large model would get (the cheap one):
{measured["cheap_error"]:.3f}; mean cost (3, 1, and 2 for other mistakes) {measured["cost"]:.3f}.

| style or kind | n | accuracy | ECE |
|---|---:|---:|---:|
{sources}

## Abstention

With probability {1 - DELTA:.0%} over the draw of the calibration examples, no more than
`max_error` of the messages that the encoder decides alone are decided wrongly, for messages
drawn like the calibration ones; on no calibration style by itself were more of them wrong.
Nothing is promised for other messages, nor for those that it abstains on.

| max_error | sure from | decides alone (calibration) | error there | upper bound |
|---:|---:|---:|---:|---:|
{bands}

## When it is not sure

The router model may be asked. What its log-odds count, as measured on calibration examples below
the threshold of `max_error` 0.05 (0: it does not help and is not asked): {_weights(consult)}.

## The user's own roles

Five example prompts, on {roles["topics"]:.0f} simulated roles: recall
{roles["recall"]:.2f}, false alarms {roles["false_alarms"]:.3f}, AUROC {roles["auroc"]:.3f}.
"""


def _weights(consult: dict[str, float]) -> str:
    listed = ", ".join(f"{model} {weight:g}" for model, weight in sorted(consult.items()))
    return listed or "none was measured"


def _counts(labels: Any) -> str:
    return ", ".join(f"{label} {n}" for label, n in sorted(Counter(labels).items()))


def _band_line(new: Fitted, max_error: float) -> str:
    sure_from = threshold_for(new.bands, max_error)
    band = next((band for band in new.bands if band.threshold == sure_from), None)
    if band is None:
        return f"| {max_error} | never | 0 % | – | – |"
    return (
        f"| {max_error} | {sure_from:.3f} | {band.coverage:.0%} | {band.error:.3f} | "
        f"{band.bound:.3f} |"
    )
