"""The server process as its starter sees it: how it is started, watched and ended."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from rolecall.errors import ConfigError, NotEnoughMemory, RunnerFailed
from rolecall.home import folder
from rolecall.models.embedded import activity, records
from rolecall.models.embedded.gguf import kv_cache_bytes
from rolecall.models.embedded.machine import available_memory, usable_cores
from rolecall.models.embedded.records import Record, file_of
from rolecall.progress import Progress

START_S = 600.0
_DEFAULT_IDLE_S = 900.0
_TERMINATE_S = 5.0
_LOG_LINES = 8
# buffers of llama.cpp, the interpreter and the prompt cache (256 MiB), measured
_OVERHEAD_BYTES = 448 << 20


class LockedOut(Exception):
    """Another server took the lock between the starter's look and its child's."""


def start(model: str, path: Path, context: int, parallel: int, progress: Progress) -> Record:
    """Start a server and wait until it answers. The caller holds the model's start lock.

    Args:
        context: tokens, shared by ``parallel`` requests.

    Raises:
        LockedOut: another server was faster.
        NotEnoughMemory, RunnerFailed: it cannot start; the message says why.
    """
    check_memory(model, path, context)
    folder("run")
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
        with progress.step(f"Starting {model}"):
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
    text = os.environ.get("ROLECALL_IDLE_S", "") or str(_DEFAULT_IDLE_S)
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
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        code = child.poll()
        record = records.read_record(file_of(model, "json"))
        if code is None and record is not None and record.pid == child.pid and record.ready:
            if activity.healthy(record.port):
                return record
        elif code == records.EXIT_LOCKED:
            raise LockedOut
        elif code is not None:
            raise RunnerFailed(f"{model} did not start ({_ending(code)}). {_tail(log)}")
        time.sleep(0.05)
    raise RunnerFailed(f"{model} was not ready after {START_S:.0f} s. {_tail(log)}")


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


def end(record: Record) -> bool:
    """SIGTERM, after 5 s SIGKILL. Returns whether there was a process to end."""
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
