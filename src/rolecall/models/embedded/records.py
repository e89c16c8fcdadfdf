"""What is known about embedded servers: one JSON record, one lock and one log per model.

The lock decides whether a server lives: the server holds it for its whole life and the system
frees it when the process dies. The record only says how to reach it.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from rolecall.home import folder, home

EXIT_LOCKED = 75
_SAME_START_S = 1.0


@dataclass(frozen=True)
class Record:
    """One embedded server, as it describes itself.

    Attributes:
        port: ``0`` while the model is still loading.
        started_at: seconds since the epoch.
        process_created: psutil's creation time: tells the process from a later one with its pid.
    """

    model: str
    pid: int
    process_created: float
    port: int
    api_key: str = field(repr=False)
    context_length: int
    started_at: float

    @property
    def ready(self) -> bool:
        """Whether the model is loaded and requests are answered."""
        return self.port > 0

    def alive(self) -> bool:
        """Whether that very process still runs."""
        return self.process() is not None

    def process(self) -> psutil.Process | None:
        """The process, unless it has ended or the pid belongs to another one now."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.process_created) > _SAME_START_S:
                return None
            return None if process.status() == psutil.STATUS_ZOMBIE else process
        except psutil.Error:
            return None


def file_of(model: str, kind: str) -> Path:
    """A file of a model in ``ROLECALL_HOME/run``; ``kind`` is json, lock, start or log."""
    return home() / "run" / f"{re.sub(r'[^A-Za-z0-9._-]', '_', model)}.{kind}"


def read_record(path: Path) -> Record | None:
    """The record in a file; ``None`` when there is none that makes sense."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Record(
            model=str(data["model"]),
            pid=int(data["pid"]),
            process_created=float(data["process_created"]),
            port=int(data["port"]),
            api_key=str(data["api_key"]),
            context_length=int(data["context_length"]),
            started_at=float(data["started_at"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_record(record: Record) -> None:
    """Write the record of a model, readable by this user only, in one step."""
    folder("run")
    path = file_of(record.model, "json")
    fresh = path.with_name(f".{path.name}.{record.pid}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(record), file)
    os.replace(fresh, path)


def remove_record(model: str, pid: int) -> None:
    """Delete the record of a model if it is the one of ``pid``."""
    path = file_of(model, "json")
    record = read_record(path)
    if record is not None and record.pid == pid:
        path.unlink(missing_ok=True)


def all_records() -> list[Record]:
    """Every record there is, of living servers and of dead ones."""
    found = (read_record(path) for path in sorted((home() / "run").glob("*.json")))
    return [record for record in found if record is not None]


def hold_lock(model: str) -> FileLock | None:
    """Take the lock of a model for the life of this process; ``None``: a server has it."""
    folder("run")
    lock = FileLock(file_of(model, "lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def lock_is_free(model: str) -> bool:
    """Whether no process holds the lock of a model."""
    lock = hold_lock(model)
    if lock is None:
        return False
    lock.release()
    return True
