"""Runs a command for so long and no longer, with bounds on what it writes and uses."""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

import psutil

OUTPUT_BYTES = 1 << 20
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True)
class Ran:
    """What came of a program.

    Attributes:
        output: its standard output, at most :data:`OUTPUT_BYTES`.
        errors: its standard error.
        ended: ``done``, ``timeout``, ``output`` (it wrote too much), ``memory``, or ``died`` with
            the code.
    """

    output: str
    errors: str
    ended: str
    code: int | None = None


def run_bounded(
    command: list[str], folder: str, given: bytes, seconds: int, memory_bytes: int
) -> Ran:
    """Run a command in a folder, with ``given`` on its standard input, and end it in any case."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    output, errors = _Reader(process.stdout, process), _Reader(process.stderr, process)
    writer = threading.Thread(target=_write, args=(process.stdin, given), daemon=True)
    writer.start()
    try:
        ended = _wait(process, seconds, memory_bytes)
    finally:
        process.kill()
        process.wait()
    writer.join()
    told, complained = output.text(), errors.text()
    if output.too_much or errors.too_much:
        ended = "output"
    code = process.returncode if ended == "done" else None
    return Ran(told, complained, "died" if code else ended, code)


def _wait(process: subprocess.Popen[bytes], seconds: int, memory_bytes: int) -> str:
    """Wait for the end; macOS bounds no address space, so the memory in use is looked at."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_EVERY_S)
            return "done"
        with suppress(psutil.Error):
            if psutil.Process(process.pid).memory_info().rss > memory_bytes:
                return "memory"
    return "timeout"


def _write(stream: IO[bytes] | None, given: bytes) -> None:
    if stream is None:
        return
    with suppress(OSError), stream:  # it may have ended without reading
        stream.write(given)


class _Reader:
    """Reads a stream to its end, keeps what is allowed and ends a process that writes more."""

    def __init__(self, stream: IO[bytes] | None, process: subprocess.Popen[bytes]) -> None:
        self._stream = stream
        self._process = process
        self._kept = bytearray()
        self.too_much = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        if self._stream is None:
            return
        with self._stream:
            while chunk := self._stream.read1(1 << 16):  # type: ignore[attr-defined]
                self._kept += chunk[: OUTPUT_BYTES - len(self._kept)]
                if len(self._kept) >= OUTPUT_BYTES and not self.too_much:
                    self.too_much = True
                    self._process.kill()

    def text(self) -> str:
        self._thread.join()
        return self._kept.decode("utf-8", "replace")
