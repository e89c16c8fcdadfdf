"""Checkpoints: LangGraph's async SQLite saver on ``threads.db``, and copies of a step."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointTuple
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from rolecall.database import state_error
from rolecall.errors import UsageError

_BUSY_TIMEOUT_S = 30.0
_QUESTION = "question-"
_BRANCH = "branch:to:"


@asynccontextmanager
async def open_saver(path: Path) -> AsyncIterator[AsyncSqliteSaver]:
    """LangGraph's saver on a file, on the running event loop.

    Raises:
        StateError: the file cannot be opened or written.
    """
    connecting = aiosqlite.connect(path, timeout=_BUSY_TIMEOUT_S)
    connecting._thread.daemon = True  # a program that forgets to close must still end
    with _state_errors(path):
        connection = await connecting
    try:
        saver = _Saver(connection, path)
        with _state_errors(path):
            await connection.execute("PRAGMA journal_mode=WAL")
            await connection.execute("PRAGMA synchronous=NORMAL")
            await saver.setup()
        yield saver
    finally:
        await connection.close()


def thread_config(thread_id: str, **configurable: Any) -> RunnableConfig:
    """The run config that addresses a thread."""
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", **configurable}}


def question_id(turn_id: str) -> str:
    """The id of the message that asks a turn's question."""
    return _QUESTION + turn_id


def turn_of(checkpoint: Checkpoint) -> str | None:
    """The turn that a checkpoint belongs to, also before INIT has run in it."""
    values = checkpoint["channel_values"]
    given = values.get("__start__") or values
    messages = given.get("messages") or []
    asked = str(messages[-1].id or "") if messages else ""
    if asked.startswith(_QUESTION):
        return asked.removeprefix(_QUESTION)
    turn = values.get("turn") or {}
    return turn.get("turn_id")


def next_of(checkpoint: Checkpoint) -> list[str]:
    """The nodes that run after a checkpoint."""
    values = checkpoint["channel_values"]
    nodes = [name.removeprefix(_BRANCH) for name in values if name.startswith(_BRANCH)]
    tools = {"tool_runner"} if values.get("__pregel_tasks") else set()
    return sorted({*nodes, *tools})


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
        config = thread_config(thread_id, checkpoint_id=step)
        found = await saver.aget_tuple(config) if step else None
    if found is None:
        raise UsageError(
            f"thread {thread_id} has no step {step}; rolecall threads show {thread_id} --steps"
        )
    return found


async def copy_step(saver: AsyncSqliteSaver, step: CheckpointTuple, target: str) -> None:
    """Make a checkpoint the first of a new thread.

    Writes pending on a thread's latest checkpoint are tasks done in an unfinished step: they go
    along. On an earlier one they are what followed, which the copy is to run anew.
    """
    latest = await saver.aget_tuple(thread_config(step.config["configurable"]["thread_id"]))
    unfinished = latest is not None and latest.checkpoint["id"] == step.checkpoint["id"]
    config = await saver.aput(
        thread_config(target),
        step.checkpoint,
        {**step.metadata, "parents": {}},
        step.checkpoint["channel_versions"],
    )
    pending: dict[str, list[tuple[str, Any]]] = {}
    for task_id, channel, value in (step.pending_writes or []) if unfinished else []:
        pending.setdefault(task_id, []).append((channel, value))
    for task_id, writes in pending.items():
        await saver.aput_writes(config, writes, task_id)


class _Saver(AsyncSqliteSaver):
    """LangGraph's saver, whose database errors are ours.

    Only known-safe types are decoded: what a tool put into the state cannot name code to run.
    """

    def __init__(self, connection: aiosqlite.Connection, path: Path) -> None:
        super().__init__(connection, serde=JsonPlusSerializer(allowed_msgpack_modules=None))
        self._path = path

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        with _state_errors(self._path):
            return await super().aget_tuple(config)

    async def alist(
        self, config: RunnableConfig | None, **arguments: Any
    ) -> AsyncIterator[CheckpointTuple]:
        with _state_errors(self._path):
            async for found in super().alist(config, **arguments):
                yield found

    async def aput(self, *arguments: Any) -> RunnableConfig:
        with _state_errors(self._path):
            return await super().aput(*arguments)

    async def aput_writes(self, *arguments: Any) -> None:
        with _state_errors(self._path):
            await super().aput_writes(*arguments)

    async def adelete_thread(self, thread_id: str) -> None:
        with _state_errors(self._path):
            await super().adelete_thread(thread_id)


@contextmanager
def _state_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise state_error(path, error) from error
