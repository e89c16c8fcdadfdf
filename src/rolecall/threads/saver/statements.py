"""Statements of the writer, each for many rows at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rolecall.sqlite import Database

ROWS = 500
"""How many rows one statement takes at most."""

PARTS = "INSERT INTO saver_parts (part_id, line_id, digest, since, until, kind, body) VALUES {}"
UNTIL = (
    "UPDATE saver_parts SET until = new.column2 FROM (VALUES {}) AS new "
    "WHERE saver_parts.part_id = new.column1"
)
WIDEN = "UPDATE saver_parts SET since = min(since, ?), until = max(until, ?) WHERE part_id = ?"
STEPS = (
    "INSERT OR REPLACE INTO saver_steps (step_id, line_id, checkpoint_id, parent_id, step, source, "
    "turn_id, next, root_id, ts, metadata, kind, body) VALUES {}"
)
_WRITES = (
    "INTO saver_writes (line_id, checkpoint_id, task_id, idx, task_path, channel, kind, value) "
    "VALUES {}"
)
NEW_WRITES = f"INSERT OR IGNORE {_WRITES}"
REPLACE_WRITES = f"INSERT OR REPLACE {_WRITES}"
FORGET_WRITES = "DELETE FROM saver_writes WHERE line_id = ? AND checkpoint_id = ?"


def execute(db: Database, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """One statement for many rows."""
    for start in range(0, len(rows), ROWS):
        some = rows[start : start + ROWS]
        marks = f"({', '.join('?' * len(some[0]))})"
        db.conn.execute(
            sql.format(", ".join([marks] * len(some))), [value for row in some for value in row]
        )
