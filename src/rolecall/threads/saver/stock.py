"""Threads of LangGraph's SQLite saver, converted bit by bit.

Its tables stand aside under the names ``stock_checkpoints`` and ``stock_writes``; a thread is
converted when it is first used, in transactions of a hundred steps, others in passing. A step
that cannot be decoded is taken over as it is: its bytes are kept, and reading it is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.serde.base import SerializerProtocol

from rolecall.database import writing
from rolecall.sqlite import Database
from rolecall.threads.saver.lines import Lines, head_of
from rolecall.threads.saver.reader import STOCK
from rolecall.threads.saver.serializer import NotDecodable
from rolecall.threads.saver.writer import Step, Writer

_BATCH = 100


class Stock:
    """What is left to convert in one file.

    Args:
        writer: takes the steps.
        lines: what is known of the lines.
        begin: called at the beginning of each transaction.
        keep_all_writes: take over also the writes that a later step has taken in.
    """

    def __init__(
        self,
        writer: Writer,
        lines: Lines,
        begin: Callable[[Database], None],
        *,
        keep_all_writes: bool,
    ) -> None:
        self._writer = writer
        self._lines = lines
        self._begin = begin
        self._keep_all = keep_all_writes
        self._left: bool | None = None

    def convert(self, db: Database, serde: SerializerProtocol, thread_id: str | None) -> None:
        """Convert a thread, or all of them, if that is still to be done."""
        while self.left(db) and (which := self._one(db, thread_id)) is not None:
            if db.conn.in_transaction:
                self._convert_some(db, serde, which)
            else:
                self.convert_some(db, serde, which)

    def convert_some(
        self, db: Database, serde: SerializerProtocol, thread_id: str | None = None
    ) -> bool:
        """Convert up to a hundred steps of a thread, or of any; whether any were left."""
        if not self.left(db):
            return False
        with writing(db):
            self._begin(db)
            which = self._one(db, thread_id)
            if which is not None:
                self._convert_some(db, serde, which)
            elif thread_id is None:
                db.execute("DROP TABLE IF EXISTS stock_writes")
                db.execute("DROP TABLE IF EXISTS stock_checkpoints")
                self._left = None
        return which is not None

    def delete(self, db: Database, thread_id: str) -> None:
        """Forget what is left of a thread."""
        if self.left(db):
            for table in _tables(db):
                db.execute(f"DELETE FROM {table} WHERE thread_id = ?", [thread_id])  # noqa: S608

    @property
    def nothing_left(self) -> bool:
        """Whether it is known that nothing is left."""
        return self._left is False

    def left(self, db: Database) -> bool:
        """Whether there may be anything left."""
        if self._left is not False:
            self._left = bool(_tables(db))
        return self._left

    def _one(self, db: Database, thread_id: str | None) -> str | None:
        """A thread with something left: the one given, or any."""
        for table in _tables(db):
            sql, values = f"SELECT thread_id FROM {table}", []  # noqa: S608 - our own names
            if thread_id is not None:
                sql, values = f"{sql} WHERE thread_id = ?", [thread_id]
            if (row := db.execute(f"{sql} LIMIT 1", values).fetchone()) is not None:
                return str(row[0])
        return None

    def _convert_some(self, db: Database, serde: SerializerProtocol, thread_id: str) -> None:
        rows: list[Any] = []
        if "stock_checkpoints" in _tables(db):
            rows = db.execute(
                "SELECT rowid, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, "
                "checkpoint, metadata FROM stock_checkpoints WHERE thread_id = ? "
                "ORDER BY rowid LIMIT ?",
                [thread_id, _BATCH],
            ).fetchall()
        for rowid, ns, checkpoint_id, parent, kind, body, metadata in rows:
            config: RunnableConfig = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ns}}
            if parent:
                config["configurable"]["checkpoint_id"] = parent
            given: Any = json.loads(metadata) if metadata else {}
            try:
                checkpoint = serde.loads_typed((kind, body))
                step = Step(config, _counted(checkpoint), given, serde)
                self._writer.write(db, [step])
            except Exception as error:
                if not isinstance(error, NotDecodable | TypeError | ValueError | KeyError):
                    raise
                self._keep(db, serde, config, (checkpoint_id, parent, kind, body, given))
            db.execute("DELETE FROM stock_checkpoints WHERE rowid = ?", [rowid])
        if len(rows) < _BATCH:
            self._take_writes(db, serde, thread_id)

    def _keep(
        self,
        db: Database,
        serde: SerializerProtocol,
        config: RunnableConfig,
        row: tuple[str, str | None, str, bytes, dict[str, Any]],
    ) -> None:
        checkpoint_id, parent, kind, body, metadata = row
        where = config["configurable"]
        line = self._lines.open(db, serde, where["thread_id"], where["checkpoint_ns"])
        db.execute(
            "INSERT INTO saver_steps (step_id, line_id, checkpoint_id, parent_id, step, source, "
            "turn_id, metadata, kind, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                line.base + line.number + 1,
                line.line_id,
                checkpoint_id,
                parent,
                metadata.get("step"),
                metadata.get("source"),
                metadata.get("turn_id") or line.turn_id,
                json.dumps(metadata, ensure_ascii=False),
                STOCK + kind,
                body,
            ],
        )
        self._lines.forget(where["thread_id"])

    def _take_writes(self, db: Database, serde: SerializerProtocol, thread_id: str) -> None:
        if "stock_writes" not in _tables(db):
            return
        has_path = any(
            row[1] == "task_path" for row in db.execute("PRAGMA table_info(stock_writes)")
        )
        path = "task_path" if has_path else "''"
        for (ns,) in db.execute(
            "SELECT DISTINCT checkpoint_ns FROM stock_writes WHERE thread_id = ?", [thread_id]
        ).fetchall():
            line = self._lines.open(db, serde, thread_id, ns)
            head = head_of(db, line.line_id)
            wanted = "" if self._keep_all else "AND checkpoint_id = ?"
            db.execute(
                "INSERT OR IGNORE INTO saver_writes (line_id, checkpoint_id, task_id, idx, "  # noqa: S608
                "task_path, channel, kind, value) "
                f"SELECT ?, checkpoint_id, task_id, idx, {path}, channel, type, value "
                f"FROM stock_writes WHERE thread_id = ? AND checkpoint_ns = ? {wanted}",
                [line.line_id, thread_id, ns]
                + ([] if self._keep_all else [head[1] if head else ""]),
            )
            line.has_writes = True
        db.execute("DELETE FROM stock_writes WHERE thread_id = ?", [thread_id])


def _tables(db: Database) -> list[str]:
    rows: Iterable[Any] = db.execute(
        "SELECT name FROM sqlite_master WHERE name IN ('stock_checkpoints', 'stock_writes') "
        "ORDER BY name"
    )
    return [row[0] for row in rows]


def _counted(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with versions that are counts, instead of texts of fifty characters."""
    if not isinstance(checkpoint, dict) or "channel_values" not in checkpoint:
        raise NotDecodable("this is no checkpoint")
    counted: Any = {
        **checkpoint,
        "channel_versions": _counts(checkpoint["channel_versions"]),
        "versions_seen": {
            node: _counts(seen) for node, seen in checkpoint["versions_seen"].items()
        },
    }
    return counted  # type: ignore[no-any-return]


def _counts(versions: dict[str, Any]) -> dict[str, Any]:
    return {
        channel: int(version.partition(".")[0]) if isinstance(version, str) else version
        for channel, version in versions.items()
    }
