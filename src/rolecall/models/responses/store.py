"""Stored responses: what ``previous_response_id`` goes back to.

Runners keep no responses, or refuse the parameter; so they are kept here, in ``responses.db`` of
``ROLECALL_HOME``. A response and all that were continued from it form a tree, which is dropped as
a whole: 30 days after its last response, or when more than 20,000 responses are kept, the longest
unused trees first. A tree in use never loses its beginning.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from rolecall.database import DatabaseFile, writing
from rolecall.errors import StateError, UnknownResponse
from rolecall.home import folder
from rolecall.models.responses.items import Item
from rolecall.sqlite import Database, Migrations

T = TypeVar("T")

KEPT_DAYS = 30.0
MOST_KEPT = 20_000
_DAY_S = 86_400.0
_PRUNE_EVERY = 100

migrations = Migrations("rolecall.responses")


@migrations()
def m001_responses(db: Database) -> None:
    """One row per response: its own input, and the response as JSON; ``root`` names its tree."""
    db.table("responses").create(
        {
            "id": str,
            "previous_id": str,
            "root": str,
            "created_at": float,
            "input": str,
            "response": str,
        },
        pk="id",
        not_null={"root", "created_at", "input", "response"},
    )
    db.table("responses").create_index(["root", "created_at"])


class ResponseStore:
    """``responses.db`` of this home, opened on first use. Usable from any thread and event loop.

    Args:
        kept_days: age of a tree's last response at which the tree is dropped.
        most_kept: responses kept in all; only a single tree may be larger.
    """

    def __init__(self, *, kept_days: float = KEPT_DAYS, most_kept: int = MOST_KEPT) -> None:
        self._kept_s = kept_days * _DAY_S
        self._most_kept = most_kept
        self._file: DatabaseFile | None = None
        self._lock = threading.Lock()
        self._until_prune = 0

    async def conversation(self, response_id: str | None) -> list[Item]:
        """Input and output items of a response and all before it, in order; none for ``None``.

        Raises:
            UnknownResponse: there is no such response, or one before it was deleted.
            StateError: the database cannot be read.
        """
        if response_id is None:
            await self._run(lambda db: None)  # a database that cannot be used is told of now
            return []
        rows = await self._run(lambda db: list(db.query(_CHAIN, [response_id])))
        if not rows:
            raise unknown_response(response_id)
        if (gone := rows[0]["previous_id"]) is not None:
            raise UnknownResponse(
                f"{response_id!r} cannot be continued: the response {gone!r} before it was "
                "deleted. Send the whole conversation as input."
            )
        items: list[Item] = []
        for row in rows:
            items += _loaded(row["input"], row["id"])
            items += _loaded(row["response"], row["id"])["output"]
        return items

    async def save(self, response: dict[str, Any], given: list[Item]) -> None:
        """Keep a response and the input that was new in it.

        Raises:
            StateError: it cannot be written.
        """
        previous = response.get("previous_response_id")
        values = [
            response["id"],
            previous,
            previous,
            response["id"],
            response["created_at"],
            json.dumps(given),
            json.dumps(response),
        ]

        def write(db: Database) -> None:
            with writing(db):
                db.execute(_INSERT, values)
                if self._until_prune <= 0:
                    self._prune(db)
                    self._until_prune = _PRUNE_EVERY
                self._until_prune -= 1

        await self._run(write)

    async def get(self, response_id: str) -> dict[str, Any]:
        """A response as JSON values.

        Raises:
            UnknownResponse: there is no such response.
        """
        sql = "SELECT response FROM responses WHERE id = ?"
        row = await self._run(lambda db: db.execute(sql, [response_id]).fetchone())
        if row is None:
            raise unknown_response(response_id)
        found: dict[str, Any] = _loaded(row[0], response_id)
        return found

    async def delete(self, response_id: str) -> None:
        """Forget one response. What was continued from it can be read, but not continued.

        Raises:
            UnknownResponse: there is no such response.
        """

        def write(db: Database) -> int:
            with writing(db):
                return db.execute("DELETE FROM responses WHERE id = ?", [response_id]).rowcount

        if not await self._run(write):
            raise unknown_response(response_id)

    def close(self) -> None:
        """Finish what is queued and close the file; the next use opens it again."""
        with self._lock:
            file, self._file = self._file, None
        if file is not None:
            file.close()

    async def _run(self, work: Callable[[Database], T]) -> T:
        return await asyncio.wrap_future(self._submit(work))

    def _submit(self, work: Callable[[Database], T]) -> Future[T]:
        with self._lock:  # a file that another thread closes takes no more work
            if self._file is None:
                self._file = DatabaseFile(folder() / "responses.db", migrations)
            return self._file.submit(work)

    def _prune(self, db: Database) -> None:
        db.execute(_DROP_OLD, [time.time() - self._kept_s])
        db.execute(_DROP_MANY, [self._most_kept])


_CHAIN = """
WITH RECURSIVE chain(id, previous_id, depth) AS (
    SELECT id, previous_id, 0 FROM responses WHERE id = ?
    UNION ALL
    SELECT r.id, r.previous_id, c.depth + 1
    FROM chain c JOIN responses r ON r.id = c.previous_id WHERE c.depth < 1000000
)
SELECT r.id, r.previous_id, r.input, r.response
FROM chain c JOIN responses r ON r.id = c.id ORDER BY c.depth DESC
"""

_INSERT = """
INSERT INTO responses (id, previous_id, root, created_at, input, response)
VALUES (?, ?, coalesce((SELECT root FROM responses WHERE id = ?), ?), ?, ?, ?)
"""

_DROP_OLD = """
DELETE FROM responses WHERE root IN (
    SELECT root FROM responses GROUP BY root HAVING max(created_at) < ?
)
"""

# The trees before this one, by last use, already fill the space.
_DROP_MANY = """
DELETE FROM responses WHERE root IN (
    SELECT root FROM (
        SELECT root, sum(count(*)) OVER (ORDER BY max(created_at) DESC, root) AS total,
               row_number() OVER (ORDER BY max(created_at) DESC, root) AS place
        FROM responses GROUP BY root
    ) WHERE total > ? AND place > 1
)
"""


def unknown_response(response_id: str) -> UnknownResponse:
    """The error for a response that is not kept."""
    return UnknownResponse(
        f"there is no stored response {response_id!r}: responses are kept in this ROLECALL_HOME "
        f"unless store=False, until {KEPT_DAYS:g} days after the last one of a conversation"
    )


def _loaded(text: str, response_id: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise StateError(
            f"the stored response {response_id} is damaged ({error}); delete_response removes it"
        ) from error
