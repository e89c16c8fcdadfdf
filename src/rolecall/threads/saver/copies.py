"""Copies of threads: rows keep their numbers, so that nothing has to be decoded."""

from __future__ import annotations

import json

from langgraph.checkpoint.serde.base import SerializerProtocol

from rolecall.sqlite import Database
from rolecall.threads.saver.encoding import readable_metadata
from rolecall.threads.saver.lines import head_of
from rolecall.threads.saver.reader import Row
from rolecall.threads.saver.removal import parts_of
from rolecall.threads.saver.schema import SHIFT

_STEPS = "checkpoint_id, parent_id, step, source, turn_id, next, root_id, ts, metadata, kind, body"
_WRITES = "checkpoint_id, task_id, idx, task_path, channel, kind, value"


def copy_thread(db: Database, source: str, target: str) -> None:
    """Copy all lines of a thread. Within a transaction.

    Raises:
        ValueError: the target has steps already.
    """
    if db.execute("SELECT 1 FROM saver_lines WHERE thread_id = ? LIMIT 1", [target]).fetchone():
        raise ValueError(f"thread {target} has checkpoints already; a copy is a new thread")
    for line_id, ns, pruned_to in db.execute(
        "SELECT line_id, ns, pruned_to FROM saver_lines WHERE thread_id = ?", [source]
    ).fetchall():
        new = db.execute(
            "INSERT INTO saver_lines (thread_id, ns, pruned_to) VALUES (?, ?, ?)",
            [target, ns, pruned_to],
        ).lastrowid
        shift = (int(new or 0) - line_id) << SHIFT
        first, last = line_id << SHIFT, (line_id + 1) << SHIFT
        db.execute(
            f"INSERT INTO saver_steps (step_id, line_id, {_STEPS}) "  # noqa: S608 - our own names
            f"SELECT step_id + ?, ?, {_STEPS} FROM saver_steps WHERE step_id > ? AND step_id < ?",
            [shift, new, first, last],
        )
        db.execute(
            "INSERT INTO saver_parts (part_id, line_id, digest, since, until, kind, body) "
            "SELECT part_id + ?, ?, digest, since, until, kind, body FROM saver_parts "
            "WHERE part_id > ? AND part_id < ?",
            [shift, new, first, last],
        )
        db.execute(
            f"INSERT INTO saver_writes (line_id, {_WRITES}) "  # noqa: S608 - our own names
            f"SELECT ?, {_WRITES} FROM saver_writes WHERE line_id = ?",
            [new, line_id],
        )


def copy_step(db: Database, serde: SerializerProtocol, row: Row, target: str) -> None:
    """Make a step the first of a new thread. Within a transaction.

    Writes pending on its line's newest step go along; those on an earlier one are what followed.

    Raises:
        ValueError: the target has steps already.
    """
    if db.execute("SELECT 1 FROM saver_lines WHERE thread_id = ? LIMIT 1", [target]).fetchone():
        raise ValueError(f"thread {target} has checkpoints already; a copy is a new thread")
    new = db.execute(
        "INSERT INTO saver_lines (thread_id, ns) VALUES (?, ?)", [target, row.ns]
    ).lastrowid
    base, shift = row.line_id << SHIFT, (int(new or 0) - row.line_id) << SHIFT
    metadata = json.dumps({**readable_metadata(row.metadata), "parents": {}}, ensure_ascii=False)
    db.execute(
        f"INSERT INTO saver_steps (step_id, line_id, {_STEPS}) "  # noqa: S608 - our own names
        "SELECT step_id + ?, ?, checkpoint_id, NULL, step, source, turn_id, next, NULL, ts, ?, "
        "kind, body FROM saver_steps WHERE step_id = ?",
        [shift, new, metadata, row.step_id],
    )
    number = row.step_id - base
    for part in parts_of(serde, row.kind, row.body):
        db.execute(
            "INSERT INTO saver_parts (part_id, line_id, digest, since, until, kind, body) "
            "SELECT part_id + ?, ?, digest, ?, NULL, kind, body FROM saver_parts "
            "WHERE part_id = ?",
            [shift, new, number, base + part],
        )
    if head_of(db, row.line_id) == (number, row.checkpoint_id):
        db.execute(
            f"INSERT INTO saver_writes (line_id, {_WRITES}) "  # noqa: S608 - our own names
            f"SELECT ?, {_WRITES} FROM saver_writes WHERE line_id = ? AND checkpoint_id = ?",
            [new, row.line_id, row.checkpoint_id],
        )
