"""The turns that are replayed: which they are, and what is known of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple

from rolecall.errors import UsageError
from rolecall.forks import last_step
from rolecall.memory.summariser import NAME as SUMMARY
from rolecall.opened import Opened
from rolecall.replay.comparison import Side, ToolUse
from rolecall.replay.recorded import RecordedCall, calls_in, journaled_calls
from rolecall.telemetry.traces import Traces
from rolecall.threads.checkpoints import find_step, next_of, turn_of
from rolecall.threads.thread_id import check_thread_id, unknown_thread

_BEFORE_MODELS = frozenset({"init", "router"})
_AFTER_MODELS = frozenset({"synthesis"})
_TRACED_WITHIN_S = 1.0  # telemetry is written a moment after the turn


@dataclass(frozen=True)
class Original:
    """A turn that was answered.

    Attributes:
        row: its row in the transcript.
        before: the id of the turn before it.
        step: the step inside the turn from which it runs on; ``None``: all of it runs.
    """

    row: Mapping[str, Any]
    before: str | None
    step: CheckpointTuple | None = None

    @property
    def name(self) -> str:
        """Names the turn in messages."""
        return name_of(self.row["thread_id"], self.row["number"])


def name_of(thread_id: str, number: int) -> str:
    """Names a turn in messages."""
    return f"turn {number} of thread {thread_id}"


def left_out(name: str, error: Exception) -> str:
    """Why a turn was left out, in a line that names it once."""
    return str(error) if str(error).startswith(name) else f"{name}: {error}"


async def originals(
    opened: Opened, thread: str, at: str | None, *, all_turns: bool
) -> tuple[list[Original], list[str]]:
    """The turns to replay, oldest first, and which are left out, with reasons.

    Args:
        thread: the thread.
        at: a step number or checkpoint id; ``None`` is the last turn, or the first of all.
        all_turns: also every turn after it.

    Raises:
        UnknownThread, UsageError: there is no such thread or step, or the turn has no answer.
    """
    thread_id = check_thread_id(thread)
    if not await opened.transcript.exists(thread_id):
        raise unknown_thread(thread_id)
    first, step = 1, None
    if at is not None:
        first, step = await _turn_at(opened, thread_id, at)
    elif not all_turns:
        last = await opened.transcript.turns(thread_id, 1)
        first = last[0]["number"] if last else 1
    found: list[Original] = []
    left_out: list[str] = []
    before = await _id_before(opened, thread_id, first)
    async for row in opened.transcript.each_turn(thread_id, first - 1):
        original = Original(row, before, step if row["number"] == first else None)
        if row["status"] == "done":
            found.append(original)
        elif not all_turns:
            raise UsageError(_unfinished(original))
        else:
            left_out.append(f"{original.name} has no answer ({row['status']})")
        before = row["turn_id"]
        if not all_turns:
            break
    if not found:
        raise UsageError(left_out[0] if left_out else f"thread {thread_id} has no turns to replay")
    return found, left_out


async def one_original(opened: Opened, thread_id: str, number: int) -> Original:
    """A turn by its number.

    Raises:
        UnknownThread, UsageError: there is no such thread or turn, or it has no answer.
    """
    row = await opened.transcript.turn(thread_id, number)
    original = Original(row, await _id_before(opened, thread_id, number))
    if row["status"] != "done":
        raise UsageError(_unfinished(original))
    return original


def _unfinished(original: Original) -> str:
    thread, number = original.row["thread_id"], original.row["number"]
    earlier = (
        f", or choose an earlier one: rolecall threads show {thread} --steps --turn {number - 1} "
        "lists what --at takes"
        if number > 1
        else ""
    )
    return (
        f"{original.name} has no answer to compare with ({original.row['status']}). "
        f"Finish it with: rolecall resume {thread}{earlier}"
    )


async def _turn_at(opened: Opened, thread_id: str, at: str) -> tuple[int, CheckpointTuple | None]:
    """The number of a step's turn; the step, where some of the turn is before it."""
    found = await find_step(opened.saver, thread_id, at)
    known = await opened.transcript.turn_before(thread_id, turn_of(found.checkpoint) or "")
    if known is None:
        raise UsageError(f"step {at} of thread {thread_id} belongs to no turn that is kept")
    following = set(next_of(found.checkpoint))
    if following and following <= _AFTER_MODELS:
        raise UsageError(
            f"after step {at} of thread {thread_id} no model is asked; choose an earlier one: "
            f"rolecall threads show {thread_id} --steps"
        )
    whole = following <= _BEFORE_MODELS  # also of a turn's last step: nothing follows it
    return known[0].number, None if whole else found


async def _id_before(opened: Opened, thread_id: str, number: int) -> str | None:
    rows = await opened.transcript.turns(thread_id, 1, number)
    return rows[0]["turn_id"] if rows else None


def check_roles(opened: Opened, original: Original) -> None:
    """Whether the other stack has the roles that a replay cannot do without.

    Raises:
        UsageError: it lacks one; says which.
    """
    stack, wanted = opened.stack, original.row["requested_role"]
    roles = f"roles: {', '.join(stack.roles)}"
    if original.step is not None:
        nodes = set(next_of(original.step.checkpoint)) - set(opened.graph.nodes)
        speaker = original.step.checkpoint["channel_values"].get("speaker")
        nodes |= {speaker} - set(opened.graph.nodes) if speaker else set()
        if nodes:
            raise UsageError(
                f"{original.name} goes on there with {', '.join(sorted(nodes))}, a role that stack "
                f"{stack.name} does not have; {roles}. Replay the whole turn instead"
            )
    elif wanted is not None and wanted not in stack.roles:
        raise UsageError(
            f"{original.name} was asked of role {wanted}, which stack {stack.name} does not have; "
            f"{roles}"
        )


def notes_on(opened: Opened, original: Original) -> list[str]:
    """What a reader should know of a replay on this stack."""
    role = original.row["role"]
    missing = role is not None and role != "answer" and role not in opened.stack.roles
    return [f"stack {opened.stack.name} has no role {role}, which answered then"] if missing else []


async def recorded_calls(opened: Opened, original: Original) -> list[RecordedCall]:
    """The tool calls of a turn: as the journal has them, else as the saved conversation has."""
    thread_id, turn_id = original.row["thread_id"], original.row["turn_id"]
    journaled = await journaled_calls(opened.journal, (thread_id, turn_id))
    end = await last_step(opened, thread_id, turn_id)
    if end is None:
        return journaled
    said = calls_in(end.checkpoint["channel_values"].get("messages") or [])
    known = {call.name for call in journaled}
    return [*journaled, *(call for call in said if call.name not in known)]


async def side_of_original(original: Original, calls: list[RecordedCall], traces: Traces) -> Side:
    """The turn as it was. Times and tokens are from its trace, where one is kept."""
    row = original.row
    trace = await asyncio.to_thread(_trace, traces, row["trace_id"], row["finished_at"])
    side: dict[str, Any] = {
        "answer": row["answer"],
        "role": row["role"],
        "decision": row["decision"],
        "strategy": row["strategy"],
        "finish_reason": row["finish_reason"],
        "tools": [ToolUse(call.name, call.arguments, call.outcome) for call in calls],
        "trace_id": row["trace_id"],
    }
    if trace is None:
        return Side(**side)
    turn = trace["turn"]
    asked = [call for call in trace["model_calls"] if call["node"] != SUMMARY]
    answered = [call for call in asked if call["status"] == "ok" and call["node"] != "router"]
    return Side(
        **side,
        stack=turn["stack"],
        path=[node for node, _ in json.loads(turn["path"] or "[]")],
        model=answered[-1]["model"] if answered else None,
        latency_ms=_whole_ms(trace),
        input_tokens=_sum(asked, "input_tokens"),
        output_tokens=_sum(asked, "output_tokens"),
    )


def _trace(traces: Traces, trace_id: str, finished_at: float | None) -> dict[str, Any] | None:
    while True:
        try:
            trace = traces.show(trace_id)
            if trace["turn"]["trace_id"] == trace_id and trace["turn"]["total_ms"] is not None:
                return trace
        except UsageError:
            pass
        if not 0 <= time.time() - (finished_at or 0.0) < _TRACED_WITHIN_S:
            return None
        time.sleep(0.05)


def _whole_ms(trace: dict[str, Any]) -> float | None:
    """The turn's time; ``None`` where it was resumed: the trace has only its last run's."""
    turn = trace["turn"]
    calls = [*trace["model_calls"], *trace["tool_calls"]]
    begun = [decision["at"] for decision in trace["decisions"]]
    begun += [call["started_at"] for call in calls]
    resumed = any(at is not None and at < (turn["started_at"] or 0.0) - 0.001 for at in begun)
    journaled = any(call["status"] == "journaled" for call in calls)
    return None if resumed or journaled else turn["total_ms"]


def _sum(calls: list[dict[str, Any]], name: str) -> int | None:
    known = [call[name] for call in calls if call[name] is not None]
    return sum(known) if known else None
