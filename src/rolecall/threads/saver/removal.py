"""Removing steps, with the writes and parts that only they used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from langgraph.checkpoint.serde.base import SerializerProtocol

from rolecall.sqlite import Database
from rolecall.threads.saver.body import unpack_body
from rolecall.threads.saver.encoding import metadata_of, readable_metadata
from rolecall.threads.saver.lines import span
from rolecall.threads.saver.serializer import NotDecodable

_ROWS = 500
_DELTA = "counters_since_delta_snapshot"


def line_ids(db: Database, thread_id: str) -> list[int]:
    """The lines of a thread, the root's first."""
    rows = db.execute(
        "SELECT line_id FROM saver_lines WHERE thread_id = ? ORDER BY ns", [thread_id]
    ).fetchall()
    return [int(row[0]) for row in rows]


def delete_thread(db: Database, thread_id: str) -> None:
    """Delete everything of a thread. Within a transaction."""
    for line_id in line_ids(db, thread_id):
        delete_line(db, line_id)


def delete_line(db: Database, line_id: int) -> None:
    """Delete everything of a line. Within a transaction."""
    first, last = span(line_id)
    db.execute("DELETE FROM saver_steps WHERE step_id > ? AND step_id < ?", [first, last])
    db.execute("DELETE FROM saver_parts WHERE part_id > ? AND part_id < ?", [first, last])
    db.execute("DELETE FROM saver_writes WHERE line_id = ?", [line_id])
    db.execute("DELETE FROM saver_lines WHERE line_id = ?", [line_id])


def delete_for_runs(db: Database, serde: SerializerProtocol, run_ids: Sequence[str]) -> None:
    """Delete the steps whose metadata names one of the runs. Within a transaction."""
    wanted = {str(run_id) for run_id in run_ids}
    if not wanted:
        return
    found: dict[int, list[int]] = {}
    for step_id, line_id, metadata in db.execute(
        "SELECT step_id, line_id, metadata FROM saver_steps"
    ):
        if str(readable_metadata(metadata).get("run_id")) in wanted:
            found.setdefault(line_id, []).append(step_id)
    for line_id, step_ids in found.items():
        delete_steps(db, serde, line_id, step_ids)


def keep_latest(db: Database, serde: SerializerProtocol, thread_id: str) -> None:
    """Delete all but the newest step of each line. Within a transaction.

    A line whose newest step needs older ones to rebuild a ``DeltaChannel`` keeps them all.
    """
    for line_id in line_ids(db, thread_id):
        rows = db.execute(
            "SELECT step_id, metadata FROM saver_steps WHERE step_id > ? AND step_id < ? "
            "ORDER BY step_id DESC",
            span(line_id),
        ).fetchall()
        if rows and _DELTA not in metadata_of(rows[0][1]):
            delete_steps(db, serde, line_id, [row[0] for row in rows[1:]])


def delete_steps(
    db: Database, serde: SerializerProtocol, line_id: int, step_ids: Iterable[int]
) -> int:
    """Delete steps of one line. Within a transaction.

    Returns:
        How many parts went with them.
    """
    listed = sorted(step_ids)
    base, _ = span(line_id)
    if not listed:
        return 0
    touched: set[int] = set()
    for some in _chunks(listed):
        marks = _marks(some)
        for kind, body in db.execute(
            f"SELECT kind, body FROM saver_steps WHERE step_id IN ({marks})",  # noqa: S608
            some,
        ).fetchall():
            touched |= parts_of(serde, kind, body)
        db.execute(
            "DELETE FROM saver_writes WHERE line_id = ? AND checkpoint_id IN "  # noqa: S608
            f"(SELECT checkpoint_id FROM saver_steps WHERE step_id IN ({marks}))",
            [line_id, *some],
        )
        db.execute(f"DELETE FROM saver_steps WHERE step_id IN ({marks})", some)  # noqa: S608
    _mend_head(db, serde, line_id, listed[-1], touched)
    return _delete_unused(db, line_id, base, touched)


def parts_of(serde: SerializerProtocol, kind: str, body: bytes) -> set[int]:
    """The numbers of the parts that a step refers to; none that can be told if it is damaged."""
    try:
        return unpack_body(serde, kind, body).parts()
    except NotDecodable:
        return set()


def _mend_head(
    db: Database, serde: SerializerProtocol, line_id: int, last_deleted: int, touched: set[int]
) -> None:
    """When the head went: the step before is the head now, and only its parts are in use."""
    base, last = span(line_id)
    row = db.execute(
        "SELECT step_id, kind, body FROM saver_steps WHERE step_id > ? AND step_id < ? "
        "ORDER BY step_id DESC LIMIT 1",
        [base, last],
    ).fetchone()
    if row is not None and row[0] > last_deleted:
        return
    now = set() if row is None else parts_of(serde, row[1], row[2])
    for some in _chunks([base + n for n in sorted(touched - now)]):
        db.execute(
            f"UPDATE saver_parts SET until = ? WHERE until IS NULL AND part_id IN ({_marks(some)})",  # noqa: S608
            [last_deleted - base + 1, *some],
        )
    for some in _chunks([base + n for n in sorted(now)]):
        db.execute(
            f"UPDATE saver_parts SET until = NULL WHERE part_id IN ({_marks(some)})",  # noqa: S608
            some,
        )


def _delete_unused(db: Database, line_id: int, base: int, numbers: set[int]) -> int:
    """Delete those of the parts that no step in their time of use is left for."""
    gone = 0
    for some in _chunks([base + n for n in sorted(numbers)]):
        gone += db.execute(
            f"DELETE FROM saver_parts WHERE part_id IN ({_marks(some)}) "  # noqa: S608
            "AND until IS NOT NULL AND NOT EXISTS (SELECT 1 FROM saver_steps s "
            "WHERE s.step_id >= ? + saver_parts.since AND s.step_id < ? + saver_parts.until)",
            [*some, base, base],
        ).rowcount
    return gone


def _chunks(values: list[int]) -> Iterable[list[int]]:
    return (values[start : start + _ROWS] for start in range(0, len(values), _ROWS))


def _marks(values: list[int]) -> str:
    return ", ".join("?" * len(values))
