"""Opens ``telemetry.db`` of this home."""

from __future__ import annotations

from rolecall.config.schema import TelemetrySettings
from rolecall.database import DatabaseFile
from rolecall.home import folder
from rolecall.telemetry.recorder import SqliteRecorder
from rolecall.telemetry.schema import migrations
from rolecall.telemetry.traces import Traces


def open_recorder(settings: TelemetrySettings) -> SqliteRecorder:
    """A recorder on this home's telemetry."""
    return SqliteRecorder(_file(), store_texts=settings.store_texts)


def open_traces() -> Traces:
    """Queries over this home's telemetry."""
    return Traces(_file())


def _file() -> DatabaseFile:
    return DatabaseFile(folder() / "telemetry.db", migrations)
