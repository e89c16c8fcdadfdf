"""Writing steps and pending writes, as many as wait, with few statements in one transaction.

Every statement gives the interpreter away and has to get it back, which takes long when an event
loop is busy beside: so rows of many threads go into one statement.

A part knows from which step of its line (``since``) to before which one (``until``) it is used;
no ``until``: the head uses it. Where a line branches this covers more than is used, never less.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    Checkpoint,
    CheckpointMetadata,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.types import Send

from rolecall.sqlite import Database
from rolecall.threads.saver import statements
from rolecall.threads.saver.body import Part, Reference, Values, digests, pack_body, split
from rolecall.threads.saver.encoding import pack
from rolecall.threads.saver.lines import Line, Lines

TurnOf = Callable[[Checkpoint, CheckpointMetadata], str | None]

_BRANCH = "branch:to:"
_TASKS = "__pregel_tasks"
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass
class Step:
    """One checkpoint to be written."""

    config: RunnableConfig
    checkpoint: Checkpoint
    metadata: CheckpointMetadata
    serde: SerializerProtocol


@dataclass
class Writes:
    """What one task wrote, to be kept with the checkpoint that it runs on."""

    config: RunnableConfig
    writes: Sequence[tuple[str, Any]]
    task_id: str
    task_path: str
    serde: SerializerProtocol


@dataclass
class _Rows:
    """Rows of one transaction, by table."""

    steps: list[tuple[Any, ...]] = field(default_factory=list)
    parts: list[tuple[Any, ...]] = field(default_factory=list)
    until: dict[int, int | None] = field(default_factory=dict)


class Writer:
    """Writes what waits.

    Args:
        lines: what is known of the lines.
        turn_of: which turn a checkpoint belongs to.
        keep_all_writes: keep a task's writes also when the next step has taken them in.
    """

    def __init__(self, lines: Lines, turn_of: TurnOf, *, keep_all_writes: bool) -> None:
        self._lines = lines
        self._turn_of = turn_of
        self._keep_all = keep_all_writes

    def write(self, db: Database, items: Sequence[Step | Writes]) -> None:
        """Write steps and writes. Within a transaction; ``Lines.begin`` was called."""
        pending: dict[tuple[int, str], list[Writes]] = {}
        for item in items:
            if isinstance(item, Writes):
                line = self._open(db, item.config, item.serde)
                pending.setdefault((line.line_id, str(get_checkpoint_id(item.config))), []).append(
                    item
                )
        rows = _Rows()
        for step in items:
            if isinstance(step, Step):
                line = self._open(db, step.config, step.serde)
                parent = get_checkpoint_id(step.config)
                taken_in = (
                    not self._keep_all
                    and parent is not None
                    and parent == line.checkpoint_id
                    and not step.metadata.get("counters_since_delta_snapshot")
                )
                if taken_in:
                    pending.pop((line.line_id, str(parent)), None)
                    if line.has_writes:
                        db.execute(statements.FORGET_WRITES, [line.line_id, parent])
                self._add(db, line, step, rows)
        statements.execute(db, statements.PARTS, rows.parts)
        statements.execute(db, statements.UNTIL, list(rows.until.items()))
        statements.execute(db, statements.STEPS, rows.steps)
        for group in pending.values():
            for item in group:
                self._put_writes(db, item)

    def _open(self, db: Database, config: RunnableConfig, serde: SerializerProtocol) -> Line:
        where = config["configurable"]
        return self._lines.open(
            db, serde, str(where["thread_id"]), str(where.get("checkpoint_ns") or "")
        )

    def _add(self, db: Database, line: Line, step: Step, rows: _Rows) -> None:
        checkpoint, serde = step.checkpoint, step.serde
        parent = get_checkpoint_id(step.config)
        versions = checkpoint["channel_versions"]
        known: dict[str, Reference] = {}
        if parent is not None and parent == line.checkpoint_id:
            known = {
                channel: reference
                for channel, reference in line.references.items()
                if channel in versions and versions[channel] == line.versions.get(channel)
            }
        values = split(serde, checkpoint["channel_values"], known)
        number = self._number(db, line, checkpoint["id"], rows)
        is_head = number > line.number or checkpoint["id"] == line.checkpoint_id
        held = self._refer(db, line, values, number, rows, is_head=is_head)
        metadata = get_checkpoint_metadata(step.config, step.metadata)
        turn_id = self._turn_of(checkpoint, metadata)
        if turn_id is None:
            begins = metadata.get("source") == "input" or line.turn_id is None
            turn_id = checkpoint["id"] if begins else line.turn_id
        kind, body = pack_body(serde, checkpoint, values)
        rows.steps.append(
            (
                line.base + number,
                line.line_id,
                checkpoint["id"],
                parent,
                metadata.get("step"),
                metadata.get("source"),
                turn_id,
                "|".join(next_nodes(checkpoint["channel_values"])),
                (metadata.get("parents") or {}).get("") if line.ns else None,
                checkpoint["ts"],
                _json(metadata),
                kind,
                body,
            )
        )
        if is_head:
            line.number, line.checkpoint_id, line.turn_id = number, checkpoint["id"], turn_id
            line.versions, line.references = dict(versions), values.references
            line.parts, line.has_writes = held, checkpoint["id"] in line.early
            line.early.clear()

    def _number(self, db: Database, line: Line, checkpoint_id: str, rows: _Rows) -> int:
        """A new step's number; a checkpoint that is put again keeps its own."""
        if line.checkpoint_id == checkpoint_id:
            return line.number
        row = db.execute(
            "SELECT step_id FROM saver_steps WHERE line_id = ? AND checkpoint_id = ?",
            [line.line_id, checkpoint_id],
        ).fetchone()
        return line.number + 1 if row is None else int(row[0]) - line.base

    def _refer(
        self, db: Database, line: Line, values: Values, number: int, rows: _Rows, *, is_head: bool
    ) -> dict[bytes, int]:
        """Give every part its number, and note which ones come into use and which go out of it."""
        used = {n for reference in values.references.values() for n in as_numbers(reference)}
        held = {digest: n for digest, n in line.parts.items() if n in used}
        stored = self._stored(db, line, digests(values.new.values()) - line.parts.keys())
        until = None if is_head else number + 1

        def numbered(part: Part) -> int:
            if (found := held.get(part.digest)) is not None:
                return found
            found = line.parts.get(part.digest)
            if found is None and (found := stored.get(part.digest)) is not None and is_head:
                rows.until[line.base + found] = None  # used again
            if found is None:
                found, line.next_part = line.next_part, line.next_part + 1
                row = (line.base + found, line.line_id, part.digest, number, until, *part.stored())
                rows.parts.append(row)
            elif not is_head:
                db.execute(statements.WIDEN, [number, number + 1, line.base + found])
            held[part.digest] = found
            return found

        for channel, new in values.new.items():
            values.references[channel] = (
                [numbered(part) for part in new] if isinstance(new, list) else numbered(new)
            )
        if is_head:
            for digest, n in line.parts.items():
                if digest not in held:
                    rows.until[line.base + n] = number
        return held

    def _stored(self, db: Database, line: Line, wanted: set[bytes]) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        listed = list(wanted)
        for start in range(0, len(listed), statements.ROWS):
            some = listed[start : start + statements.ROWS]
            marks = ", ".join("?" * len(some))
            rows = db.execute(
                "SELECT digest, part_id FROM saver_parts "  # noqa: S608 - marks only
                f"WHERE line_id = ? AND digest IN ({marks})",
                [line.line_id, *some],
            )
            found |= {bytes(digest): part_id - line.base for digest, part_id in rows}
        return found

    def _put_writes(self, db: Database, item: Writes) -> None:
        line = self._open(db, item.config, item.serde)
        checkpoint_id = str(get_checkpoint_id(item.config))
        if checkpoint_id == line.checkpoint_id:
            line.has_writes = True
        else:
            line.early.add(checkpoint_id)
        special = all(channel in WRITES_IDX_MAP for channel, _ in item.writes)
        rows = [
            (
                line.line_id,
                checkpoint_id,
                item.task_id,
                WRITES_IDX_MAP.get(channel, index),
                item.task_path,
                channel,
                *pack(item.serde, value),
            )
            for index, (channel, value) in enumerate(item.writes)
        ]
        statements.execute(
            db, statements.REPLACE_WRITES if special else statements.NEW_WRITES, rows
        )


def next_nodes(values: Mapping[str, Any]) -> list[str]:
    """The nodes that run after a checkpoint with these channel values."""
    nodes = {name.removeprefix(_BRANCH) for name in values if name.startswith(_BRANCH)}
    nodes |= {task.node for task in values.get(_TASKS) or () if isinstance(task, Send)}
    return sorted(nodes)


def _json(metadata: CheckpointMetadata) -> str:
    return _ENCODER.encode(metadata).encode("utf-8", "ignore").decode()


def as_numbers(reference: Reference) -> list[int]:
    """The parts that a reference names."""
    return reference if isinstance(reference, list) else [reference]
