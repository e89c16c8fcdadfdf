"""Writes that wait for a database, and how those who wait for them are told."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rolecall.sqlite import Database


class BulkWriter(Protocol):
    """Writes many items with few statements."""

    def write(self, db: Database, items: Sequence[Any]) -> None:
        """Write all items, within a transaction; it may be called again after a rollback."""
        ...


@dataclass
class Write:
    """A write that waits: ``work``, or an item for a bulk writer.

    Attributes:
        outcome: where its end is awaited: from a system thread, or on an event loop.
        brief: an event loop has the time to do it.
    """

    work: Callable[[Database], Any] | None = None
    bulk: BulkWriter | None = None
    item: Any = None
    outcome: Future[Any] | asyncio.Future[Any] = field(default_factory=Future)
    brief: bool = False
    result: Any = None
    _begun: bool = False

    def begin(self) -> bool:
        """Whether it is still wanted; from then on it is done."""
        if not self._begun:
            if isinstance(self.outcome, Future):
                self._begun = self.outcome.set_running_or_notify_cancel()
            else:
                self._begun = not self.outcome.cancelled()
        return self._begun

    def settle(self, problem: BaseException | None = None) -> None:
        """Tell its end to who waits for it, from any thread."""
        if isinstance(self.outcome, Future):
            _tell(self.outcome, self.result, problem)
            return
        loop = self.outcome.get_loop()
        if asyncio._get_running_loop() is loop:
            _tell(self.outcome, self.result, problem)
        else:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_tell, self.outcome, self.result, problem)


def _tell(
    outcome: Future[Any] | asyncio.Future[Any], result: Any, problem: BaseException | None
) -> None:
    if outcome.cancelled():
        return
    if problem is None:
        outcome.set_result(result)
    else:
        outcome.set_exception(problem)


class WriteQueue:
    """Writes in the order in which they came. Any thread may add; one at a time takes."""

    def __init__(self) -> None:
        self._waiting: deque[Write] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def brief(self) -> bool:
        """Whether all that wait are brief."""
        return all(write.brief for write in list(self._waiting))

    def add(self, write: Write) -> None:
        """Add a write at the end."""
        self._waiting.append(write)

    def take(self) -> list[Write]:
        """All that wait and are still wanted."""
        taken: list[Write] = []
        while self._waiting:
            write = self._waiting.popleft()
            if write.begin():
                taken.append(write)
        return taken

    def put_back(self, taken: Sequence[Write]) -> None:
        """Put writes that were taken at the beginning again."""
        self._waiting.extendleft(reversed(taken))


def write_all(database: Database, writes: Sequence[Write]) -> None:
    """Do all writes, within a transaction; items of one bulk writer together."""
    bulks: dict[int, tuple[BulkWriter, list[Any]]] = {}
    for write in writes:
        if write.work is not None:
            write.result = write.work(database)
        elif write.bulk is not None:
            bulks.setdefault(id(write.bulk), (write.bulk, []))[1].append(write.item)
    for bulk, items in bulks.values():
        bulk.write(database, items)
