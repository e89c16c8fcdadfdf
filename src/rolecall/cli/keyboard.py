"""The keyboard while an answer streams: what is typed is not echoed into it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_as_found: list[tuple[int, list[Any]]] = []


@contextmanager
def quiet_keyboard() -> Iterator[None]:
    """Keys are not echoed; the next prompt shows what was typed ahead. Only on a terminal."""
    if not _hush():
        yield
        return
    try:
        yield
    finally:
        echo_again()


def echo_again() -> None:
    """The terminal as it was found. May be called more than once."""
    while _as_found:
        import termios

        descriptor, modes = _as_found.pop()
        termios.tcsetattr(descriptor, termios.TCSADRAIN, modes)


def _hush() -> bool:
    try:
        import termios

        descriptor = sys.stdin.fileno()
        modes = termios.tcgetattr(descriptor)
    except (ImportError, OSError, ValueError, AttributeError):
        return False
    except Exception as error:
        if type(error).__module__ == "termios":  # not a terminal
            return False
        raise
    quiet = list(modes)
    quiet[3] &= ~termios.ECHO
    _as_found.append((descriptor, modes))
    termios.tcsetattr(descriptor, termios.TCSADRAIN, quiet)
    return True
