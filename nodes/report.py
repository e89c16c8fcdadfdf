"""How nodes tell the world what happens: an event on the run's stream, a row in telemetry."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer

from rolecall.graphs.state import TurnInfo
from rolecall.models.calls import CallRecord
from rolecall.models.context_report import note_of
from rolecall.routing.decision import Routed
from rolecall.telemetry.recorder import Recorder

Told = Callable[[str, dict[str, Any]], None]

TOLD = "told"
"""The key in a run's ``configurable`` of who is told the events: ``told(kind, data)``."""


def run_ids(config: RunnableConfig, turn: TurnInfo | None = None) -> tuple[str | None, str | None]:
    """``(turn_id, trace_id)`` of this run: the run's config first, so that a fork gets its own.

    A LangGraph server names each run in ``run_id``: that is the trace there.
    """
    configurable = config.get("configurable") or {}
    turn_id = configurable.get("turn_id")
    trace_id = configurable.get("trace_id") or configurable.get("run_id")
    trace_id = None if trace_id is None else str(trace_id)
    if turn is not None:
        turn_id, trace_id = turn_id or turn["turn_id"], trace_id or turn["trace_id"]
    return turn_id, trace_id


def _stream(write: Callable[[Any], None]) -> Told:
    return lambda kind, data: write({"type": kind, **data})


class Report:
    """One node's reports within one turn."""

    def __init__(self, recorder: Recorder, config: RunnableConfig, turn: TurnInfo, node: str):
        self._recorder = recorder
        self._trace_id = run_ids(config, turn)[1]
        self._node = node
        told = (config.get("configurable") or {}).get(TOLD)
        self._tell: Told = told or _stream(get_stream_writer())
        self._alone = told is None

    def event(self, kind: str, **fields: Any) -> None:
        """Tell who runs the turn; in a run of its own, put it on the run's custom stream."""
        self._tell(kind, {"node": self._node, **fields})

    def decided(self, routed: Routed, latency_ms: float) -> None:
        """The router decided."""
        decision = routed.decision.model_dump()
        self.event("decision", decision=decision, strategy=routed.strategy)
        self._add(
            "decisions",
            at=time.time(),
            strategy=routed.strategy,
            probabilities=routed.probabilities,
            encoder_confidence=routed.encoder_confidence,
            latency_ms=latency_ms,
            **decision,
        )
        if routed.problem is not None:
            self.error(type(routed.problem).__name__, str(routed.problem))

    def call(self, record: CallRecord) -> None:
        """A model was called."""
        call = record.as_dict()
        self.event("call", call=call)
        self._add("model_calls", node=self._node, **call)
        if record.status == "error":
            self.error("ModelCallFailed", record.error or "")

    def journaled(self, role: str) -> None:
        """An answer was in the journal: its model was not called again."""
        self.event("journaled", role=role)
        self._add(
            "model_calls",
            node=self._node,
            role=role,
            status="journaled",
            started_at=time.time(),
        )

    def context(self, context: Mapping[str, Any] | None) -> None:
        """What a model was not sent, or has not read, of the conversation: a note, if anything."""
        if note := note_of(context):
            self.event("note", note=note)
            self.error("ContextCut", note)

    def not_meant(self, calls: list[dict[str, Any]] | None) -> None:
        """Tool calls that the model made and the message did not ask for: they were not run."""
        for call in calls or ():
            self.event("not_meant", name=call["name"], arguments=call["args"], why=call["why"])
            self._add(
                "tool_calls",
                call_id=None,
                name=call["name"],
                arguments=call["args"],
                status="not_meant",
                result=call["why"],
                started_at=time.time(),
                latency_ms=0.0,
            )

    def tool(
        self,
        call_id: str | None,
        name: str,
        arguments: dict[str, Any],
        status: str,
        result: str,
        started_at: float,
        latency_ms: float,
    ) -> None:
        """A tool ran."""
        self.event("tool_finished", name=name, status=status, result=result, latency_ms=latency_ms)
        self._add(
            "tool_calls",
            call_id=call_id,
            name=name,
            arguments=arguments,
            status=status,
            result=result,
            started_at=started_at,
            latency_ms=latency_ms,
        )

    def finished(self, turn: TurnInfo, thread_id: str | None, outcome: dict[str, Any]) -> None:
        """The turn has its answer. A run of its own, as on a LangGraph server, is listed so."""
        if not self._alone:
            return
        self._add(
            "turns",
            turn_id=turn["turn_id"],
            thread_id=thread_id,
            status="done",
            question=turn["question"],
            answer=outcome["answer"],
            role=outcome["role"],
            finish_reason=outcome["finish_reason"],
            started_at=turn["started_at"],
            total_ms=(time.time() - turn["started_at"]) * 1000.0,
        )

    def error(self, kind: str, message: str) -> None:
        """Something went wrong that did not end the turn."""
        self._add("errors", at=time.time(), node=self._node, type=kind, message=message)

    def _add(self, table: str, **row: Any) -> None:
        self._recorder.add(table, {"trace_id": self._trace_id, **row})
