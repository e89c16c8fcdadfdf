"""All that changes a saver's tables, as work for the database's thread.

Whatever changes a line other than by a step makes the saver forget what it remembered of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.base import SerializerProtocol

from rolecall.database import DatabaseFile, TakesLong
from rolecall.sqlite import Database
from rolecall.threads.saver import copies, reader, removal
from rolecall.threads.saver.lines import Lines
from rolecall.threads.saver.stock import Stock
from rolecall.threads.saver.writer import Step, TurnOf, Writer, Writes

Work = Callable[[Database], None]
_lines_of: WeakKeyDictionary[DatabaseFile, Lines] = WeakKeyDictionary()


class Bulk:
    """Writes of one saver."""

    def __init__(self, file: DatabaseFile, turn_of: TurnOf, *, keep_all_writes: bool) -> None:
        self._file = file
        self.lines = _lines_of.setdefault(file, Lines())  # savers on one connection share them
        self._writer = Writer(self.lines, turn_of, keep_all_writes=keep_all_writes)
        self.stock = Stock(self._writer, self.lines, self._begin, keep_all_writes=keep_all_writes)

    def write(self, db: Database, items: Sequence[Step | Writes]) -> None:
        """Write steps and pending writes."""
        self._begin(db)
        for item in items:
            self.convert(db, item.serde, str(item.config["configurable"]["thread_id"]))
        self._writer.write(db, items)

    def convert(self, db: Database, serde: SerializerProtocol, thread_id: str | None) -> None:
        """Convert a thread, or all, where the stock saver's tables are still there.

        Raises:
            TakesLong: on an event loop.
        """
        if self.stock.left(db):
            if self._file.on_loop:
                raise TakesLong
            self.stock.convert(db, serde, thread_id)

    def _begin(self, db: Database) -> None:
        self.lines.begin(db, self._file.rollbacks)

    def delete_thread(self, thread_id: str) -> Work:
        """Delete everything of a thread."""

        def delete(db: Database) -> None:
            self._begin(db)
            self.lines.forget(str(thread_id))
            self.stock.delete(db, str(thread_id))
            removal.delete_thread(db, str(thread_id))

        return delete

    def delete_for_runs(self, serde: SerializerProtocol, run_ids: Sequence[str]) -> Work:
        """Delete the steps of some runs."""

        def delete(db: Database) -> None:
            self._begin(db)
            self.stock.convert(db, serde, None)
            self.lines.clear()
            removal.delete_for_runs(db, serde, run_ids)

        return delete

    def copy_thread(self, serde: SerializerProtocol, source: str, target: str) -> Work:
        """Copy everything of a thread."""

        def copy(db: Database) -> None:
            self._begin(db)
            self.stock.convert(db, serde, str(source))
            self.lines.forget(str(target))
            copies.copy_thread(db, str(source), str(target))

        return copy

    def copy_step(
        self, serde: SerializerProtocol, config: RunnableConfig, target: str
    ) -> Callable[[Database], bool]:
        """Make a step the first of a new thread; whether it is there."""

        def copy(db: Database) -> bool:
            self._begin(db)
            self.stock.convert(db, serde, str(config["configurable"]["thread_id"]))
            row = reader.find(db, config)
            if row is None:
                return False
            self.lines.forget(str(target))
            copies.copy_step(db, serde, row, str(target))
            return True

        return copy

    def prune(
        self, serde: SerializerProtocol, thread_ids: Sequence[str], strategy: str
    ) -> Sequence[Work]:
        """One piece of work per thread."""
        if strategy == "delete":
            return [self.delete_thread(thread_id) for thread_id in thread_ids]
        if strategy != "keep_latest":
            raise ValueError(f"there is no strategy {strategy!r}; use keep_latest or delete")
        return [self._keep_latest(serde, thread_id) for thread_id in thread_ids]

    def _keep_latest(self, serde: SerializerProtocol, thread_id: str) -> Work:
        def prune(db: Database) -> None:
            self._begin(db)
            self.stock.convert(db, serde, str(thread_id))
            self.lines.forget(str(thread_id))
            removal.keep_latest(db, serde, str(thread_id))

        return prune
