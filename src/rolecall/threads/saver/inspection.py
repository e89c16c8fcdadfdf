"""Looking a thread's saved steps over: what cannot be read, what is missing, what is left over."""

from __future__ import annotations

from dataclasses import dataclass, field

from langgraph.checkpoint.serde.base import SerializerProtocol

from rolecall.errors import UndecodableState
from rolecall.sqlite import Database
from rolecall.threads.saver.body import unpack_body
from rolecall.threads.saver.lines import span
from rolecall.threads.saver.reader import STOCK, find, load
from rolecall.threads.saver.removal import line_ids
from rolecall.threads.saver.serializer import NotDecodable


@dataclass
class Findings:
    """What was found in one thread.

    Attributes:
        steps: how many steps it has.
        undecodable: checkpoint ids of steps that cannot be read back, with the reason.
        left_over: how many parts no step refers to (space only; pruning takes most with it).
        loose_writes: how many pending writes belong to no step.
    """

    steps: int = 0
    undecodable: dict[str, str] = field(default_factory=dict)
    left_over: int = 0
    loose_writes: int = 0


def inspect(db: Database, serde: SerializerProtocol, thread_id: str) -> Findings:
    """Read every step of a thread back. One step is in memory at a time."""
    found = Findings()
    for line_id in line_ids(db, thread_id):
        base, last = span(line_id)
        (ns,) = db.execute("SELECT ns FROM saver_lines WHERE line_id = ?", [line_id]).fetchone()
        used: set[int] = set()
        ids = db.execute(
            "SELECT checkpoint_id FROM saver_steps WHERE step_id > ? AND step_id < ?", [base, last]
        ).fetchall()
        for (checkpoint_id,) in ids:
            found.steps += 1
            where = {"thread_id": thread_id, "checkpoint_ns": ns, "checkpoint_id": checkpoint_id}
            row = find(db, {"configurable": where})
            if row is None:
                continue
            try:
                load(db, serde, row)
                if not row.kind.startswith(STOCK):
                    used |= unpack_body(serde, row.kind, row.body).parts()
            except (UndecodableState, NotDecodable) as error:
                found.undecodable[checkpoint_id] = str(error)
        found.left_over += len(_parts(db, line_id) - used)
        found.loose_writes += db.execute(
            "SELECT count(*) FROM saver_writes w WHERE line_id = ? AND NOT EXISTS (SELECT 1 FROM "
            "saver_steps s WHERE s.line_id = w.line_id AND s.checkpoint_id = w.checkpoint_id)",
            [line_id],
        ).fetchone()[0]
    return found


def _parts(db: Database, line_id: int) -> set[int]:
    base, last = span(line_id)
    rows = db.execute(
        "SELECT part_id FROM saver_parts WHERE part_id > ? AND part_id < ?", [base, last]
    ).fetchall()
    return {row[0] - base for row in rows}
