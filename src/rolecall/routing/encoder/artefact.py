"""The artefact: the files that make one version of the encoder strategy, verified before use.

encoder.onnx, tokenizer.json,
words.txt                       the encoder (the packaged one, also under a user's own head)
router.json                     head, calibration, bands, what was measured, checksums
examples.npz                    sentence vectors of the examples that it was trained on
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rolecall.errors import ArtefactDamaged
from rolecall.routing.encoder.bands import Band
from rolecall.routing.encoder.head import Head
from rolecall.routing.encoder.model import Encoder
from rolecall.routing.encoder.surface import NAMES

FORMAT = 3
SHIPPED = Path(__file__).resolve().parent / "shipped"
ENCODER, TOKENIZER, WORDS, ROUTER, EXAMPLES = (
    "encoder.onnx",
    "tokenizer.json",
    "words.txt",
    "router.json",
    "examples.npz",
)
ENCODER_FILES = (ENCODER, TOKENIZER, WORDS)
WIDTH = 384
READ = 2 * WIDTH
"""What the head reads of the encoder."""

_AGAIN = (
    "rolecall router rollback takes an earlier version; installing rolecall again the shipped one"
)


@dataclass(frozen=True)
class RoleFit:
    """How likeness to a user's own role becomes a probability: a logistic curve, fitted on
    simulated roles (see :mod:`rolecall.routing.encoder.own_roles`).
    """

    nearest: float
    centre: float
    others: float
    offset: float


@dataclass(frozen=True)
class Artefact:
    """One version of the encoder strategy.

    Attributes:
        version: its name.
        bands: certified thresholds (see :mod:`rolecall.routing.encoder.bands`).
        confidences: deciles of the calibration confidences, to see drift by.
        role_fit: for the user's own roles. ``roles_measured``: how well that works.
        consult: by router model id, the weight of its log-odds (0: it is not asked).
        measured: figures on the held-out styles, as the model card shows them.
        data: sha256 of what it was trained on.
        encoder_sha256: of the encoder's file.
    """

    version: str
    encoder: Encoder
    head: Head
    bands: list[Band]
    confidences: list[float]
    role_fit: RoleFit
    roles_measured: dict[str, float]
    consult: dict[str, float]
    measured: dict[str, Any]
    data: str
    encoder_sha256: str
    folder: Path

    def nearest_vectors(self) -> tuple[list[str], NDArray[np.float32]]:
        """Ids and sentence vectors, shape ``(n, 384)``, of the training examples."""
        try:
            with (
                (self.folder / EXAMPLES).open("rb") as file,
                np.load(file, allow_pickle=False) as arrays,
            ):
                ids = [str(i) for i in arrays["ids"]]
                vectors = arrays["vectors"].astype(np.float32) / 127.0
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ArtefactDamaged(
                f"{self.folder / EXAMPLES} cannot be read: {error}. {_AGAIN}"
            ) from error
        return ids, vectors


def load_artefact(folder: Path, encoder_folder: Path = SHIPPED) -> Artefact:
    """Load and verify a version; an encoder of its own goes before the one in ``encoder_folder``.

    Raises:
        ArtefactDamaged: a file is missing, was changed, or is of another format.
    """
    found = _read(folder / ROUTER)
    try:
        if found["format"] != FORMAT:
            raise ArtefactDamaged(
                f"{folder / ROUTER} has format {found['format']}, this Rolecall reads {FORMAT}. "
                f"{_AGAIN}"
            )
        if list(found["surface"]) != list(NAMES):
            raise ArtefactDamaged(f"{folder / ROUTER} was trained with other features. {_AGAIN}")
        paths = {EXAMPLES: folder / EXAMPLES}
        for name in ENCODER_FILES:
            paths[name] = (folder if (folder / name).is_file() else encoder_folder) / name
        for name, path in paths.items():
            if sha256(path) != found["sha256"][name]:
                raise ArtefactDamaged(f"{path} is not the file it should be. {_AGAIN}")
        return Artefact(
            version=str(found["version"]),
            encoder=Encoder(*(paths[name] for name in ENCODER_FILES)),
            head=Head.from_json(found["head"], READ + len(NAMES)),
            bands=[Band(*map(float, band)) for band in found["bands"]],
            confidences=[float(value) for value in found["confidences"]],
            role_fit=RoleFit(**{name: float(v) for name, v in found["role_fit"].items()}),
            roles_measured={str(k): float(v) for k, v in found["roles_measured"].items()},
            consult={str(model): float(weight) for model, weight in found["consult"].items()},
            measured=dict(found["measured"]),
            data=str(found["data"]),
            encoder_sha256=str(found["sha256"][ENCODER]),
            folder=folder,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ArtefactDamaged(f"{folder / ROUTER} is damaged: {error!r}. {_AGAIN}") from error


def sha256(path: Path) -> str:
    """The checksum of a file.

    Raises:
        ArtefactDamaged: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArtefactDamaged(f"cannot read {path}: {error.strerror or error}. {_AGAIN}") from error


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is not a number to decide by")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refused)
    except OSError as error:
        raise ArtefactDamaged(f"cannot read {path}: {error.strerror or error}. {_AGAIN}") from error
    except ValueError as error:
        raise ArtefactDamaged(f"{path} is damaged: {error}. {_AGAIN}") from error
    if not isinstance(found, dict):
        raise ArtefactDamaged(f"{path} is damaged: no JSON object in it. {_AGAIN}")
    return found
