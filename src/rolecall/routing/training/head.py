"""Fits the head, calibrates it, and certifies its bands. Seconds, with scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rolecall.routing.encoder.artefact import RoleFit
from rolecall.routing.encoder.bands import Band, walk
from rolecall.routing.encoder.head import Head, softmax
from rolecall.routing.encoder.own_roles import likeness
from rolecall.routing.examples import LABELS, Example
from rolecall.routing.training.encoded import Prepared

Array = NDArray[np.float32]

_REGULARISATION = 0.001  # inverse strength, on standardised inputs
_PENALTY = 1e-3
_SHOTS, _STRANGERS, _LEAST_IN_TOPIC = 5, 3, 15

# Domains of the shipped examples that could each be a role of somebody's.
_TOPICS = (
    {"law", "legal", "court", "contracts", "immigration", "landlord"},
    {"clinic", "pharmacy", "health", "medicine", "nurse", "nursing"},
    {"cooking", "recipes", "kitchen", "baking", "food"},
    {"travel", "hotel"},
    {"finance", "bank", "bank app", "money", "insurance"},
    {"gardening", "garden", "farming"},
    {"chess"},
    {"music", "songs"},
    {"chemistry"},
    {"astronomy"},
    {"fitness", "gym", "sport", "sports"},
    {"estate agent", "housing"},
    {"hr", "career", "job", "job portal"},
    {"poetry"},
    {"religion", "church"},
    {"pets", "animals", "vet"},
    {"photography", "photo app"},
    {"games", "minecraft", "gaming"},
)


def fit_head(rows: Array, labels: NDArray[np.int64], weights: Array | None = None) -> Head:
    """Multinomial logistic regression on standardised inputs, folded back to the raw ones.

    Args:
        rows: shape ``(n, d)``.
        labels: indices into :data:`LABELS`, shape ``(n,)``.
        weights: of each row, shape ``(n,)``.
    """
    from sklearn.linear_model import LogisticRegression

    centre, scale = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    model = LogisticRegression(C=_REGULARISATION, max_iter=1000)
    model.fit((rows - centre) / scale, labels, sample_weight=weights)
    folded = np.asarray(model.coef_ / scale, np.float32)
    bias = np.asarray(model.intercept_ - folded @ centre, np.float32)
    return Head(LABELS, folded, bias)


def calibrate(head: Head, rows: Array, labels: NDArray[np.int64]) -> Head:
    """Temperature and offsets that maximise the likelihood of unseen examples."""
    from scipy.optimize import minimize

    raw = np.asarray(Head(head.labels, head.weights, head.bias).logits(rows), np.float64)

    def loss(values: NDArray[np.float64]) -> float:
        scaled = raw / np.exp(values[0]) + values[1:]
        shifted = scaled - scaled.max(axis=1, keepdims=True)
        picked = shifted[np.arange(len(labels)), labels]
        return float(
            (np.log(np.exp(shifted).sum(axis=1)) - picked).mean()
            + _PENALTY * (values[1:] ** 2).sum()
        )

    found = minimize(loss, np.zeros(1 + len(head.labels)), method="L-BFGS-B").x
    offsets = np.asarray(found[1:] - found[1:].mean(), np.float32)
    return Head(head.labels, head.weights, head.bias, float(np.exp(found[0])), offsets)


def certify(head: Head, on: Prepared) -> tuple[list[Band], list[float]]:
    """Bands on calibration examples, and the deciles of the confidences on them."""
    probabilities = softmax(head.logits(on.rows)).astype(np.float64)
    confidences = probabilities.max(axis=1)
    deciles = np.quantile(confidences, np.linspace(0, 1, 11))
    styles = np.asarray([example.source for example in on.examples])
    bands = walk(confidences, probabilities.argmax(axis=1) == on.labels, styles)
    return bands, [round(float(value), 6) for value in deciles]


def fit_roles(examples: Sequence[Example], sentences: Array) -> tuple[RoleFit, dict[str, float]]:
    """Learn when a message belongs to a user's own role, from simulated ones.

    Each topic plays a role that is described by five of its prompts; the rest of it should be
    routed there, three times as many other prompts should not. Every topic is measured by a curve
    that was fitted on the others.

    Args:
        examples: labelled prompts with their domains.
        sentences: their sentence vectors, shape ``(n, 384)``.

    Returns:
        The curve, and the means over topics of ``recall`` of what belongs to the role,
        ``false_alarms`` among what does not, and ``auroc``; ``topics`` is their number.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    chance = np.random.default_rng(0)
    found: list[tuple[NDArray[np.float64], NDArray[np.bool_]]] = []
    for domains in _TOPICS:
        own = np.asarray([i for i, example in enumerate(examples) if example.domain in domains])
        if len(own) < _LEAST_IN_TOPIC:
            continue
        own = chance.permutation(own)
        shots, members = own[:_SHOTS], own[_SHOTS:]
        outside = np.setdiff1d(np.arange(len(examples)), own)
        count = min(_STRANGERS * len(members), len(outside))
        strangers = chance.choice(outside, size=count, replace=False)
        features = [
            likeness(sentences[shots], sentences[outside[outside != query]], sentences[query])
            for query in [*members, *strangers]
        ]
        belongs = np.arange(len(features)) < len(members)
        found.append((np.asarray(features), belongs))

    def fitted(topics: Sequence[tuple[NDArray[np.float64], NDArray[np.bool_]]]) -> Any:
        model = LogisticRegression(C=100.0, max_iter=1000)
        return model.fit(
            np.concatenate([features for features, _ in topics]),
            np.concatenate([belongs for _, belongs in topics]),
        )

    figures = []
    for index, (rows, belongs) in enumerate(found):
        scores = fitted([*found[:index], *found[index + 1 :]]).decision_function(rows)
        figures.append(
            (
                (scores[belongs] > 0).mean(),
                (scores[~belongs] > 0).mean(),
                roc_auc_score(belongs, scores),
            )
        )
    model = fitted(found)
    weights = [round(float(value), 4) for value in (*model.coef_[0], model.intercept_[0])]
    recall, false_alarms, auroc = (float(value) for value in np.mean(figures, axis=0))
    return RoleFit(*weights), {
        "recall": recall,
        "false_alarms": false_alarms,
        "auroc": auroc,
        "topics": len(found),
    }
