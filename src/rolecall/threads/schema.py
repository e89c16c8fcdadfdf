"""Tables of ``threads.db`` beside LangGraph's own ``checkpoints`` and ``writes``."""

from __future__ import annotations

from rolecall.sqlite import Database, Migrations
from rolecall.threads.saver.schema import create as create_saver_tables

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


@migrations()
def m002_saver(db: Database) -> None:
    """The saver's tables; those of LangGraph's saver are set aside, to be converted bit by bit."""
    create_saver_tables(db)


@migrations()
def m003_journal(db: Database) -> None:
    """Answers of models and calls of tools, kept from before their step is saved."""
    db.execute(
        "CREATE TABLE journal (thread_id TEXT NOT NULL, turn_id TEXT NOT NULL, key TEXT NOT NULL, "
        "kind TEXT NOT NULL, status TEXT NOT NULL, name TEXT, request TEXT, outcome TEXT, "
        "content TEXT, began_at REAL NOT NULL, ended_at REAL, "
        "PRIMARY KEY (thread_id, turn_id, key))"
    )


@migrations()
def m005_order_of_use(db: Database) -> None:
    """Threads are ordered by a count, not by a clock; the index follows only what is searched."""
    db.execute("ALTER TABLE threads ADD COLUMN last_used INTEGER")
    db.execute(
        "UPDATE threads SET last_used = (SELECT count(*) FROM threads AS other "
        "WHERE (other.updated_at, other.thread_id) <= (threads.updated_at, threads.thread_id))"
    )
    db.execute("CREATE INDEX threads_last_used ON threads (last_used)")
    db.execute("DROP TRIGGER turns_au")
    db.execute(
        "CREATE TRIGGER turns_au AFTER UPDATE OF question, answer ON turns BEGIN "
        "INSERT INTO turns_fts (turns_fts, rowid, question, answer) "
        "VALUES ('delete', old.rowid, old.question, old.answer); "
        "INSERT INTO turns_fts (rowid, question, answer) "
        "VALUES (new.rowid, new.question, new.answer); END"
    )


@migrations()
def m004_summaries(db: Database) -> None:
    """What a model wrote of the turns that left the window; ``covers``: the last one's message."""
    db.execute(
        "CREATE TABLE summaries (thread_id TEXT PRIMARY KEY, covers TEXT NOT NULL, "
        "turns INTEGER NOT NULL, prose TEXT NOT NULL, created_at REAL NOT NULL)"
    )


@migrations()
def m007_undecodable(db: Database) -> None:
    """Steps that could not be read back, put aside by ``threads check --repair``, byte by byte."""
    db.execute(
        "CREATE TABLE undecodable (thread_id TEXT NOT NULL, ns TEXT NOT NULL, "
        "checkpoint_id TEXT NOT NULL, what TEXT NOT NULL, kind TEXT, body BLOB, metadata TEXT, "
        "problem TEXT, moved_at REAL NOT NULL)"
    )
    db.execute("CREATE INDEX undecodable_thread ON undecodable (thread_id)")
