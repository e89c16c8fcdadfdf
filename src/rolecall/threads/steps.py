"""Saved steps as a light list: what each was, without the values it holds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from rolecall.database import DatabaseFile
from rolecall.threads.checkpoints import find_step
from rolecall.threads.saver import ThreadSaver
from rolecall.threads.thread_id import check_thread_id, unknown_thread
from rolecall.threads.transcript import Transcript

_PAGE = 200


async def steps_of(
    transcript: Transcript,
    saver: ThreadSaver,
    thread: str,
    limit: int,
    before: str | None = None,
    turn: int | None = None,
) -> list[dict[str, Any]]:
    """Steps of a thread, or of its turn number ``turn``, newest first; see ``Assistant.steps``.

    Raises:
        UnknownThread, UsageError: there is no such thread, turn or step number ``before``.
    """
    thread_id = check_thread_id(thread)
    if before is not None and before.lstrip("-").isdigit():
        before = (await find_step(saver, thread_id, before)).checkpoint["id"]
    if turn is not None:
        own = (await transcript.turn(thread_id, turn))["turn_id"]
        return await steps_of_turn(saver, thread_id, own, limit, before)
    if not await transcript.exists(thread_id):
        raise unknown_thread(thread_id)
    return list(await saver.asteps(thread_id, limit=limit, before=before))


async def steps_of_turn(
    saver: ThreadSaver, thread_id: str, turn_id: str, limit: int, before: str | None = None
) -> list[dict[str, Any]]:
    """Steps of a turn, newest first; those of the turn that it was copied from come after."""
    found: list[dict[str, Any]] = []
    parts = turn_id.split(".")
    for length in range(len(parts), 0, -1):
        own = ".".join(parts[:length])
        left = limit - len(found)
        if left > 0:
            found += await saver.asteps(thread_id, limit=left, before=before, turn_id=own)
    return found


async def each_step(
    file: DatabaseFile, saver: ThreadSaver, thread_id: str
) -> AsyncIterator[tuple[int, str, str, str]]:
    """Every step of a thread in the order written, read page by page.

    Yields:
        The row's id, the thread, the namespace and the checkpoint's id.
    """
    await saver.asteps(thread_id, limit=1)  # converts what an older version wrote
    sql = (
        "SELECT step_id, thread_id, ns, checkpoint_id FROM saver_steps "
        "JOIN saver_lines USING (line_id) WHERE step_id > ? AND thread_id = ? "
        "ORDER BY step_id LIMIT ?"
    )
    after = 0
    while True:
        values = [after, thread_id, _PAGE]
        rows = await file.run(lambda db, v=values: db.execute(sql, v).fetchall())  # type: ignore[misc]
        for row in rows:
            after = row[0]
            yield row
        if len(rows) < _PAGE:
            return
