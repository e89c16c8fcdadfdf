"""The checkpointer itself: LangGraph's interface, async and sync, on one SQLite file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from rolecall.database import DatabaseFile
from rolecall.sqlite import Database
from rolecall.threads.saver import reader
from rolecall.threads.saver.bulk import Bulk
from rolecall.threads.saver.schema import migrations
from rolecall.threads.saver.serializer import StrictSerializer
from rolecall.threads.saver.writer import Step, TurnOf, Writes

_PATIENCE_S = 0.002


class ThreadSaver(BaseCheckpointSaver[Any]):
    """Saves LangGraph's checkpoints in a SQLite file, each value once.

    A checkpoint is durable when ``put`` returns: it survives the end of the process at any
    moment (a power cut may take the last commits, never the file's integrity). Safe with several
    threads, event loops and processes on one file; one run at a time per thread is the caller's
    to see to.

    Args:
        file: the database, with the saver's tables among its migrations.
        serde: encodes and decodes; by default LangGraph's msgpack, known-safe types only.
        turn_of: names the turn of a checkpoint, for pruning by turns. Without it a turn begins
            at each input.
        keep_all_writes: keep what tasks wrote also when the next step has taken it in. Needed
            for the results in a state's history; without it a thread takes less space and time.
    """

    def __init__(
        self,
        file: DatabaseFile,
        *,
        serde: SerializerProtocol | None = None,
        turn_of: TurnOf | None = None,
        keep_all_writes: bool = True,
    ) -> None:
        super().__init__(serde=serde or StrictSerializer(allowed_msgpack_modules=None))
        self._file = file
        self._bulk = Bulk(file, turn_of or _no_turn, keep_all_writes=keep_all_writes)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path | str,
        *,
        serde: SerializerProtocol | None = None,
        keep_all_writes: bool = True,
    ) -> AsyncIterator[Self]:
        """A saver on a file of its own; a file of LangGraph's SQLite saver is converted.

        Raises:
            StateError: the file cannot be opened or written.
        """
        file = DatabaseFile(Path(path), migrations)
        try:
            await file.run(lambda db: None)
            yield cls(file, serde=serde, keep_all_writes=keep_all_writes)
        finally:
            await asyncio.get_running_loop().run_in_executor(None, file.close)

    # --- writing ------------------------------------------------------------------------------

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save a checkpoint.

        Raises:
            StateError: the file cannot be written.
        """
        await self._file.add(self._bulk, Step(config, checkpoint, metadata, self.serde))
        return _at(config, checkpoint["id"])

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """:meth:`aput`, blocking."""
        step = Step(config, checkpoint, metadata, self.serde)
        self._file.submit_item(self._bulk, step).result()
        return _at(config, checkpoint["id"])

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Save what a task wrote, with the checkpoint that it ran on.

        As a rule the next checkpoint follows at once and commits it along; it is waited for no
        longer than 2 ms.

        Raises:
            StateError: the file cannot be written.
        """
        item = Writes(config, writes, task_id, task_path, self.serde)
        await self._file.add(self._bulk, item, _PATIENCE_S)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """:meth:`aput_writes`, blocking."""
        item = Writes(config, writes, task_id, task_path, self.serde)
        self._file.submit_item(self._bulk, item).result()

    def get_next_version(self, current: Any, channel: None) -> Any:
        """The version after ``current``: counted, also where another saver wrote text."""
        if isinstance(current, str):
            count, _, rest = current.partition(".")
            return f"{int(count) + 1:0{len(count)}}.{rest}" if rest else str(int(count) + 1)
        return 1 if current is None else int(current) + 1

    # --- reading ------------------------------------------------------------------------------

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """A checkpoint by its id, or the newest; ``None`` if there is none.

        Raises:
            UndecodableState: its bytes do not give it back; they are kept.
            StateError: the file cannot be read.
        """
        return await self._file.read(self._get(config))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """:meth:`aget_tuple`, blocking."""
        return self._file.submit(self._get(config)).result()

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Checkpoints, newest first. Others may write meanwhile.

        Args:
            config: a thread, a line of it, or one checkpoint; ``None``: all threads.
            filter: what the metadata must hold, by key.
            before: only those older than this one.
            limit: how many at most.

        Raises:
            UndecodableState, StateError: as for :meth:`aget_tuple`.
        """
        after: reader.Row | None = None
        left = limit
        while left is None or left > 0:
            page = self._page(config, filter, before, after, left)
            found, after = await self._file.run(page)
            for item in found:
                yield item
            if after is None:
                return
            left = None if left is None else left - len(found)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """:meth:`alist`, blocking."""
        after: reader.Row | None = None
        left = limit
        while left is None or left > 0:
            page = self._page(config, filter, before, after, left)
            found, after = self._file.submit(page).result()
            yield from found
            if after is None:
                return
            left = None if left is None else left - len(found)

    def _get(self, config: RunnableConfig) -> Callable[[Database], CheckpointTuple | None]:
        def get(db: Database) -> CheckpointTuple | None:
            self._bulk.convert(db, self.serde, str(config["configurable"]["thread_id"]))
            for _ in range(3):  # a step that was pruned while it was read: the next one
                row = reader.find(db, config)
                if row is None:
                    return None
                if (found := reader.load(db, self.serde, row)) is not None:
                    return found
            return None

        return get

    def _page(self, config: Any, filter: Any, before: Any, after: Any, left: int | None) -> Any:  # noqa: A002 - LangGraph's name
        def page(db: Database) -> tuple[Sequence[CheckpointTuple], reader.Row | None]:
            thread_id = (config or {}).get("configurable", {}).get("thread_id")
            self._bulk.stock.convert(db, self.serde, None if thread_id is None else str(thread_id))
            rows, more = reader.page(db, config, filter, before, after)
            if left is not None and len(rows) >= left:
                rows, more = rows[:left], None
            found = [reader.load(db, self.serde, row) for row in rows]
            return [item for item in found if item is not None], more

        return page

    # --- light lists and conversion -----------------------------------------------------------

    async def asteps(
        self,
        thread_id: str,
        *,
        limit: int = 20,
        before: str | None = None,
        turn_id: str | None = None,
    ) -> Sequence[dict[str, Any]]:
        """Steps of a thread's root namespace, newest first, without decoding any value.

        Args:
            thread_id: the thread.
            limit: how many at most.
            before: a checkpoint id; only steps older than it.
            turn_id: only steps of this turn.

        Returns:
            Per step: ``step``, ``checkpoint_id``, ``parent_id``, ``at`` (ISO 8601), ``source``,
            ``turn_id``, ``next`` (names of nodes).
        """

        def steps(db: Database) -> Sequence[dict[str, Any]]:
            self.convert(db, thread_id)
            return reader.steps(db, thread_id, limit, before, turn_id)

        return await self._file.run(steps)

    def convert(self, db: Database, thread_id: str | None = None) -> None:
        """Convert a thread of LangGraph's SQLite saver, or all of them; for SQL on the tables.

        Call it on the file's thread (``DatabaseFile.run`` or ``commit``). Nothing happens where
        nothing is left.
        """
        self._bulk.stock.convert(db, self.serde, thread_id)

    async def aconvert_some(self) -> bool:
        """Convert up to a hundred steps of LangGraph's SQLite saver; whether any were left.

        A thread is converted anyhow when it is used; this is for the others.
        """
        if self._bulk.stock.nothing_left:
            return False
        return await self._file.run(lambda db: self._bulk.stock.convert_some(db, self.serde))

    # --- removing and copying -----------------------------------------------------------------

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread's checkpoints and writes."""
        await self._file.commit(self._bulk.delete_thread(thread_id))

    def delete_thread(self, thread_id: str) -> None:
        """:meth:`adelete_thread`, blocking."""
        self._file.submit_write(self._bulk.delete_thread(thread_id)).result()

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints, and their writes, whose metadata names one of the runs.

        Reads the metadata of every step in the file.
        """
        await self._file.commit(self._bulk.delete_for_runs(self.serde, run_ids))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """:meth:`adelete_for_runs`, blocking."""
        self._file.submit_write(self._bulk.delete_for_runs(self.serde, run_ids)).result()

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints and writes of a thread into a new one.

        Raises:
            ValueError: the target has checkpoints already; nothing was changed.
        """
        await self._file.commit(
            self._bulk.copy_thread(self.serde, source_thread_id, target_thread_id)
        )

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """:meth:`acopy_thread`, blocking."""
        work = self._bulk.copy_thread(self.serde, source_thread_id, target_thread_id)
        self._file.submit_write(work).result()

    async def acopy_step(self, config: RunnableConfig, target_thread_id: str) -> bool:
        """Make one checkpoint the first of a new thread; the other namespaces stay behind.

        Writes pending on a thread's newest checkpoint go along.

        Returns:
            Whether there is such a checkpoint.

        Raises:
            ValueError: the target has checkpoints already; nothing was changed.
        """
        return await self._file.commit(self._bulk.copy_step(self.serde, config, target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Remove checkpoints of threads.

        Args:
            thread_ids: the threads.
            strategy: ``keep_latest`` keeps the newest of each namespace, and whatever a
                ``DeltaChannel`` needs to be rebuilt; ``delete`` keeps nothing.
        """
        for work in self._bulk.prune(self.serde, thread_ids, strategy):
            await self._file.commit(work)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """:meth:`aprune`, blocking."""
        for work in self._bulk.prune(self.serde, thread_ids, strategy):
            self._file.submit_write(work).result()


def _no_turn(checkpoint: Checkpoint, metadata: CheckpointMetadata) -> None:
    return None


def _at(config: RunnableConfig, checkpoint_id: str) -> RunnableConfig:
    where = config["configurable"]
    return {
        "configurable": {
            "thread_id": where["thread_id"],
            "checkpoint_ns": where.get("checkpoint_ns") or "",
            "checkpoint_id": checkpoint_id,
        }
    }
