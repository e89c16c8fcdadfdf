"""What goes wrong with files of state, as the user is told it."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from rolecall.errors import StateError

_LONGEST = 200
_DAMAGED = (
    "malformed",
    "not a database",
    "Could not decode",
    "codec can't decode",
    "already exists",
)


def state_error(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> StateError:
    """What a database error means to the user, and what to do about it."""
    text = str(error)
    if len(text) > _LONGEST:  # SQLite quotes a text that is not UTF-8 as a whole
        text = text[:_LONGEST] + "…"
    if any(sign in text for sign in _DAMAGED):
        remedy = (
            "it is damaged. rolecall threads check --repair saves what can be read of threads and "
            f"traces. Move {path.name} (and {path.name}-wal, -shm) away to start afresh"
        )
    elif "readonly" in text or "read-only" in text:
        remedy = "it is read-only. Give it write permission, or set ROLECALL_HOME elsewhere"
    elif "full" in text:
        remedy = "the disk is full. Free some space and run: rolecall resume"
    elif "unable to open" in text:
        remedy = "it cannot be opened. Check that the folder exists and is writable"
    elif "I/O error" in text:
        remedy = "the disk does not read or write it. Check the disk and its free space"
    elif "locked" in text:
        remedy = "another process holds it. Wait for it, or stop it"
    else:
        return StateError(f"{path}: {text}")
    return StateError(f"{path}: {remedy} ({text})")


def file_error(verb: str, path: Path, error: OSError) -> StateError:
    """What a failing file means to the user, and what to do about it."""
    if error.errno == errno.ENOSPC:
        remedy = "Free some space, then try again"
    else:
        remedy = "Check that you can write there, or set ROLECALL_HOME elsewhere"
    return StateError(f"cannot {verb} {path}: {error.strerror or error}. {remedy}.")
