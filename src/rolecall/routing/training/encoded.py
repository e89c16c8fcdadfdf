"""Labelled prompts with what the encoder says of them, encoded once for each encoder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from rolecall.home import folder
from rolecall.progress import Progress
from rolecall.routing.encoder.artefact import READ
from rolecall.routing.encoder.head import rows_of
from rolecall.routing.encoder.model import Encoded, Encoder
from rolecall.routing.encoder.surface import surface
from rolecall.routing.examples import LABELS, Example, shipped

Array = NDArray[np.float32]

_SPLITS = ("train", "calibration", "test")


@dataclass(frozen=True)
class Prepared:
    """Examples with what the encoder says of them.

    Attributes:
        rows: the head's inputs, shape ``(n, d)``.
        sentences: sentence vectors, shape ``(n, 384)``.
        labels: shape ``(n,)``.
    """

    examples: list[Example]
    rows: Array
    sentences: Array
    labels: NDArray[np.int64]

    def part(self, mask: NDArray[np.bool_]) -> Prepared:
        """The examples where ``mask``, shape ``(n,)``, is true."""
        kept = [example for example, keep in zip(self.examples, mask, strict=True) if keep]
        return Prepared(kept, self.rows[mask], self.sentences[mask], self.labels[mask])


class Sets:
    """The three splits, encoded; and corrections.

    Args:
        encoder: encodes them.
        progress: encoding takes a minute or two.
        corrections: the user's own.
        name: of the encoder; what it says of the shipped examples is kept under this name in
            ``ROLECALL_HOME/router/encoded``, so that it is asked only once.
    """

    def __init__(
        self,
        encoder: Encoder,
        progress: Progress,
        corrections: Sequence[Example] = (),
        name: str = "",
    ) -> None:
        self.train, self.calibration, self.test = (
            _kept(encoder, shipped(split), progress, split, name) for split in _SPLITS
        )
        usable = [example for example in corrections if example.label in LABELS]
        self.corrections = _prepare(encoder, usable, progress, "corrections") if usable else None


def digest(examples: Iterable[Example]) -> str:
    """The checksum of what was trained on."""
    hashed = hashlib.sha256()
    for example in examples:
        hashed.update(json.dumps([example.prompt, example.context, example.label]).encode())
    return hashed.hexdigest()


def _kept(
    encoder: Encoder, examples: list[Example], progress: Progress, split: str, name: str
) -> Prepared:
    what = f"{split} examples"
    if not name:
        return _prepare(encoder, examples, progress, what)
    place = folder("router", "encoded") / f"{split}.npz"
    state = f"{name} {digest(examples)}"
    vectors = _read(place, state)
    if vectors is not None:
        shapes = np.stack([surface(example.prompt, example.context) for example in examples])
        rows = np.concatenate([vectors[:, :READ], shapes], axis=1)
        return Prepared(examples, rows, vectors[:, READ:], _labels(examples))
    found = _prepare(encoder, examples, progress, what)
    with suppress(OSError):  # kept or not, the result is the same
        _write(place, state, np.concatenate([found.rows[:, :READ], found.sentences], axis=1))
    return found


def _read(place: Path, state: str) -> Array | None:
    with (
        suppress(OSError, EOFError, ValueError, KeyError, BadZipFile),
        np.load(place, allow_pickle=False) as kept,
    ):
        if str(kept["state"]) == state:
            return np.asarray(kept["vectors"], np.float32)
    return None


def _write(place: Path, state: str, vectors: Array) -> None:
    fresh = place.with_suffix(f".{os.getpid()}.tmp")
    try:
        with fresh.open("wb") as file:
            np.savez(file, state=state, vectors=vectors)
        fresh.replace(place)
    finally:
        fresh.unlink(missing_ok=True)


def _prepare(
    encoder: Encoder, examples: Sequence[Example], progress: Progress, what: str
) -> Prepared:
    encoded: list[Encoded] = []
    with progress.step(f"Encoding {what}", total=len(examples), unit="prompts") as advance:
        for example in examples:
            encoded.append(encoder.encode(example.prompt, example.context))
            advance(1)
    sentences = np.stack([one.sentence for one in encoded])
    return Prepared(list(examples), rows_of(encoded), sentences, _labels(examples))


def _labels(examples: Sequence[Example]) -> NDArray[np.int64]:
    return np.asarray([LABELS.index(example.label) for example in examples], np.int64)
