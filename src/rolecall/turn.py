"""One run of the graph for one accepted turn: its parts as they come, its outcome recorded."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from langgraph.errors import GraphDrained, GraphRecursionError, is_invalid_resume

from rolecall.config.schema import Stack
from rolecall.database_errors import state_error
from rolecall.errors import (
    ModelCallFailed,
    RolecallError,
    StateError,
    TurnFailed,
    TurnInterrupted,
    UsageError,
)
from rolecall.graphs.state import STATE_VERSION
from rolecall.nodes.report import TOLD
from rolecall.questions import Question, misfit
from rolecall.reply import Part, Reply
from rolecall.stop import Stop
from rolecall.telemetry.recorder import Recorder
from rolecall.threads.checkpoints import thread_config
from rolecall.threads.state_check import VERSION_KEY
from rolecall.threads.transcript import Accepted, Transcript, TurnStatus

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

Tell = Callable[[Part], None]

_STEPS_BESIDE_TOOLS = 16
_NOT_ANSWERING = frozenset({"init", "router", "tool_runner", "synthesis"})


def unheard(part: Part) -> None:
    """Only the reply is wanted."""


async def waiting_on(
    graph: CompiledStateGraph[Any, Any, Any, Any], thread_id: str
) -> Question | None:
    """What a thread waits for; of several tools that ask, the first: one after the other."""
    state = await graph.aget_state(thread_config(thread_id))
    return next((Question.of(item) for task in state.tasks for item in task.interrupts), None)


class TurnRun:
    """Runs accepted turns.

    Args:
        graph: the assistant, compiled with this home's checkpoints.
        stack: its settings bound the run.
        transcript: told of turns that did not finish (SYNTHESIS writes those that did).
        recorder: takes telemetry.
    """

    def __init__(
        self,
        graph: CompiledStateGraph[Any, Any, Any, Any],
        stack: Stack,
        transcript: Transcript,
        recorder: Recorder,
    ) -> None:
        self._graph = graph
        self._stack = stack
        self._transcript = transcript
        self._recorder = recorder

    async def run(
        self, turn: Accepted, graph_input: Any, tell: Tell, stop: Stop, *, new_turn: bool = False
    ) -> Reply:
        """Run the graph and tell what happens.

        Nodes tell it directly, through the run's config: LangGraph's custom stream wakes the
        event loop for each part.

        Args:
            turn: the turn.
            graph_input: what the graph begins with; ``None`` goes on.
            tell: called with every part but the last, on this loop.
            stop: how it is ended early.
            new_turn: it has nothing in the journal yet and does not look there.

        Raises:
            RolecallError: what ended the turn; its ``reply`` holds what there was.
        """
        started_at, started = time.time(), time.perf_counter()
        reply = Reply(turn.thread_id, turn.turn_id, turn.trace_id)
        busy_ms = 0.0
        ends: list[tuple[str, float]] = []  # nodes, and when they ended in ms from the start

        def heard(kind: str, data: dict[str, Any]) -> None:
            nonlocal busy_ms
            part = Part(kind, data)
            stop.heard(kind)
            busy_ms += _take(part, reply)
            if kind != "answer":
                tell(part)

        limits = self._stack.settings.turn
        config = thread_config(turn.thread_id, turn_id=turn.turn_id, trace_id=turn.trace_id)
        config["configurable"] |= {
            "deadline_at": started_at + limits.deadline_s,
            "new_turn": new_turn,
            VERSION_KEY: STATE_VERSION,
            TOLD: heard,
        }
        config["recursion_limit"] = 2 * limits.max_tool_rounds + _STEPS_BESIDE_TOOLS
        self._record(turn, status="running", started_at=started_at)
        ids = {"thread_id": turn.thread_id, "turn_id": turn.turn_id, "trace_id": turn.trace_id}
        tell(Part("started", ids))
        if turn.leaves is not None:
            tell(Part("note", {"note": f"turn {turn.leaves} has no answer and is left behind"}))
        status: TurnStatus = "failed"
        stop.runs(lambda note: tell(Part("note", {"note": note})))
        try:
            waits = False
            async with asyncio.timeout(limits.deadline_s):
                async for update in self._graph.astream(
                    graph_input,
                    config,
                    stream_mode="updates",
                    durability="sync",
                    control=stop.control,
                ):
                    if "__interrupt__" in update:
                        waits = True
                    else:
                        heard("node", {"node": next(iter(update), "")})
                        ends.append((reply.path[-1], (time.perf_counter() - started) * 1000.0))
            waiting = await waiting_on(self._graph, turn.thread_id) if waits else None
            if waiting is not None:
                reply.wait_for(waiting)
                tell(Part("waiting", {"question": waiting.value, "choices": waiting.choices}))
            elif reply.finish_reason is None:
                raise TurnFailed("the run ended without an answer")
            status = "done" if reply.waiting_for is None else "interrupted"
        except TimeoutError:
            problem = (
                f"the turn took longer than {limits.deadline_s:g} s (settings.turn.deadline_s)"
            )
            raise self._failure(TurnFailed(problem), turn, reply) from None
        except (asyncio.CancelledError, GraphDrained) as ended:
            status, reply.error = "interrupted", "interrupted"
            if not stop.requested:
                raise
            raise _interrupted(turn, reply) from ended
        except RolecallError as error:
            raise self._failure(error, turn, reply) from error
        except GraphRecursionError as error:
            problem = "the graph took more steps than turn.max_tool_rounds allows"
            raise self._failure(TurnFailed(problem), turn, reply) from error
        except sqlite3.Error as error:
            broken = state_error(self._transcript.path, error)
            raise self._failure(broken, turn, reply) from error
        except Exception as error:
            if is_invalid_resume(error):  # the turn still waits
                status, reply.error = "interrupted", misfit(error)
                raise UsageError(reply.error) from error
            reply.error = f"{type(error).__name__}: {error}"
            error.add_note(f"(trace {turn.trace_id})")
            self._record_error(turn, error)
            raise
        finally:
            total_ms = (time.perf_counter() - started) * 1000.0
            reply.timings_ms = {
                "total": round(total_ms, 2),
                "overhead": round(max(total_ms - busy_ms, 0.0), 2),
            }
            self._record(turn, status=status, reply=reply, started_at=started_at, ends=ends)
            if status != "done":
                # what ended the turn is told, not that its end could not be written either
                with suppress(StateError):
                    await asyncio.shield(
                        self._transcript.finish(turn.turn_id, status, _left(reply))
                    )
        return reply

    def _record(
        self,
        turn: Accepted,
        *,
        status: str,
        started_at: float,
        reply: Reply | None = None,
        ends: Sequence[tuple[str, float]] = (),
    ) -> None:
        row: dict[str, Any] = {
            "trace_id": turn.trace_id,
            "turn_id": turn.turn_id,
            "thread_id": turn.thread_id,
            "stack": self._stack.name,
            "status": status,
            "question": turn.question,
            "started_at": started_at,
        }
        if reply is not None:
            row |= {
                "answer": reply.text,
                "role": next(
                    (node for node in reversed(reply.path) if node not in _NOT_ANSWERING), None
                ),
                "finish_reason": reply.finish_reason,
                "total_ms": reply.timings_ms["total"],
                "overhead_ms": reply.timings_ms["overhead"],
                "path": [(node, round(ms, 2)) for node, ms in ends],
            }
        self._recorder.add("turns", row)

    def _failure(self, error: RolecallError, turn: Accepted, reply: Reply) -> RolecallError:
        """What the caller sees: a failed model call is a failed turn; all can be resumed."""
        reply.error = str(error)
        self._record_error(turn, error)
        kind = TurnFailed if isinstance(error, ModelCallFailed) else type(error)
        failure = kind(
            f"{error}\nThe turn is saved. Finish it with: rolecall resume {turn.thread_id}"
        )
        failure.reply = reply
        return failure

    def _record_error(self, turn: Accepted, error: Exception) -> None:
        self._recorder.add(
            "errors",
            {
                "trace_id": turn.trace_id,
                "at": time.time(),
                "node": "",
                "type": type(error).__name__,
                "message": str(error),
            },
        )


def _interrupted(turn: Accepted, reply: Reply) -> TurnInterrupted:
    failure = TurnInterrupted(
        f"stopped. The turn is saved. Finish it with: rolecall resume {turn.thread_id}"
    )
    failure.reply = reply
    return failure


def _left(reply: Reply) -> dict[str, Any]:
    """What a turn leaves that did not finish: why, and the text that had come."""
    return {"error": reply.error, "answer": reply.text or None}


def _take(part: Part, reply: Reply) -> float:
    """Note a part in the reply; returns the milliseconds that a model or tool took."""
    data = part.data
    if part.type == "node":
        reply.path.append(data["node"])
    elif part.type == "decision":
        reply.decision, reply.strategy = data["decision"], data["strategy"]
    elif part.type == "call":
        reply.calls.append(data["call"])
        return float(data["call"]["latency_ms"] or 0.0)
    elif part.type == "text":
        reply.text += part.text
    elif part.type == "replaced":
        reply.text = part.text
    elif part.type == "tool_started":
        reply.text = ""  # what was said before a tool call is not the answer
    elif part.type == "tool_finished":
        return float(data["latency_ms"])
    elif part.type == "answer":
        reply.text, reply.reasoning = data["answer"], data["reasoning"]
        reply.decision, reply.strategy = data["decision"], data["strategy"]
        reply.finish_reason = data["finish_reason"]
    return 0.0
