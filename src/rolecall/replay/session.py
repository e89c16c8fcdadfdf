"""Runs turns of the past again on another stack, in forks; the originals are only read."""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import Any

from rolecall import forks
from rolecall.database import DatabaseFile
from rolecall.errors import (
    ModelCallFailed,
    NoModelReachable,
    RolecallError,
    RunnerFailed,
    ThreadBusy,
    TurnFailed,
    TurnInterrupted,
)
from rolecall.models.client import LocalLLMClient
from rolecall.opened import Opened
from rolecall.replay.comparison import RECORDED, Comparison, ToolUse
from rolecall.replay.originals import (
    Original,
    check_roles,
    notes_on,
    recorded_calls,
    side_of_original,
)
from rolecall.replay.outcome import side_of_replay
from rolecall.replay.recorded import RecordedCalls
from rolecall.reply import Reply
from rolecall.sqlite import Database
from rolecall.telemetry.recorder import Recorder
from rolecall.telemetry.traces import Traces
from rolecall.threads.accepting import as_accepted
from rolecall.threads.checkpoints import copy_step
from rolecall.threads.copies import title_of
from rolecall.threads.thread_id import KEPT_REPLAY, SCRATCH_REPLAY
from rolecall.turns import Turns

_OF_A_DEAD_PROCESS_S = 3600.0
_NO_ANSWER = (NoModelReachable, ModelCallFailed, RunnerFailed, TurnFailed)


class Tap:
    """A recorder that also keeps the tool calls of the turn that runs."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.tool_calls: list[dict[str, Any]] = []

    def add(self, table: str, row: dict[str, Any]) -> None:
        """Add a row; see :class:`rolecall.telemetry.recorder.Recorder`."""
        if table == "tool_calls":
            self.tool_calls.append(row)
        self._recorder.add(table, row)


class Session:
    """Replays turns one after the other: at once, their times would be those of a queue.

    Args:
        turns: runs turns on the other stack, with its tools guarded by ``calls``.
        client: the other stack's models.
        file: ``threads.db``.
        traces: tell what the originals took.
        calls: the tool calls of the original.
        tap: hears of the tool calls of the replay.
        kept: whether the threads of replays stay.
    """

    def __init__(
        self,
        turns: Turns,
        client: LocalLLMClient,
        file: DatabaseFile,
        traces: Traces,
        calls: RecordedCalls,
        tap: Tap,
        *,
        kept: bool,
    ) -> None:
        self.opened: Opened = turns.opened
        self.kept = kept
        self._turns = turns
        self._client = client
        self._file = file
        self._traces = traces
        self._calls = calls
        self._tap = tap
        self._ready: set[str] = set()

    async def ready(self, original: Original) -> None:
        """Load the models that probably answer, so that no answer pays for it.

        Where one cannot be opened, the turn that asks it says so.
        """
        roles = self.opened.stack.roles
        likely = {original.row["role"], original.row["requested_role"], "router"} & set(roles)
        for role in sorted(likely - self._ready):
            self._ready.add(role)
            with suppress(RolecallError):
                await self._client.prepare(role)

    async def replay(self, original: Original) -> Comparison:
        """Replay one turn, in a fork of what was before it.

        Raises:
            UsageError: the stack lacks a role, or what was before the turn is no longer kept.
            StateError: state cannot be read or saved.
        """
        check_roles(self.opened, original)
        target = self.new_thread()
        stays = False
        try:
            await self.copy(original, target)
            comparison = await self.run(original, target)
            stays = self.kept and comparison.replay_thread is not None
        finally:
            if not stays:
                await asyncio.shield(self.forget(target))
        return comparison if stays else replace(comparison, replay_thread=None)

    async def run(self, original: Original, target: str) -> Comparison:
        """Replay one turn on a thread as it is; its ``replay_thread`` is ``None`` if it failed."""
        recorded = await recorded_calls(self.opened, original)
        self._calls.begin(recorded)
        self._tap.tool_calls.clear()
        reply: Reply | None = None
        error: RolecallError | None = None
        try:
            if original.step is not None:
                reply = await self._turns.resume(target, None)
            else:
                role = original.row["requested_role"]
                reply = await self._turns.ask(original.row["question"], target, role)
        except TurnInterrupted:
            raise
        except _NO_ANSWER as failure:
            reply, error = failure.reply, failure
        except RolecallError as failure:
            if failure.reply is None:
                raise
            # said without how to resume a turn that is about to be forgotten
            raise type(failure)(failure.reply.error) from failure
        rows = await self.opened.transcript.turns(target, 1)
        side = side_of_replay(rows[-1] if rows else {}, reply, error)
        return Comparison(
            thread=original.row["thread_id"],
            turn=original.row["number"],
            question=original.row["question"],
            original=await side_of_original(original, recorded, self._traces),
            replay=replace(
                side,
                stack=self.opened.stack.name,
                tools=[self._use(call) for call in self._tap.tool_calls],
                trace_id=reply.trace_id if reply is not None and self.kept else None,
            ),
            from_step=original.step.checkpoint["id"] if original.step is not None else None,
            replay_thread=target if error is None else None,
            notes=notes_on(self.opened, original),
        )

    async def copy(self, original: Original, target: str) -> None:
        """Make a new thread of what was before a turn, or before its step.

        Raises:
            UsageError: it is no longer kept.
        """
        step, turn = original.step, as_accepted(original.row)
        if step is None:
            await forks.copy_before(self.opened, turn, original.before, target)
        else:
            await copy_step(self.opened.saver, step, target)
            at, trace_id = step.checkpoint["id"], uuid.uuid4().hex
            await self.opened.transcript.fork(
                turn.thread_id, target, at, turn.turn_id, trace_id, unanswered=True
            )
        values = [title_of(turn.question), target]

        def name(db: Database) -> None:
            db.execute("UPDATE threads SET title = ? WHERE thread_id = ?", values)

        await self._file.commit(name)

    def new_thread(self) -> str:
        """An id for a replay."""
        return (KEPT_REPLAY if self.kept else SCRATCH_REPLAY) + secrets.token_hex(4)

    async def forget(self, target: str) -> None:
        """Delete a thread that this session made."""
        await self.opened.saver.adelete_thread(target)
        await self.opened.transcript.delete(target)

    async def sweep(self) -> None:
        """Delete what a replay left whose process was killed."""
        sql = (
            "SELECT thread_id FROM threads WHERE forked_from IS NOT NULL "
            "AND substr(thread_id, 1, ?) = ? AND updated_at < ?"
        )
        values = [len(SCRATCH_REPLAY), SCRATCH_REPLAY, time.time() - _OF_A_DEAD_PROCESS_S]
        rows = await self._file.run(lambda db: db.execute(sql, values).fetchall())
        for (left,) in rows:
            with suppress(ThreadBusy):
                await forks.delete(self.opened, left)

    def _use(self, call: dict[str, Any]) -> ToolUse:
        name, arguments, status = call["name"], call["arguments"], call["status"]
        if status == "journaled":  # the original made it before the step
            return ToolUse(name, arguments, "success", RECORDED)
        return ToolUse(name, arguments, status, self._calls.how(name, arguments))
