"""``ROLECALL_HOME``: the one folder where Rolecall keeps state.

home/
    config/  tools/                 what the user edits (optional)
    threads.db  telemetry.db        conversations; traces
    bench.db                        results of rolecall bench
    capabilities.json               what rolecall doctor saw of each endpoint
    models/                         weights
    run/                            embedded servers: state, logs, locks
    locks/                          one file: who runs a turn on which thread
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from rolecall.errors import ConfigError, StateError


def home() -> Path:
    """``ROLECALL_HOME``, or the platform's user data directory. Not created here."""
    chosen = os.environ.get("ROLECALL_HOME")
    if chosen:
        try:
            return Path(chosen).expanduser().resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(f"ROLECALL_HOME={chosen!r} is not a folder: {error}") from error
    return Path(platformdirs.user_data_dir("rolecall", appauthor=False))


def folder(*parts: str) -> Path:
    """A folder below home, created with access for this user only.

    Raises:
        StateError: it cannot be created or written to.
    """
    path = home().joinpath(*parts)
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StateError(
            f"cannot create {path}: {error.strerror or error}. "
            "Set ROLECALL_HOME to a folder you can write to."
        ) from error
    return path
