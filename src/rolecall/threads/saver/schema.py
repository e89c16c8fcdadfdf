"""Tables of the saver.

A *line* is the steps of one thread in one checkpoint namespace. Steps and parts are numbered
within their line, and a row's id is its line's base plus that number: a line's rows lie together,
and a copy of a line keeps its numbers.
"""

from __future__ import annotations

from rolecall.sqlite import Database, Migrations

SHIFT = 32
"""``step_id`` and ``part_id`` are ``(line_id << SHIFT) + number``."""

migrations = Migrations("rolecall.saver")

_TABLES = """
CREATE TABLE IF NOT EXISTS saver_lines (
    line_id INTEGER PRIMARY KEY,
    thread_id TEXT NOT NULL,
    ns TEXT NOT NULL,
    pruned_to INTEGER NOT NULL DEFAULT 0,
    UNIQUE (thread_id, ns)
);
CREATE TABLE IF NOT EXISTS saver_steps (
    step_id INTEGER PRIMARY KEY,
    line_id INTEGER NOT NULL,
    checkpoint_id TEXT NOT NULL,
    parent_id TEXT,
    step INTEGER,
    source TEXT,
    turn_id TEXT,
    next TEXT,
    root_id TEXT,
    ts TEXT,
    metadata TEXT NOT NULL,
    kind TEXT NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (line_id, checkpoint_id)
);
CREATE INDEX IF NOT EXISTS saver_steps_of_root ON saver_steps (root_id) WHERE root_id IS NOT NULL;
CREATE TABLE IF NOT EXISTS saver_parts (
    part_id INTEGER PRIMARY KEY,
    line_id INTEGER NOT NULL,
    digest BLOB NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER,
    kind TEXT NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (line_id, digest)
);
CREATE TABLE IF NOT EXISTS saver_writes (
    line_id INTEGER NOT NULL,
    checkpoint_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    idx INTEGER NOT NULL,
    task_path TEXT NOT NULL,
    channel TEXT NOT NULL,
    kind TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (line_id, checkpoint_id, task_id, idx)
) WITHOUT ROWID;
"""


@migrations()
def m001_saver(db: Database) -> None:
    """The saver's tables."""
    create(db)


def create(db: Database) -> None:
    """Make the saver's tables where they are missing; LangGraph's own are set aside to convert."""
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            db.execute(statement)
    names = set(db.table_names())
    for stock in ("checkpoints", "writes"):
        if stock in names and f"stock_{stock}" not in names:
            db.execute(f"ALTER TABLE {stock} RENAME TO stock_{stock}")
