"""Whole threads as JSON lines: turns, saved steps, and what else is kept of them.

One record a line. The first names the format, each thread ends with a count and the file with
another, so half a file is noticed. Steps are the checkpoints that are kept, as LangGraph's
serializer writes them: the form does not depend on how this version lays out its tables.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import AsyncIterator
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol

from rolecall.database import DatabaseFile
from rolecall.threads.checkpoints import thread_config
from rolecall.threads.copies import tables_of_threads
from rolecall.threads.saver import ThreadSaver
from rolecall.threads.steps import each_step
from rolecall.threads.transcript import Transcript

FORMAT = "rolecall-threads"
VERSION = 1
OWN_RECORDS = frozenset({"threads", "turns", "undecodable"})
"""Tables that are not exported as bare rows: they have records of their own, or stay here."""

Record = dict[str, Any]
_PAGE = 100


class Exporter:
    """Reads threads as records.

    Args:
        file: the database.
        saver: its steps.
    """

    def __init__(self, file: DatabaseFile, saver: ThreadSaver) -> None:
        self._file = file
        self._saver = saver
        self._transcript = Transcript(file)

    async def archive(self, threads: AsyncIterator[str]) -> AsyncIterator[Record]:
        """The records of a whole file.

        Raises:
            UnknownThread: there is no such thread.
            UndecodableState: a step cannot be read back.
        """
        yield header()
        count = 0
        async for thread_id in threads:
            count += 1
            async for record in self.thread(thread_id):
                yield record
        yield {"kind": "end", "threads": count}

    async def thread(self, thread_id: str) -> AsyncIterator[Record]:
        """The records of one thread: itself, its turns, steps and further rows, their counts."""
        row = await self._transcript.thread(thread_id)
        row.pop("last_used", None)
        yield {"kind": "thread", **row}
        turns = steps = rows = 0
        async for turn in self._transcript.each_turn(thread_id):
            del turn["thread_id"]
            turns += 1
            yield {"kind": "turn", **turn}
        async for _, _, ns, checkpoint_id in each_step(self._file, self._saver, thread_id):
            config = thread_config(thread_id, checkpoint_id=checkpoint_id)
            config["configurable"]["checkpoint_ns"] = ns
            step = await self._saver.aget_tuple(config)
            if step is not None:  # else: pruned meanwhile
                steps += 1
                yield _step_record(step, self._saver.serde)
        async for record in self._rows(thread_id):
            rows += 1
            yield record
        yield {"kind": "end_of_thread", "turns": turns, "steps": steps, "rows": rows}

    async def _rows(self, thread_id: str) -> AsyncIterator[Record]:
        for table in await self._file.run(tables_of_threads):
            if table in OWN_RECORDS or table.startswith("stock_"):
                continue
            sql = f'SELECT * FROM "{table}" WHERE thread_id = ? LIMIT ? OFFSET ?'  # noqa: S608
            offset = 0
            while True:
                values = [thread_id, _PAGE, offset]
                page = await self._file.run(lambda db, s=sql, v=values: list(db.query(s, v)))  # type: ignore[misc]
                for row in page:
                    del row["thread_id"]
                    given = {name: _plain(value) for name, value in row.items()}
                    yield {"kind": "row", "table": table, "row": given}
                offset += len(page)
                if len(page) < _PAGE:
                    break


def header() -> Record:
    """The first record of a file."""
    from rolecall import __version__

    return {
        "kind": "archive",
        "format": FORMAT,
        "version": VERSION,
        "rolecall": __version__,
        "at": time.time(),
    }


def packed(serde: SerializerProtocol, value: Any) -> list[str]:
    """A value as its type and the text of its compressed bytes."""
    kind, raw = serde.dumps_typed(value)
    return [kind, base64.b64encode(zlib.compress(raw, 6)).decode()]


def unpacked(serde: SerializerProtocol, given: Any) -> Any:
    """The value that :func:`packed` was given.

    Raises:
        ValueError, TypeError, zlib.error: it is not what was written.
    """
    kind, text = given
    return serde.loads_typed((kind, zlib.decompress(base64.b64decode(text, validate=True))))


def line(record: Record) -> str:
    """A record as one line; ASCII, so that it passes through anything."""
    return json.dumps(record, default=str)


def _step_record(step: CheckpointTuple, serde: SerializerProtocol) -> Record:
    where = step.config["configurable"]
    parent = step.parent_config["configurable"]["checkpoint_id"] if step.parent_config else None
    return {
        "kind": "step",
        "ns": where["checkpoint_ns"],
        "checkpoint_id": where["checkpoint_id"],
        "parent_id": parent,
        "metadata": dict(step.metadata),
        "checkpoint": packed(serde, step.checkpoint),
        "writes": [
            [task_id, channel, packed(serde, value)]
            for task_id, channel, value in step.pending_writes or []
        ],
    }


def _plain(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value
