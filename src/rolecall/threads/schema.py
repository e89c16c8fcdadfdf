"""Tables of ``threads.db`` beside LangGraph's own ``checkpoints`` and ``writes``."""

from __future__ import annotations

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

migrations = Migrations("rolecall.threads")


@migrations()
def m001_threads_and_turns(db: Database) -> None:
    """Threads, their turns, and a full-text index over what was said."""
    db.table("threads").create(
        {
            "thread_id": str,
            "title": str,
            "created_at": float,
            "updated_at": float,
            "forked_from": str,
            "forked_at": str,
        },
        pk="thread_id",
    )
    db.table("threads").create_index(["updated_at"])
    db.table("turns").create(
        {
            "turn_id": str,
            "thread_id": str,
            "number": int,
            "trace_id": str,
            "question": str,
            "answer": str,
            "reasoning": str,
            "status": str,
            "requested_role": str,
            "role": str,
            "decision": str,
            "strategy": str,
            "finish_reason": str,
            "error": str,
            "created_at": float,
            "finished_at": float,
        },
        pk="turn_id",
        not_null={"thread_id", "number", "question", "status"},
    )
    db.table("turns").create_index(["thread_id", "number"], unique=True)
    db.table("turns").enable_fts(["question", "answer"], create_triggers=True, tokenize="unicode61")
