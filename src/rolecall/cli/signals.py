"""Ctrl-C, SIGTERM and a closed terminal.

While a turn runs the first signal stops it, so that it ends tidily and is saved; a second one ends
the process at once. At any other time a signal interrupts the command.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from rolecall.cli.keyboard import echo_again

if TYPE_CHECKING:
    from rolecall.assistant import Assistant

_ONE_KEY_S = 0.3  # make, uv and terminals may each send the same Ctrl-C
_EXIT_CODE = 130
_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))

_ends = False


class Terminated(KeyboardInterrupt):
    """The process is to end, not only what it does."""


def terminated() -> bool:
    """Whether the process was asked to end."""
    return _ends


def install() -> None:
    """SIGTERM and a closed terminal end the command as Ctrl-C does."""
    if threading.current_thread() is threading.main_thread():
        for number in _heeded(_ENDING):
            signal.signal(number, _interrupt)


@contextmanager
def stopping(assistant: Assistant) -> Iterator[None]:
    """Within it, signals stop the assistant's turn."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first_at = 0.0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal first_at
        now = time.monotonic()
        if threads := assistant.stopping:
            if now - first_at > _ONE_KEY_S:
                _end_at_once(threads)
            return
        first_at = now
        _note(number)
        if not assistant.stop():
            _interrupt(number, frame)

    before = {
        number: signal.signal(number, handle) for number in _heeded((signal.SIGINT, *_ENDING))
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _heeded(numbers: Sequence[signal.Signals]) -> list[signal.Signals]:
    """Those that the process was not started to ignore, as nohup does."""
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]


def _interrupt(number: int, frame: FrameType | None) -> None:
    _note(number)
    raise Terminated if number in _ENDING else KeyboardInterrupt


def _note(number: int) -> None:
    global _ends
    _ends = _ends or number in _ENDING


def _end_at_once(threads: list[str]) -> None:
    with suppress(Exception):  # the terminal may be gone
        echo_again()
        if sys.stderr.isatty():
            sys.stderr.write("\x1b[?25h\n")  # the cursor, which is hidden while an answer is drawn
        sys.stderr.write(f"Ended at once. Go on with: rolecall resume {' '.join(threads)}\n")
        sys.stderr.flush()
    with suppress(Exception):
        if "--json" in sys.argv:
            error = f"ended at once. Go on with: rolecall resume {threads[0]}"
            body = {"thread_id": threads[0], "error": error, "exit_code": _EXIT_CODE}
            sys.stdout.write(json.dumps(body) + "\n")
            sys.stdout.flush()
    os._exit(_EXIT_CODE)
