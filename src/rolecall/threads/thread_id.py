"""Names of threads: which are allowed, which are replays, the error for one that is not there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rolecall.errors import UnknownThread, UsageError

KEPT_REPLAY = "replay-"
SCRATCH_REPLAY = "replay.scratch."
"""How the ids of replays begin: of those that were kept, and of those that are there for a turn.

A name outlives export, backup and import.
"""

_THREAD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_thread_id(thread_id: str) -> str:
    """The id itself, when it can name a thread.

    Raises:
        UsageError: it holds more than letters, digits, ``.``, ``_`` and ``-``, or is too long.
    """
    if not _THREAD_ID.fullmatch(thread_id):
        raise UsageError(
            f"{thread_id!r} cannot name a thread: use 1 to 64 letters, digits, '.', '_' or '-'"
        )
    return thread_id


def unknown_thread(thread_id: str) -> UnknownThread:
    """The error for a thread that is not there."""
    return UnknownThread(f"there is no thread {thread_id!r}; rolecall threads list shows them")


def is_replay(row: Mapping[str, Any]) -> bool:
    """Whether a row of ``threads`` is a replay of another thread."""
    begins = (KEPT_REPLAY, SCRATCH_REPLAY)
    return row["forked_from"] is not None and row["thread_id"].startswith(begins)
