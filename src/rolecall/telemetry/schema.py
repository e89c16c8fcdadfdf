"""Tables of ``telemetry.db``; every row carries its ``trace_id``."""

from __future__ import annotations

from rolecall.sqlite import Database, Migrations
from rolecall.telemetry import rollup

migrations = Migrations("rolecall.telemetry")


@migrations()
def m001_first_tables(db: Database) -> None:
    """Turns, decisions, model calls, tool calls and errors."""
    db.table("turns").create(
        {
            "trace_id": str,
            "turn_id": str,
            "thread_id": str,
            "stack": str,
            "status": str,
            "question": str,
            "answer": str,
            "role": str,
            "finish_reason": str,
            "started_at": float,
            "total_ms": float,
            "overhead_ms": float,
        },
        pk="trace_id",
    )
    db.table("turns").create_index(["started_at"])
    db.table("turns").create_index(["thread_id"])
    db.table("decisions").create(
        {
            "id": int,
            "trace_id": str,
            "at": float,
            "strategy": str,
            "routing_decision": str,
            "target_model": str,
            "confidence": float,
            "reason": str,
            "probabilities": str,
            "latency_ms": float,
        },
        pk="id",
    )
    db.table("model_calls").create(
        {
            "id": int,
            "trace_id": str,
            "node": str,
            "role": str,
            "model": str,
            "endpoint": str,
            "api": str,
            "attempt": int,
            "status": str,
            "started_at": float,
            "input_tokens": int,
            "output_tokens": int,
            "ttft_ms": float,
            "latency_ms": float,
            "finish_reason": str,
            "error": str,
        },
        pk="id",
    )
    db.table("tool_calls").create(
        {
            "id": int,
            "trace_id": str,
            "call_id": str,
            "name": str,
            "arguments": str,
            "status": str,
            "result": str,
            "started_at": float,
            "latency_ms": float,
        },
        pk="id",
    )
    db.table("errors").create(
        {"id": int, "trace_id": str, "at": float, "node": str, "type": str, "message": str},
        pk="id",
    )
    for table in ("decisions", "model_calls", "tool_calls", "errors"):
        db.table(table).create_index(["trace_id"])


@migrations()
def m002_encoder_confidence(db: Database) -> None:
    """How sure the encoder was, to see drift by."""
    db.table("decisions").add_column("encoder_confidence", float)


@migrations()
def m003_paths_and_sums(db: Database) -> None:
    """When each node ended; sums and histograms per day; the turns of a thread by time."""
    db.table("turns").add_column("path", str)
    db.table("turns").create_index(["thread_id", "started_at"])
    rollup.create(db)
