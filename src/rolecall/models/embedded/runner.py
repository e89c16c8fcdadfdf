"""Embedded servers: started when needed, shared by all processes, stopped when idle."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock, Timeout

from rolecall.config.catalog import CatalogEntry, load_catalog
from rolecall.errors import RunnerFailed
from rolecall.home import folder
from rolecall.models.embedded import activity, records
from rolecall.models.embedded.child import START_S, LockedOut, end, start
from rolecall.models.embedded.records import Record, file_of
from rolecall.progress import Progress, SilentProgress

DEFAULT_CONTEXT = 8192
_BUSY_S = 120.0


@dataclass(frozen=True)
class RunningServer:
    """A loaded model.

    Attributes:
        base_url: ``http://127.0.0.1:PORT``, without ``/v1``.
        context_length: tokens, shared by the requests that run at once.
        started_at: seconds since the epoch.
    """

    model: str
    base_url: str
    api_key: str = field(repr=False)
    pid: int
    context_length: int
    started_at: float


class EmbeddedRunner:
    """Serves models of the catalog through llama.cpp, one background process per model."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress: Progress = progress or SilentProgress()

    def ensure(
        self, model: str, *, context_length: int | None = None, parallel: int = 4
    ) -> RunningServer:
        """A healthy server for ``model``: the running one, else a new one. Blocks until ready.

        Args:
            context_length: tokens; at most what the catalog says, 8192 if ``None``. A running
                server with less is restarted once it has nothing to do.
            parallel: requests that a new server answers at once.

        Raises:
            ConfigError: the catalog has no such model, or only Ollama can serve it.
            DownloadFailed, StateError: the weights cannot be had.
            NotEnoughMemory: it does not fit.
            RunnerFailed: it does not start; the message ends with its log.
        """
        entry = load_catalog()[model]
        if find_spec("xllamacpp") is None:
            raise RunnerFailed(
                'the embedded runner is not installed. Run: pip install "rolecall[embedded]"'
            )
        path = self._weights(entry)
        wanted = min(context_length or DEFAULT_CONTEXT, entry.context_length)
        with self._sole_starter(entry.id):
            while True:
                record = self._reusable(entry.id, wanted)
                if record is not None:
                    return _running(record)
                try:
                    return _running(start(entry.id, path, wanted, parallel, self._progress))
                except LockedOut:
                    continue  # the child of a killed starter was faster: use that one

    def running(self) -> list[RunningServer]:
        """Every server that is loaded and alive."""
        return [_running(r) for r in records.all_records() if r.ready and r.alive()]

    def stop(self, model: str | None = None) -> list[RunningServer]:
        """Stop the server of ``model``, or all; returns those that ran."""
        stopped = []
        for record in records.all_records():
            if model is not None and record.model != model:
                continue
            if end(record):
                stopped.append(_running(record))
        return stopped

    def _weights(self, entry: CatalogEntry) -> Path:
        from rolecall.models.embedded.weights import Weights, weights_path

        present = weights_path(entry)
        if present is not None:
            return present
        pulled = Weights(self._progress).pull(entry.id, as_file=True)
        assert pulled.path is not None
        return pulled.path

    @contextmanager
    def _sole_starter(self, model: str) -> Iterator[None]:
        folder("run")
        lock = FileLock(file_of(model, "start"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            with self._progress.step(f"Waiting for another process that starts {model}"):
                lock.acquire(poll_interval=0.1)
        try:
            yield
        finally:
            lock.release()

    def _reusable(self, model: str, wanted: int) -> Record | None:
        """The running server if it will do; otherwise it is gone when this returns."""
        record = self._loaded(model)
        if record is None:
            return None
        if not (activity.healthy(record.port) or activity.healthy(record.port)):
            end(record)
            return None
        if record.context_length >= wanted:
            with suppress(FileNotFoundError):
                os.utime(file_of(model, "json"))  # counts as use: it must not end just now
                return record
        self._wait_until_idle(record, wanted)
        end(record)
        return None

    def _loaded(self, model: str) -> Record | None:
        """The record of whoever holds the lock, once it is loaded; ``None``: nobody does.

        A holder without a ready record is loading (its starter was killed) or is just ending.
        """
        if not records.lock_is_free(model):
            record = self._ready_record(model)
            if record is not None:
                return record
            with self._progress.step(f"Waiting for {model} to load"):
                record = self._ready_holder(model)
            if record is not None:
                return record
        file_of(model, "json").unlink(missing_ok=True)
        return None

    def _ready_record(self, model: str) -> Record | None:
        record = records.read_record(file_of(model, "json"))
        return record if record is not None and record.ready and record.alive() else None

    def _ready_holder(self, model: str) -> Record | None:
        deadline = time.monotonic() + START_S
        while not records.lock_is_free(model):
            record = self._ready_record(model)
            if record is not None:
                return record
            if time.monotonic() > deadline:
                raise RunnerFailed(
                    f"{file_of(model, 'lock')} has been held for {START_S:.0f} s by a process "
                    f"that serves nothing. End it with: rolecall models stop {model}"
                )
            time.sleep(0.05)
        return None

    def _wait_until_idle(self, record: Record, wanted: int) -> None:
        deadline = time.monotonic() + _BUSY_S
        with self._progress.step(f"Waiting for {record.model} to be idle"):
            while record.alive():
                now = activity.read_activity(record.port, record.api_key)
                if now is not None and not now.busy:
                    return
                if time.monotonic() > deadline:
                    raise RunnerFailed(
                        f"{record.model} runs with a context of {record.context_length} tokens, "
                        f"{wanted} are wanted, and it is busy. Try again later, or end it with: "
                        f"rolecall models stop {record.model}"
                    )
                time.sleep(0.5)


def _running(record: Record) -> RunningServer:
    return RunningServer(
        model=record.model,
        base_url=f"http://127.0.0.1:{record.port}",
        api_key=record.api_key,
        pid=record.pid,
        context_length=record.context_length,
        started_at=record.started_at,
    )
