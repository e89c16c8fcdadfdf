"""Checkpoints of this home's threads: the saver on ``threads.db``, steps found and copied."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint, CheckpointMetadata, CheckpointTuple

from rolecall.database import DatabaseFile
from rolecall.errors import UsageError
from rolecall.threads.saver import ThreadSaver
from rolecall.threads.saver.writer import next_nodes
from rolecall.threads.schema import migrations
from rolecall.threads.state_check import check_state

_QUESTION = "question-"


def make_saver(file: DatabaseFile) -> ThreadSaver:
    """The saver of the assistant's threads, on the file that it shares with the transcript.

    What a task wrote is dropped when the next step has taken it in: a step that is run again
    runs anew.
    """
    return _HomeSaver(file, turn_of=_turn_of, keep_all_writes=False)


@asynccontextmanager
async def open_saver(path: Path) -> AsyncIterator[ThreadSaver]:
    """The saver of a ``threads.db`` that nothing else in this process has open.

    Raises:
        StateError: the file cannot be opened or written.
    """
    file = DatabaseFile(path, migrations)
    try:
        await file.run(lambda db: None)
        yield ThreadSaver(file, turn_of=_turn_of, keep_all_writes=False)
    finally:
        file.close()


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
    messages = given.get("messages") or [] if isinstance(given, dict) else []
    asked = str(getattr(messages[-1], "id", None) or "") if messages else ""
    if asked.startswith(_QUESTION):
        return asked.removeprefix(_QUESTION)
    turn = values.get("turn")
    return turn.get("turn_id") if isinstance(turn, dict) else None


def next_of(checkpoint: Checkpoint) -> list[str]:
    """The nodes that run after a checkpoint."""
    return next_nodes(checkpoint["channel_values"])


async def find_step(saver: ThreadSaver, thread_id: str, step: str | None) -> CheckpointTuple:
    """A checkpoint of a thread by step number or checkpoint id; the latest without one.

    Raises:
        UsageError: the thread has no such step, or keeps it no longer.
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
        which = "saved step yet" if step is None else f"step {step}"
        raise UsageError(
            f"thread {thread_id} has no {which}; rolecall threads show {thread_id} --steps"
        )
    return found


async def copy_step(saver: ThreadSaver, step: CheckpointTuple, target: str) -> None:
    """Make a checkpoint the first of a new thread.

    Writes pending on a thread's latest checkpoint are tasks done in an unfinished step: they go
    along. On an earlier one they are what followed, which the copy is to run anew.

    Raises:
        UsageError: the step was removed meanwhile.
    """
    if not await saver.acopy_step(step.config, target):
        raise UsageError(f"step {step.checkpoint['id']} is no longer there")


def _turn_of(checkpoint: Checkpoint, metadata: CheckpointMetadata) -> str | None:
    given: Any = metadata
    return given.get("turn_id") or turn_of(checkpoint)


class _HomeSaver(ThreadSaver):
    """Goes on only from states that the assistant's graph knows."""

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        found = await super().aget_tuple(config)
        if found is not None:
            check_state(found)
        return found
