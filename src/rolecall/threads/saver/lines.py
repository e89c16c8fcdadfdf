"""What is known of the lines that are being written: their heads and the parts these hold.

Lives on the database's own thread. What it remembers holds as long as nobody else wrote: another
connection's commit is noticed (``PRAGMA data_version``), after which each line's head is compared
before it is used again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

from rolecall.sqlite import Database
from rolecall.threads.saver.body import Body, Reference, unpack_body
from rolecall.threads.saver.schema import SHIFT
from rolecall.threads.saver.serializer import NotDecodable

_LINES = 256
_PARTS = 20_000
_COUNTED_EACH = 16


@dataclass
class Line:
    """A line's newest step (its head), and what a next step can share with it."""

    line_id: int
    ns: str
    number: int = 0
    checkpoint_id: str | None = None
    turn_id: str | None = None
    versions: dict[str, Any] = field(default_factory=dict)
    references: dict[str, Reference] = field(default_factory=dict)
    parts: dict[bytes, int] = field(default_factory=dict)
    next_part: int = 1
    has_writes: bool = False
    early: set[str] = field(default_factory=set)
    checked: int = -1

    @property
    def base(self) -> int:
        """Added to a number, the id of its row."""
        return self.line_id << SHIFT


class Lines:
    """The lines of one connection, those used last."""

    def __init__(self) -> None:
        self._lines: OrderedDict[tuple[str, str], Line] = OrderedDict()
        self._added = 0
        self._epoch = 0
        self._version: int | None = None
        self._rollbacks = 0

    def begin(self, db: Database, rollbacks: int) -> None:
        """At the beginning of each write: has anything changed that is remembered here?"""
        if rollbacks != self._rollbacks:  # what was noted down in it never happened
            self._lines.clear()
            self._rollbacks = rollbacks
        (version,) = db.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._version = version
            self._epoch += 1

    def forget(self, thread_id: str) -> None:
        """A thread was changed in another way than by adding steps."""
        for key in [key for key in self._lines if key[0] == thread_id]:
            del self._lines[key]

    def clear(self) -> None:
        """Everything may have changed."""
        self._lines.clear()

    def open(self, db: Database, serde: SerializerProtocol, thread_id: str, ns: str) -> Line:
        """A line as it is now; made when it is not there."""
        key = (thread_id, ns)
        line = self._lines.get(key)
        if line is not None and line.checked != self._epoch:
            if head_of(db, line.line_id) != (line.number, line.checkpoint_id):
                line = None
            else:
                line.has_writes = True  # another process may have added some
                line.checked = self._epoch
        if line is None:
            line = _load(db, serde, thread_id, ns)
            line.checked = self._epoch
            self._make_room()
            self._lines[key] = line
        self._lines.move_to_end(key)
        return line

    def _make_room(self) -> None:
        """For one more line. Parts are counted now and then: it takes longer than a write."""
        if len(self._lines) >= _LINES:
            self._lines.popitem(last=False)
        self._added += 1
        if self._added % _COUNTED_EACH == 0:
            held = sum(len(line.parts) for line in self._lines.values())
            while self._lines and held > _PARTS:
                _, forgotten = self._lines.popitem(last=False)
                held -= len(forgotten.parts)


def line_id_of(db: Database, thread_id: str, ns: str) -> int | None:
    """A line's id, if it is there."""
    row = db.execute(
        "SELECT line_id FROM saver_lines WHERE thread_id = ? AND ns = ?", [thread_id, ns]
    ).fetchone()
    return None if row is None else int(row[0])


def span(line_id: int) -> tuple[int, int]:
    """The ids of a line's rows lie between these two."""
    return line_id << SHIFT, (line_id + 1) << SHIFT


def head_of(db: Database, line_id: int) -> tuple[int, str] | None:
    """The number and checkpoint id of a line's newest step."""
    row = db.execute(
        "SELECT step_id, checkpoint_id FROM saver_steps WHERE step_id > ? AND step_id < ? "
        "ORDER BY step_id DESC LIMIT 1",
        span(line_id),
    ).fetchone()
    return None if row is None else (row[0] - (line_id << SHIFT), row[1])


def _load(db: Database, serde: SerializerProtocol, thread_id: str, ns: str) -> Line:
    line_id = line_id_of(db, thread_id, ns)
    if line_id is None:
        cursor = db.execute(
            "INSERT INTO saver_lines (thread_id, ns) VALUES (?, ?)", [thread_id, ns]
        )
        return Line(int(cursor.lastrowid or 0), ns)
    line = Line(line_id, ns)
    first, last = span(line_id)
    row = db.execute(
        "SELECT step_id, checkpoint_id, turn_id, kind, body FROM saver_steps "
        "WHERE step_id > ? AND step_id < ? ORDER BY step_id DESC LIMIT 1",
        [first, last],
    ).fetchone()
    (newest,) = db.execute(
        "SELECT max(part_id) FROM saver_parts WHERE part_id > ? AND part_id < ?", [first, last]
    ).fetchone()
    line.next_part = 1 if newest is None else newest - first + 1
    if row is None:
        return line
    line.number, line.checkpoint_id, line.turn_id = row[0] - first, row[1], row[2]
    line.has_writes = True
    try:
        body = unpack_body(serde, row[3], row[4])
    except NotDecodable:  # the next step shares nothing with it
        return line
    line.versions = dict(body.rest.get("channel_versions", {}))
    line.references = body.references()
    line.parts = _digests(db, first, body)
    return line


def _digests(db: Database, base: int, body: Body) -> dict[bytes, int]:
    found: dict[bytes, int] = {}
    numbers = sorted(body.parts())
    for start in range(0, len(numbers), 500):
        ids = [base + n for n in numbers[start : start + 500]]
        marks = ", ".join("?" * len(ids))
        rows = db.execute(
            f"SELECT digest, part_id FROM saver_parts WHERE part_id IN ({marks})",  # noqa: S608
            ids,
        )
        found |= {bytes(row[0]): row[1] - base for row in rows}
    return found
