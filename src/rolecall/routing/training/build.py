"""Builds a version of the router: head, calibration, bands, measurements, model card."""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rolecall.database_errors import file_error
from rolecall.routing.encoder.artefact import (
    ENCODER_FILES,
    EXAMPLES,
    FORMAT,
    ROUTER,
    Artefact,
    RoleFit,
    load_artefact,
    sha256,
)
from rolecall.routing.encoder.bands import Band, threshold_for
from rolecall.routing.encoder.head import Head
from rolecall.routing.encoder.surface import NAMES
from rolecall.routing.evaluation import Outcome, by, measure
from rolecall.routing.training.card import CARD, card
from rolecall.routing.training.encoded import Prepared, Sets, digest
from rolecall.routing.training.head import calibrate, certify, fit_head, fit_roles

Array = NDArray[np.float32]

_CORRECTION_WEIGHT = 10.0
_FOLDS = 5
_TOLERANCE = 0.005
_CERTIFIED_FOR = 0.05


@dataclass(frozen=True)
class Comparison:
    """A new version beside the one in use, on the held-out styles and on the corrections.

    Corrections are measured on those that were left out of training, in five folds.
    """

    before: dict[str, Any]
    after: dict[str, Any]
    corrections: int = 0
    corrected_before: float | None = None
    corrected_after: float | None = None
    reasons: list[str] = field(default_factory=list)

    @property
    def better(self) -> bool:
        """Whether the new version may replace the one in use."""
        return not self.reasons


@dataclass(frozen=True)
class Fitted:
    """All that is trained, beside the encoder."""

    head: Head
    bands: list[Band]
    confidences: list[float]
    role_fit: RoleFit
    roles_measured: dict[str, float]


def fit(sets: Sets, old: Artefact | None = None) -> Fitted:
    """Train on the training split and the corrections, calibrate on the calibration split.

    Args:
        sets: encoded examples.
        old: a version with the same encoder; what depends on the encoder alone is taken from it.
    """
    head = calibrate(_head(sets, sets.corrections), sets.calibration.rows, sets.calibration.labels)
    bands, deciles = certify(head, sets.calibration)
    if old is not None:
        return Fitted(head, bands, deciles, old.role_fit, old.roles_measured)
    role_fit, roles_measured = fit_roles(sets.train.examples, sets.train.sentences)
    return Fitted(head, bands, deciles, role_fit, roles_measured)


def compare(sets: Sets, old: Artefact, new: Fitted) -> Comparison:
    """Whether the new version is better than the one in use; nothing is decided in silence."""
    before = figures(old.head, old.bands, sets.test)
    after = figures(new.head, new.bands, sets.test)
    reasons = []
    if after["accuracy"] < before["accuracy"] - _TOLERANCE:
        reasons.append(
            f"accuracy on held-out styles would fall from {before['accuracy']:.3f} "
            f"to {after['accuracy']:.3f}"
        )
    if sets.corrections is None:
        return Comparison(before, after, reasons=reasons)
    was = _accuracy(old.head, sets.corrections)
    now = _cross_validated(sets)
    if now < was:
        reasons.append(
            f"corrections that it was not trained on would be decided worse: {was:.2f} → {now:.2f}"
        )
    elif now == was and after["accuracy"] < before["accuracy"]:
        reasons.append(
            f"it would decide the corrections no better, and held-out styles worse: "
            f"{before['accuracy']:.3f} → {after['accuracy']:.3f}"
        )
    return Comparison(before, after, len(sets.corrections.labels), was, now, reasons)


def figures(head: Head, bands: list[Band], on: Prepared) -> dict[str, Any]:
    """What ``rolecall router eval --strategy encoder`` says, without the latency."""
    probabilities = head.probabilities(on.rows)
    sure_from = threshold_for(bands, _CERTIFIED_FOR)
    found = [
        Outcome(
            example,
            head.labels[int(row.argmax())],
            float(row.max()),
            bool(row.max() < sure_from),
            "encoder",
            0.0,
        )
        for example, row in zip(on.examples, probabilities, strict=True)
    ]
    all_figures = measure(found)
    del all_figures["latency_ms"]
    return {
        **all_figures,
        "sources": by(found, lambda outcome: outcome.example.source),
        "kinds": by(found, lambda outcome: outcome.example.kind),
    }


def write(
    target: Path,
    version: str,
    sets: Sets,
    new: Fitted,
    measured: dict[str, Any],
    *,
    encoder_folder: Path,
    consult: dict[str, float],
    recipe: str,
    own_encoder: bool = False,
) -> Artefact:
    """Write a version into a new folder, whole or not at all, and load it back.

    Args:
        encoder_folder: where the encoder lies that it was trained on.
        consult: by router model, what its log-odds count.
        recipe: how the encoder came about, for the card.
        own_encoder: whether the encoder goes into the new folder too.

    Raises:
        StateError: it cannot be written.
    """
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    examples = [*sets.train.examples, *(sets.corrections.examples if sets.corrections else [])]
    sentences = [sets.train.sentences, *([sets.corrections.sentences] if sets.corrections else [])]
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for name in ENCODER_FILES if own_encoder else ():
            shutil.copy(encoder_folder / name, fresh / name)
        vectors = np.round(np.concatenate(sentences) * 127).astype(np.int8)
        ids = np.asarray([example.id for example in examples])
        np.savez(fresh / EXAMPLES, ids=ids, vectors=vectors)
        (fresh / CARD).write_text(
            card(version, sets, new, measured, recipe, consult), encoding="utf-8"
        )
        body = {
            "format": FORMAT,
            "version": version,
            "surface": list(NAMES),
            "head": new.head.to_json(),
            "bands": [_row(band) for band in new.bands],
            "confidences": new.confidences,
            "role_fit": vars(new.role_fit),
            "roles_measured": new.roles_measured,
            "consult": consult,
            "measured": measured,
            "data": digest(examples),
            "sha256": {
                **{name: sha256(encoder_folder / name) for name in ENCODER_FILES},
                EXAMPLES: sha256(fresh / EXAMPLES),
            },
        }
        (fresh / ROUTER).write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh.replace(target)
    except OSError as error:
        shutil.rmtree(fresh, ignore_errors=True)
        raise file_error("write", target, error) from error
    return load_artefact(target, encoder_folder)


def largest_difference(old: Artefact, new: Fitted, sets: Sets) -> float:
    """The largest difference between two heads in the probability of a held-out example."""
    gap = old.head.probabilities(sets.test.rows) - new.head.probabilities(sets.test.rows)
    return float(np.abs(gap).max())


def _head(sets: Sets, corrections: Prepared | None) -> Head:
    if corrections is None:
        return fit_head(sets.train.rows, sets.train.labels)
    weights = np.concatenate(
        [np.ones(len(sets.train.labels)), np.full(len(corrections.labels), _CORRECTION_WEIGHT)]
    )
    return fit_head(
        np.concatenate([sets.train.rows, corrections.rows]),
        np.concatenate([sets.train.labels, corrections.labels]),
        np.asarray(weights, np.float32),
    )


def _accuracy(head: Head, on: Prepared) -> float:
    return float((head.logits(on.rows).argmax(axis=1) == on.labels).mean())


def _cross_validated(sets: Sets) -> float:
    """Accuracy on corrections by heads that were not trained on them."""
    corrections = sets.corrections
    assert corrections is not None
    n = len(corrections.labels)
    folds = np.arange(n) % min(_FOLDS, n)
    right = 0
    for fold in np.unique(folds):
        inside, outside = folds != fold, folds == fold
        kept = corrections.part(inside) if inside.any() else None
        right += round(_accuracy(_head(sets, kept), corrections.part(outside)) * outside.sum())
    return right / n


def _row(band: Band) -> list[float]:
    """Rounded so that nothing below the certified threshold passes it."""
    up = math.ceil(band.threshold * 1e6) / 1e6
    return [up, *(round(value, 6) for value in (band.coverage, band.error, band.bound))]
