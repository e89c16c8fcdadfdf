"""Opens ``telemetry.db`` of this home."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rolecall.config.schema import TelemetrySettings
from rolecall.database import DatabaseFile
from rolecall.home import folder
from rolecall.telemetry.recorder import SqliteRecorder
from rolecall.telemetry.schema import migrations
from rolecall.telemetry.traces import Traces

if TYPE_CHECKING:
    from rolecall.telemetry.otel import TwoRecorders


def open_recorder(settings: TelemetrySettings) -> SqliteRecorder | TwoRecorders:
    """A recorder on this home's telemetry; with ``otlp_endpoint``, one that also sends spans.

    Raises:
        ConfigError: ``otlp_endpoint`` cannot be used.
    """
    if settings.otlp_endpoint is None:
        return SqliteRecorder(open_file(), store_texts=settings.store_texts)
    from rolecall.telemetry.otel import TwoRecorders, otel_recorder

    sent = otel_recorder(settings)
    return TwoRecorders(SqliteRecorder(open_file(), store_texts=settings.store_texts), sent)


def open_traces() -> Traces:
    """Queries over this home's telemetry."""
    return Traces(open_file())


def open_file() -> DatabaseFile:
    """This home's ``telemetry.db``."""
    return DatabaseFile(folder() / "telemetry.db", migrations)
