"""Checkpoints: LangGraph's async SQLite saver on ``threads.db``, and copies of a step."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from rolecall.database import state_error
from rolecall.errors import UsageError

_BUSY_TIMEOUT_S = 30.0


@asynccontextmanager
async def open_saver(path: Path) -> AsyncIterator[AsyncSqliteSaver]:
    """LangGraph's saver on a file, on the running event loop.

    Only known-safe types are decoded: what a tool put into the state cannot name code to run.

    Raises:
        StateError: the file cannot be opened or written.
    """
    try:
        connecting = aiosqlite.connect(path, timeout=_BUSY_TIMEOUT_S)
        connecting._thread.daemon = True  # a program that forgets to close must still end
        connection = await connecting
    except sqlite3.Error as error:
        raise state_error(path, error) from error
    try:
        saver = AsyncSqliteSaver(connection, serde=JsonPlusSerializer(allowed_msgpack_modules=None))
        try:
            await connection.execute("PRAGMA journal_mode=WAL")
            await connection.execute("PRAGMA synchronous=NORMAL")
            await saver.setup()
        except sqlite3.Error as error:
            raise state_error(path, error) from error
        yield saver
    finally:
        await connection.close()


def thread_config(thread_id: str, **configurable: Any) -> RunnableConfig:
    """The run config that addresses a thread."""
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", **configurable}}


async def find_step(saver: AsyncSqliteSaver, thread_id: str, step: str | None) -> CheckpointTuple:
    """A checkpoint of a thread by step number or checkpoint id; the latest without one.

    Raises:
        UsageError: the thread has no such step.
    """
    if step is None:
        found = await saver.aget_tuple(thread_config(thread_id))
    elif re.fullmatch(r"-?[0-9]{1,18}", step):
        found = None
        async for candidate in saver.alist(
            thread_config(thread_id), filter={"step": int(step)}, limit=1
        ):
            found = candidate
    else:
        found = await saver.aget_tuple(thread_config(thread_id, checkpoint_id=step))
    if found is None:
        raise UsageError(
            f"thread {thread_id} has no step {step}; rolecall threads show {thread_id} --steps"
        )
    return found


async def copy_step(saver: AsyncSqliteSaver, step: CheckpointTuple, target: str) -> None:
    """Make a checkpoint, with the writes pending on it, the first of a new thread."""
    config = await saver.aput(
        thread_config(target),
        step.checkpoint,
        {**step.metadata, "parents": {}},
        step.checkpoint["channel_versions"],
    )
    pending: dict[str, list[tuple[str, Any]]] = {}
    for task_id, channel, value in step.pending_writes or []:
        pending.setdefault(task_id, []).append((channel, value))
    for task_id, writes in pending.items():
        await saver.aput_writes(config, writes, task_id)
