"""Reading steps back, whole or as a light list. Nothing is held open between two pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    Checkpoint,
    CheckpointTuple,
    PendingWrite,
    get_checkpoint_id,
    writes_sort_key,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from rolecall.errors import UndecodableState
from rolecall.sqlite import Database
from rolecall.threads.saver.body import unpack_body
from rolecall.threads.saver.encoding import metadata_of, unpack
from rolecall.threads.saver.filters import check_filter, matches
from rolecall.threads.saver.lines import line_id_of, span
from rolecall.threads.saver.serializer import NotDecodable

STOCK = "stock:"
"""Marks a step whose body is LangGraph's own, as its SQLite saver wrote it."""

_COLUMNS = (
    "s.step_id, s.line_id, l.thread_id, l.ns, s.checkpoint_id, s.parent_id, s.ts, s.metadata, "
    "s.kind, s.body FROM saver_steps s CROSS JOIN saver_lines l ON l.line_id = s.line_id"
)
_ROWS = 500
_PAGE = 50


@dataclass(frozen=True)
class Row:
    """A step as it is stored."""

    step_id: int
    line_id: int
    thread_id: str
    ns: str
    checkpoint_id: str
    parent_id: str | None
    ts: str | None
    metadata: str
    kind: str
    body: bytes


def find(db: Database, config: RunnableConfig) -> Row | None:
    """The step that a config addresses; the newest of its line without a checkpoint id."""
    where = config["configurable"]
    line_id = line_id_of(db, str(where["thread_id"]), str(where.get("checkpoint_ns") or ""))
    if line_id is None:
        return None
    checkpoint_id = get_checkpoint_id(config)
    if checkpoint_id:
        sql = f"SELECT {_COLUMNS} WHERE s.line_id = ? AND s.checkpoint_id = ?"
        row = db.execute(sql, [line_id, str(checkpoint_id)]).fetchone()
    else:
        sql = (
            f"SELECT {_COLUMNS} WHERE s.step_id > ? AND s.step_id < ? "
            "ORDER BY s.step_id DESC LIMIT 1"
        )
        row = db.execute(sql, span(line_id)).fetchone()
    return None if row is None else Row(*row)


def load(db: Database, serde: SerializerProtocol, row: Row) -> CheckpointTuple | None:
    """A step with its values and pending writes; ``None`` if it was removed meanwhile.

    Raises:
        UndecodableState: its bytes do not give it back.
    """
    try:
        checkpoint = _checkpoint(db, serde, row)
        writes = _writes(db, serde, row)
        metadata: Any = metadata_of(row.metadata)
    except NotDecodable as error:
        still = db.execute("SELECT 1 FROM saver_steps WHERE step_id = ?", [row.step_id]).fetchone()
        if still is None:
            return None  # pruned between two statements
        raise undecodable(row.thread_id, row.checkpoint_id, error) from error
    return CheckpointTuple(
        _config(row, row.checkpoint_id),
        checkpoint,
        metadata,
        _config(row, row.parent_id) if row.parent_id else None,
        writes,
    )


def undecodable(thread_id: str, checkpoint_id: str, error: Exception) -> UndecodableState:
    """The error for a step that cannot be read back."""
    return UndecodableState(
        f"step {checkpoint_id} of thread {thread_id} cannot be read back: {error}. "
        f"Its bytes are kept. See what is left with: rolecall threads check {thread_id}"
    )


def page(
    db: Database,
    config: RunnableConfig | None,
    filter: Mapping[str, Any] | None,  # noqa: A002 - LangGraph's name
    before: RunnableConfig | None,
    after: Row | None,
) -> tuple[list[Row], Row | None]:
    """The next rows that match, newest first, and where to go on (``None``: that was all).

    One line is in the order in which it was written, also when the clock was set back; several
    lines are in the order of their checkpoint ids.
    """
    check_filter(filter)
    where = config["configurable"] if config is not None else {}
    conditions: list[str] = []
    values: list[Any] = []
    one_line = "thread_id" in where and where.get("checkpoint_ns") is not None
    order = "s.step_id" if one_line else "s.checkpoint_id"
    if one_line:
        line_id = line_id_of(db, str(where["thread_id"]), str(where["checkpoint_ns"]))
        if line_id is None:
            return [], None
        conditions.append("s.step_id > ? AND s.step_id < ?")
        values += span(line_id)
    else:
        for name, column in (("thread_id", "l.thread_id"), ("checkpoint_ns", "l.ns")):
            if where.get(name) is not None:
                conditions.append(f"{column} = ?")
                values.append(str(where[name]))
    if config is not None and (checkpoint_id := get_checkpoint_id(config)):
        conditions.append("s.checkpoint_id = ?")
        values.append(str(checkpoint_id))
    if before is not None and (limit := get_checkpoint_id(before)):
        bound = _number_of(db, values[0] >> 32, limit) if one_line else None
        conditions.append("s.step_id < ?" if bound is not None else "s.checkpoint_id < ?")
        values.append(bound if bound is not None else str(limit))
    for name in ("step", "source"):
        if filter and isinstance(filter.get(name), int | str):
            conditions.append(f"s.{name} = ?")
            values.append(filter[name])
    if after is not None:
        conditions.append(f"({order}, s.step_id) < (?, ?)")
        values += [after.step_id if one_line else after.checkpoint_id, after.step_id]
    sql = f"SELECT {_COLUMNS}"
    if conditions:
        sql += f" WHERE {' AND '.join(conditions)}"
    sql += f" ORDER BY {order} DESC, s.step_id DESC LIMIT {_PAGE}"
    rows = [Row(*row) for row in db.execute(sql, values)]
    more = rows[-1] if len(rows) == _PAGE else None
    return [row for row in rows if matches(row.metadata, filter)], more


def steps(
    db: Database, thread_id: str, limit: int, before: str | None, turn_id: str | None
) -> list[dict[str, Any]]:
    """Steps of a thread's root line, newest first, from their columns alone."""
    line_id = line_id_of(db, thread_id, "")
    if line_id is None:
        return []
    first, last = span(line_id)
    if before is not None:
        last = _number_of(db, line_id, before) or first
    sql = (
        "SELECT step, checkpoint_id, parent_id, ts, source, turn_id, next FROM saver_steps "
        "WHERE step_id > ? AND step_id < ? AND (? IS NULL OR turn_id = ?) "
        "ORDER BY step_id DESC LIMIT ?"
    )
    rows = db.execute(sql, [first, last, turn_id, turn_id, limit])
    names = ("step", "checkpoint_id", "parent_id", "at", "source", "turn_id")
    return [
        {
            **dict(zip(names, row[:-1], strict=True)),
            "next": row[-1].split("|") if row[-1] else [],
        }
        for row in rows
    ]


def _number_of(db: Database, line_id: int, checkpoint_id: Any) -> int | None:
    row = db.execute(
        "SELECT step_id FROM saver_steps WHERE line_id = ? AND checkpoint_id = ?",
        [line_id, str(checkpoint_id)],
    ).fetchone()
    return None if row is None else int(row[0])


def _checkpoint(db: Database, serde: SerializerProtocol, row: Row) -> Checkpoint:
    if isinstance(row.kind, str) and row.kind.startswith(STOCK):
        whole: Checkpoint = unpack(serde, row.kind.removeprefix(STOCK), row.body)
        if not isinstance(whole, dict):
            raise NotDecodable("this is no checkpoint")
        return whole
    body = unpack_body(serde, row.kind, row.body)
    base = span(row.line_id)[0]
    parts = {
        part_id - base: unpack(serde, kind, packed)
        for part_id, kind, packed in part_rows(db, (base + n for n in body.parts()))
    }
    values = body.values(serde, parts)
    checkpoint: Any = {
        **body.rest,
        "id": row.checkpoint_id,
        "ts": row.ts,
        "channel_values": values,
    }
    return checkpoint  # type: ignore[no-any-return]


def part_rows(db: Database, part_ids: Iterable[int]) -> Iterator[tuple[int, str, bytes]]:
    """Parts by id: id, kind, bytes."""
    listed = sorted(part_ids)
    for start in range(0, len(listed), _ROWS):
        some = listed[start : start + _ROWS]
        marks = ", ".join("?" * len(some))
        yield from db.execute(
            f"SELECT part_id, kind, body FROM saver_parts WHERE part_id IN ({marks})",  # noqa: S608
            some,
        ).fetchall()


def _writes(db: Database, serde: SerializerProtocol, row: Row) -> list[PendingWrite]:
    rows = db.execute(
        "SELECT task_id, channel, kind, value, task_path, idx FROM saver_writes "
        "WHERE line_id = ? AND checkpoint_id = ?",
        [row.line_id, row.checkpoint_id],
    ).fetchall()
    return [
        (task_id, channel, unpack(serde, kind, value))
        for task_id, channel, kind, value, _, _ in sorted(
            rows, key=lambda r: writes_sort_key(r[4], r[0], r[5])
        )
    ]


def _config(row: Row, checkpoint_id: str) -> RunnableConfig:
    return {
        "configurable": {
            "thread_id": row.thread_id,
            "checkpoint_ns": row.ns,
            "checkpoint_id": checkpoint_id,
        }
    }
