"""Why the encoder decides as it does: probabilities, pulls, passages, nearest examples."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from rolecall.config.schema import Role
from rolecall.errors import DataError
from rolecall.routing.corrections import corrections
from rolecall.routing.encoder.artefact import Artefact
from rolecall.routing.encoder.bands import threshold_for
from rolecall.routing.encoder.classifier import Classifier
from rolecall.routing.encoder.own_roles import prototypes
from rolecall.routing.examples import shipped

_NEAREST = 5
_MOST_PASSAGES = 12
_LEAST_SHIFT = 0.005
_PASSAGE_ENDS = re.compile(r"(?<=[.!?;:\n])\s+|\n+|,\s+")


@dataclass(frozen=True)
class Passage:
    """A part of the message, and by how much the probability changes when it is left out."""

    text: str
    change: float


@dataclass(frozen=True)
class Neighbour:
    """A labelled example that is about the same thing: cosine, label, text."""

    likeness: float
    label: str
    prompt: str


@dataclass(frozen=True)
class Explanation:
    """What drove one decision.

    Attributes:
        probabilities: by label.
        sure_from: the confidence from which the encoder decides alone.
        sure: whether it does here.
        pulls: log-odds for the first label over the second, by feature.
        passages: parts of the message by how much they matter, the strongest first.
        nearest: the nearest labelled examples.
        version: of the router.
    """

    label: str
    confidence: float
    probabilities: dict[str, float]
    sure_from: float
    sure: bool
    reason: str
    pulls: dict[str, float]
    passages: list[Passage]
    nearest: list[Neighbour]
    version: str
    n_tokens: int

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def explain(
    artefact: Artefact,
    roles: Sequence[Role],
    max_error: float,
    prompt: str,
    context: Sequence[str] = (),
) -> Explanation:
    """Explain how a message would be routed by the encoder."""
    classifier = Classifier(artefact, roles)
    verdict = classifier.classify(prompt, context)
    sure_from = threshold_for(artefact.bands, max_error)
    ranked = sorted(verdict.pulls.items(), key=lambda pull: -abs(pull[1]))
    return Explanation(
        label=verdict.label,
        confidence=verdict.confidence,
        probabilities=verdict.probabilities,
        sure_from=sure_from,
        sure=verdict.confidence >= sure_from,
        reason=verdict.reason,
        pulls={name: round(value, 3) for name, value in ranked if abs(value) >= _LEAST_SHIFT},
        passages=_passages(classifier, prompt, context, verdict.label, verdict.confidence),
        nearest=_nearest(artefact, verdict.encoded.sentence),
        version=artefact.version,
        n_tokens=verdict.encoded.n_tokens,
    )


def own_examples_found(artefact: Artefact, roles: Sequence[Role], role: Role) -> tuple[int, int]:
    """How many of a role's own examples are routed to it when each is left out in turn."""
    found = 0
    for index, example in enumerate(role.examples):
        fewer = Role(
            role.name,
            role.prompt,
            role.description,
            (*role.examples[:index], *role.examples[index + 1 :]),
        )
        if not len(prototypes(artefact.encoder, fewer)):
            continue
        others = [fewer if other.name == role.name else other for other in roles]
        found += Classifier(artefact, others).classify(example).label == role.label
    return found, len(role.examples)


def _passages(
    classifier: Classifier, prompt: str, context: Sequence[str], label: str, confidence: float
) -> list[Passage]:
    """Leave each passage out in turn (occlusion: Zeiler and Fergus 2014, arXiv 1311.2901)."""
    cuts = [0, *(m.end() for m in _PASSAGE_ENDS.finditer(prompt)), len(prompt)]
    spans = [(a, b) for a, b in pairwise(cuts) if prompt[a:b].strip()]
    if len(spans) < 2:
        words = list(re.finditer(r"\S+", prompt))
        spans = [(word.start(), word.end()) for word in words] if len(words) > 1 else []
    found = []
    for start, end in spans[:_MOST_PASSAGES]:
        without = prompt[:start] + prompt[end:]
        left = classifier.classify(without, context).probabilities.get(label, 0.0)
        found.append(Passage(prompt[start:end].strip(), round(left - confidence, 4)))
    if context:
        left = classifier.classify(prompt).probabilities.get(label, 0.0)
        found.append(Passage("(the earlier messages)", round(left - confidence, 4)))
    ranked = sorted(found, key=lambda passage: -abs(passage.change))
    return [passage for passage in ranked if abs(passage.change) >= _LEAST_SHIFT]


def _nearest(artefact: Artefact, sentence: np.ndarray[Any, Any]) -> list[Neighbour]:
    ids, vectors = artefact.nearest_vectors()
    texts = {example.id: example for example in shipped("train")}
    with suppress(DataError):  # nearest examples do without corrections that cannot be read
        texts |= {example.id: example for example in corrections()}
    found = []
    for index in np.argsort(-(vectors @ sentence)):
        example = texts.get(ids[index])
        if example is not None:
            likeness = round(float(vectors[index] @ sentence), 4)
            found.append(Neighbour(likeness, example.label, example.prompt))
        if len(found) == _NEAREST:
            break
    return found
