"""Locks on single bytes of a file: the operating system drops them when their process dies.

Locks of one opened file do not exclude each other, only those of other processes.
"""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    import msvcrt

    def take(descriptor: int, byte: int) -> bool:
        """Lock a byte, if no other process has it."""
        os.lseek(descriptor, byte, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def give(descriptor: int, byte: int) -> None:
        """Unlock a byte."""
        os.lseek(descriptor, byte, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

    def taken(descriptor: int, start: int, end: int) -> tuple[int, int] | None:
        """Cannot be asked here: there is no order between processes, only exclusion."""
        return None

else:
    import fcntl
    import struct

    # Locks of the open file, not of the process, where there are such: no other part of the
    # process can drop them by closing a descriptor of its own.
    _SET = getattr(fcntl, "F_OFD_SETLK", fcntl.F_SETLK)
    _GET = getattr(fcntl, "F_OFD_GETLK", fcntl.F_GETLK)
    _DARWIN = sys.platform == "darwin"
    _FLOCK = struct.Struct("qqihh" if _DARWIN else "hhqqi4x")

    def take(descriptor: int, byte: int) -> bool:
        """Lock a byte, if no other process has it.

        Raises:
            OSError: the file cannot be locked at all.
        """
        try:
            fcntl.fcntl(descriptor, _SET, _request(fcntl.F_WRLCK, byte, 1))
        except (BlockingIOError, PermissionError):
            return False
        return True

    def give(descriptor: int, byte: int) -> None:
        """Unlock a byte."""
        fcntl.fcntl(descriptor, _SET, _request(fcntl.F_UNLCK, byte, 1))

    def taken(descriptor: int, start: int, end: int) -> tuple[int, int] | None:
        """First and last byte of a lock that another process has in ``start`` to ``end - 1``."""
        if start >= end:
            return None
        raw = fcntl.fcntl(descriptor, _GET, _request(fcntl.F_WRLCK, start, end - start))
        kind, first, length = _answer(raw)
        return None if kind == fcntl.F_UNLCK else (first, first + length - 1)

    def _request(kind: int, start: int, length: int) -> bytes:
        if _DARWIN:
            return _FLOCK.pack(start, length, 0, kind, os.SEEK_SET)
        return _FLOCK.pack(kind, os.SEEK_SET, start, length, 0)

    def _answer(raw: bytes) -> tuple[int, int, int]:
        fields = _FLOCK.unpack(raw)
        return (fields[3], fields[0], fields[1]) if _DARWIN else (fields[0], fields[2], fields[3])
