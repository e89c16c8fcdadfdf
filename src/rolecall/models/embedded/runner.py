"""Embedded servers: started when needed, shared by all processes, stopped when idle."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from filelock import FileLock, Timeout

from rolecall.config.catalog import CatalogEntry, load_catalog
from rolecall.errors import ConfigError, NotEnoughMemory, RunnerFailed
from rolecall.home import folder
from rolecall.models.embedded import activity, records
from rolecall.models.embedded.machine import available_memory, usable_cores
from rolecall.models.embedded.records import Record, file_of
from rolecall.progress import Progress, SilentProgress

DEFAULT_CONTEXT = 8192
DEFAULT_IDLE_S = 900.0
_START_S = 600.0
_BUSY_S = 120.0
_TERMINATE_S = 5.0
_LOG_LINES = 8
# buffers of llama.cpp, the interpreter and the prompt cache (256 MiB), measured
_OVERHEAD_BYTES = 448 << 20


class _LockedOut(Exception):
    """Another server took the lock between our look and our child's."""


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
                    return _running(self._start(entry.id, path, wanted, parallel))
                except _LockedOut:
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
            if _end(record):
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
            _end(record)
            return None
        if record.context_length >= wanted:
            with suppress(FileNotFoundError):
                os.utime(file_of(model, "json"))  # counts as use: it must not end just now
                return record
        self._wait_until_idle(record, wanted)
        _end(record)
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
        deadline = time.monotonic() + _START_S
        while not records.lock_is_free(model):
            record = self._ready_record(model)
            if record is not None:
                return record
            if time.monotonic() > deadline:
                raise RunnerFailed(
                    f"{file_of(model, 'lock')} has been held for {_START_S:.0f} s by a process "
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

    def _start(self, model: str, path: Path, context: int, parallel: int) -> Record:
        check_memory(model, path, context)
        log = file_of(model, "log")
        command = [
            *(sys.executable, "-m", "rolecall.models.embedded.server"),
            *("--model-id", model, "--path", str(path), "--context", str(context)),
            *("--parallel", str(parallel), "--threads", str(usable_cores())),
            *("--idle-s", str(idle_seconds())),
        ]
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=log.parent,
                start_new_session=True,
            )
        # collects the child when it ends, however late: no zombie stays with a long-lived parent
        threading.Thread(target=child.wait, daemon=True).start()
        try:
            with self._progress.step(f"Starting {model}"):
                return _await_ready(model, child, log)
        except BaseException:
            child.kill()
            child.wait()
            records.remove_record(model, child.pid)
            raise


def idle_seconds() -> float:
    """Seconds without a request after which a server ends: ``ROLECALL_IDLE_S``, else 900.

    Raises:
        ConfigError: the variable is not a positive number.
    """
    text = os.environ.get("ROLECALL_IDLE_S", "") or str(DEFAULT_IDLE_S)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"ROLECALL_IDLE_S is {text!r}: expected seconds, such as 900")
    return seconds


def check_memory(model: str, path: Path, context: int) -> None:
    """Refuse to load what does not fit, before the system begins to swap or kill.

    Raises:
        NotEnoughMemory: with the numbers and a smaller choice.
    """
    from rolecall.models.embedded.gguf import kv_cache_bytes

    weights, cache = path.stat().st_size, kv_cache_bytes(path, context)
    needed, free = weights + cache + _OVERHEAD_BYTES, available_memory()
    if needed > free:
        raise NotEnoughMemory(
            f"{model} needs about {needed / 1e6:,.0f} MB ({weights / 1e6:,.0f} weights, "
            f"{cache / 1e6:,.0f} for a context of {context} tokens, "
            f"{_OVERHEAD_BYTES / 1e6:,.0f} buffers); {free / 1e6:,.0f} MB are free. End other "
            "programs, lower context_length in the stack, or take a smaller stack: "
            "--stack embedded-small"
        )


def _await_ready(model: str, child: subprocess.Popen[bytes], log: Path) -> Record:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        code = child.poll()
        record = records.read_record(file_of(model, "json"))
        if code is None and record is not None and record.pid == child.pid and record.ready:
            if activity.healthy(record.port):
                return record
        elif code == records.EXIT_LOCKED:
            raise _LockedOut
        elif code is not None:
            raise RunnerFailed(f"{model} did not start ({_ending(code)}). {_tail(log)}")
        time.sleep(0.05)
    raise RunnerFailed(f"{model} was not ready after {_START_S:.0f} s. {_tail(log)}")


def _ending(code: int) -> str:
    if code == -9:
        return "killed, perhaps for want of memory"
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    last = "\n  ".join(lines[-_LOG_LINES:])
    return f"Its log, {log}, ends with:\n  {last}" if last else f"Its log, {log}, is empty."


def _end(record: Record) -> bool:
    """SIGTERM, after 5 s SIGKILL. Returns whether there was a process to end."""
    import psutil

    process = record.process()
    if process is not None:
        try:
            process.terminate()
            process.wait(_TERMINATE_S)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(_TERMINATE_S)
        except psutil.NoSuchProcess:
            pass
    records.remove_record(record.model, record.pid)
    return process is not None


def _running(record: Record) -> RunningServer:
    return RunningServer(
        model=record.model,
        base_url=f"http://127.0.0.1:{record.port}",
        api_key=record.api_key,
        pid=record.pid,
        context_length=record.context_length,
        started_at=record.started_at,
    )
