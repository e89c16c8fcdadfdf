"""The one lock file of a home, ``locks/threads``: a range of bytes for every thread.

A range's first byte is held while a turn runs (the gate), each byte behind it by one who waits (a
ticket: the lower, the earlier). No file is made or removed per thread, and none is read to find
out who is alive. The file's beginning holds a few fixed slots with the names of holders, for
messages only.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from rolecall.threads import byte_locks

TICKETS = 1 << 24
_RANGES = 1 << 38  # times TICKETS: the offsets that a lock may have
_SLOT_BYTES = 256
_SLOTS = 4096
_PROGRAM_CHARS = 40


@dataclass(frozen=True)
class Holder:
    """Who runs a turn: process, program, and since when (seconds since the epoch)."""

    pid: int
    program: str
    since: float


def range_of(thread_id: str) -> int:
    """The first byte of a thread's range."""
    digest = hashlib.blake2b(thread_id.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") % _RANGES) * TICKETS


class LockFile:
    """An opened lock file.

    Raises:
        OSError: it cannot be opened, locked or written; also in each method.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def take(self, byte: int) -> bool:
        """Lock a byte, if no other process has it."""
        return byte_locks.take(self._descriptor, byte)

    def give(self, byte: int) -> None:
        """Unlock a byte."""
        byte_locks.give(self._descriptor, byte)

    def taken(self, start: int, end: int) -> tuple[int, int] | None:
        """First and last byte of a lock that another process has in ``start`` to ``end - 1``."""
        return byte_locks.taken(self._descriptor, start, end)

    def sign(self, thread_id: str, since: float) -> None:
        """Write down that this process holds a thread."""
        program = os.path.basename(sys.argv[0] if sys.argv else "") or "python"
        record = json.dumps([thread_id, os.getpid(), since, program[:_PROGRAM_CHARS]]).encode()
        os.lseek(self._descriptor, _slot(thread_id), os.SEEK_SET)
        os.write(self._descriptor, record[:_SLOT_BYTES].ljust(_SLOT_BYTES))

    def holder(self, thread_id: str) -> Holder | None:
        """Who signed last for a thread; ``None`` if that cannot be read."""
        try:
            os.lseek(self._descriptor, _slot(thread_id), os.SEEK_SET)
            name, pid, since, program = json.loads(os.read(self._descriptor, _SLOT_BYTES))
            return Holder(int(pid), str(program), float(since)) if name == thread_id else None
        except (OSError, ValueError, TypeError):
            return None

    def close(self) -> None:
        """Close the file, and with it drop its locks."""
        os.close(self._descriptor)


def _slot(thread_id: str) -> int:
    return range_of(thread_id) // TICKETS % _SLOTS * _SLOT_BYTES
