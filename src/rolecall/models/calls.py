"""What is recorded about one attempt to call one model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass
class CallRecord:
    """One attempt at one endpoint. Times are milliseconds; ``started_at`` is Unix seconds."""

    role: str
    model: str
    endpoint: str
    api: str
    attempt: int
    started_at: float
    status: str = "running"  # running | ok | error | cancelled
    input_tokens: int | None = None
    output_tokens: int | None = None
    ttft_ms: float | None = None
    latency_ms: float | None = None
    finish_reason: str | None = None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return dict(vars(self))


OnCall = Callable[[CallRecord], None]
