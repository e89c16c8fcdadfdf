"""Work of which a home does one at a time, across processes. The lock dies with its holder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from rolecall.errors import RolecallError
from rolecall.home import folder


@contextmanager
def exclusive(name: str, busy: RolecallError) -> Iterator[None]:
    """Keep others out who do work of this name in this home.

    Raises:
        RolecallError: ``busy``, when somebody does it now.
    """
    lock = _lock(name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise busy from None
    try:
        yield
    finally:
        lock.release()


def is_done_now(name: str) -> bool:
    """Whether somebody does work of this name now."""
    lock = _lock(name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _lock(name: str) -> FileLock:
    return FileLock(folder() / f"{name}.lock")
