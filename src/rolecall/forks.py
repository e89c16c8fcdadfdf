"""Threads as a whole: copied at a step, asked anew from there, listed step by step, deleted."""

from __future__ import annotations

import secrets
import uuid
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import CheckpointTuple

from rolecall.errors import UsageError
from rolecall.opened import Opened
from rolecall.reply import Reply
from rolecall.threads.checkpoints import copy_step, find_step, thread_config, turn_of
from rolecall.threads.lock import thread_lock
from rolecall.threads.steps import steps_of, steps_of_turn
from rolecall.threads.thread_id import check_thread_id, unknown_thread
from rolecall.threads.transcript import Accepted
from rolecall.turn import Tell, unheard

if TYPE_CHECKING:
    from rolecall.turns import Turns


async def fork(opened: Opened, thread: str, step: str | None, new: str | None) -> str:
    """Copy a thread up to a step into a new thread; see ``Assistant.fork``."""
    source, target = await _names(opened, thread, new)
    found = await find_step(opened.saver, source, step)
    await copy_step(opened.saver, found, target)
    state = await opened.graph.aget_state(thread_config(target))
    await opened.transcript.fork(
        source,
        target,
        found.checkpoint["id"],
        turn_of(found.checkpoint),
        uuid.uuid4().hex,
        unanswered=bool(state.next),
    )
    return target


async def ask_in_fork(
    turns: Turns,
    thread: str,
    step: str | None,
    new: str | None,
    question: str,
    role: str | None,
    tell: Tell = unheard,
) -> Reply:
    """Ask another question in the place of a step's turn, in a new thread.

    The copy ends where that turn began. Who answers is fixed if it was for that turn.

    Raises:
        UsageError: what was before that turn is no longer kept.
    """
    opened = turns.opened
    source, target = await _names(opened, thread, new)
    found = await find_step(opened.saver, source, step)
    known = await opened.transcript.turn_before(source, turn_of(found.checkpoint) or "")
    if known is None:
        raise UsageError(f"step {step} of thread {source} belongs to no turn that is kept")
    turn, before = known
    await copy_before(opened, turn, before, target)
    return await turns.ask(question, target, role or turn.requested_role, tell)


async def copy_before(opened: Opened, turn: Accepted, before: str | None, target: str) -> None:
    """Make a new thread of what was before a turn.

    Args:
        turn: the turn, which is not copied.
        before: the id of the turn before it; ``None``: it was the first.
        target: the new thread.

    Raises:
        UsageError: what was before that turn is no longer kept.
    """
    source = turn.thread_id
    end = None if before is None else await last_step(opened, source, before)
    if before is not None and end is None:
        raise UsageError(
            f"thread {source} keeps no step before turn {turn.number}; it can be forked where "
            f"rolecall threads show {source} --steps lists one"
        )
    if end is not None:
        await copy_step(opened.saver, end, target)
    at = end.checkpoint["id"] if end is not None else None
    await opened.transcript.fork(source, target, at, before, uuid.uuid4().hex)


async def steps(
    opened: Opened, thread: str, limit: int, before: str | None, turn: int | None = None
) -> list[dict[str, Any]]:
    """Saved steps of a thread, newest first; see ``Assistant.steps``."""
    return await steps_of(opened.transcript, opened.saver, thread, limit, before, turn)


async def delete(opened: Opened, thread: str) -> None:
    """Delete all that is kept of a thread; see ``Assistant.delete``."""
    thread_id = check_thread_id(thread)
    if not await opened.transcript.exists(thread_id):
        raise unknown_thread(thread_id)
    async with thread_lock(opened.locks, thread_id, 0.0):
        await opened.saver.adelete_thread(thread_id)
        await opened.transcript.delete(thread_id)


async def _names(opened: Opened, thread: str, new: str | None) -> tuple[str, str]:
    source = check_thread_id(thread)
    target = check_thread_id(new) if new else f"t-{secrets.token_hex(4)}"
    if not await opened.transcript.exists(source):
        raise unknown_thread(source)
    if await opened.transcript.exists(target):
        raise UsageError(f"thread {target} exists already; a fork is a new thread")
    return source, target


async def last_step(opened: Opened, thread_id: str, turn_id: str) -> CheckpointTuple | None:
    """The last step of a turn; of a copied turn, from the thread that it was copied from."""
    while not (last := await steps_of_turn(opened.saver, thread_id, turn_id, 1)):
        origin = (await opened.transcript.thread(thread_id))["forked_from"]
        if origin is None or not await opened.transcript.exists(origin):
            return None
        thread_id, turn_id = origin, turn_id.removesuffix(f".{thread_id}")
    at = thread_config(thread_id, checkpoint_id=last[0]["checkpoint_id"])
    return await opened.saver.aget_tuple(at)
