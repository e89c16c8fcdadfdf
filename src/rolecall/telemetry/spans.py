"""OpenTelemetry spans of one turn, by the GenAI semantic conventions (opentelemetry.io).

    invoke_agent rolecall            the turn
    └── router, reasoning, …         a node
        ├── chat MODEL               a model call
        └── execute_tool NAME        a tool call

The trace's id is the turn's ``trace_id`` (32 hex digits; another id is hashed, and stands in
``rolecall.trace_id``). Texts, reasons and error messages are left out unless they are wanted.
"""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from rolecall.config.schema import EMBEDDED
from rolecall.telemetry.steps import TOOLS, Step, ended_at, steps_of

Attributes = dict[str, Any]


class SpanMaker:
    """Makes the spans of turns; used from one thread.

    Args:
        texts: whether questions, answers, arguments, results and messages go along.
    """

    def __init__(self, *, texts: bool = False) -> None:
        self._texts = texts
        self._ids = _OurIds()
        self._made = _Made()
        provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource.create({"service.name": "rolecall"}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        provider.add_span_processor(self._made)
        self._tracer = provider.get_tracer("rolecall")

    def spans_of(self, trace: Mapping[str, Any]) -> list[ReadableSpan]:
        """The spans of a trace, of the form that ``Traces.show`` gives."""
        turn = trace["turn"]
        self._ids.trace_id = trace_number(turn["trace_id"])
        steps = steps_of(trace)
        start = min([turn["started_at"] or 0.0, *(step.started_at for step in steps)])
        end = max(
            [ended_at(turn["started_at"], turn["total_ms"]), *(step.ended_at for step in steps)]
        )
        failure = _failure(trace)
        root = self._span("invoke_agent rolecall", None, start, end, self._of_turn(trace), failure)
        parents = [
            (step, self._span(step.node, root, step.started_at, step.ended_at, _of_node(step)))
            for step in steps
        ]
        for decision in trace["decisions"]:
            node = "router" if decision["strategy"] != "escalation" else None
            span = _parent(parents, node, decision["at"] or start) or root
            span.set_attributes(_known(self._of_decision(decision)))
        for call in trace["model_calls"]:
            begin = call["started_at"] or start
            parent = _parent(parents, call["node"], begin) or root
            if call["status"] == "journaled":
                parent.set_attribute("rolecall.journaled", True)
                continue
            failed = (str(call["status"]), call["error"]) if call["status"] != "ok" else None
            name, until = f"chat {call['model']}", ended_at(begin, call["latency_ms"])
            self._span(name, parent, begin, until, _of_call(turn, call), failed, SpanKind.CLIENT)
        for call in trace["tool_calls"]:
            begin = call["started_at"] or start
            parent = _parent(parents, TOOLS, begin) or root
            good = call["status"] in {"success", "journaled", "skipped", "not_meant"}
            failed = None if good else (str(call["status"]), call["result"])
            name, until = f"execute_tool {call['name']}", ended_at(begin, call["latency_ms"])
            self._span(name, parent, begin, until, self._of_tool(call), failed)
        for step, span in reversed(parents):
            span.end(_ns(step.ended_at))
        root.end(_ns(end))
        return self._made.taken()

    def _span(
        self,
        name: str,
        parent: Any,
        start: float,
        end: float,
        attributes: Attributes,
        failure: tuple[str, str | None] | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> Any:
        """A span; one that has no spans below it is ended here."""
        context = Context() if parent is None else set_span_in_context(parent, Context())
        span = self._tracer.start_span(
            name, context, kind, attributes=_known(attributes), start_time=_ns(start)
        )
        if failure is not None:
            error_type, message = failure
            span.set_attribute("error.type", error_type)
            span.set_status(Status(StatusCode.ERROR, message if self._texts else None))
        if attributes.get("gen_ai.operation.name") in {"chat", "execute_tool"}:
            span.end(_ns(max(start, end)))
        return span

    def _of_turn(self, trace: Mapping[str, Any]) -> Attributes:
        turn = trace["turn"]
        answered = [call for call in trace["model_calls"] if call["status"] == "ok"]
        found = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.provider.name": "rolecall",
            "gen_ai.agent.name": "rolecall",
            "gen_ai.conversation.id": turn["thread_id"],
            "gen_ai.usage.input_tokens": sum(call["input_tokens"] or 0 for call in answered),
            "gen_ai.usage.output_tokens": sum(call["output_tokens"] or 0 for call in answered),
            "gen_ai.response.finish_reasons": _list(turn["finish_reason"]),
            "rolecall.trace_id": turn["trace_id"],
            "rolecall.turn_id": turn["turn_id"],
            "rolecall.stack": turn["stack"],
            "rolecall.status": turn["status"],
            "rolecall.role": turn["role"],
        }
        if self._texts:
            found["gen_ai.input.messages"] = _message("user", turn["question"])
            found["gen_ai.output.messages"] = _message(
                "assistant", turn["answer"], turn["finish_reason"]
            )
        return found

    def _of_decision(self, decision: Mapping[str, Any]) -> Attributes:
        found = {
            "rolecall.routing.decision": decision["routing_decision"],
            "rolecall.routing.target_model": decision["target_model"],
            "rolecall.routing.confidence": decision["confidence"],
            "rolecall.routing.strategy": decision["strategy"],
        }
        if self._texts:
            found["rolecall.routing.reason"] = decision["reason"]
        return found

    def _of_tool(self, call: Mapping[str, Any]) -> Attributes:
        found = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": call["name"],
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": call["call_id"],
            "rolecall.status": call["status"],
        }
        if self._texts:
            arguments = call["arguments"]
            if arguments is not None and not isinstance(arguments, str):
                arguments = json.dumps(arguments, ensure_ascii=False, default=str)
            found["gen_ai.tool.call.arguments"] = arguments
            found["gen_ai.tool.call.result"] = call["result"]
        return found


def trace_number(trace_id: str) -> int:
    """The OpenTelemetry id of a trace: its 32 hex digits, dashes aside; else a hash."""
    digits = trace_id.replace("-", "")
    if len(digits) == 32 and set(digits) <= set(string.hexdigits) and int(digits, 16):
        return int(digits, 16)
    return int.from_bytes(hashlib.blake2b(trace_id.encode(), digest_size=16).digest())


class _OurIds(RandomIdGenerator):
    trace_id = 1

    def generate_trace_id(self) -> int:
        return self.trace_id


class _Made(SpanProcessor):
    """Gathers the spans that ended."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)

    def taken(self) -> list[ReadableSpan]:
        spans, self._spans = self._spans, []
        return spans


def _parent(parents: Sequence[tuple[Step, Any]], node: str | None, at: float) -> Span | None:
    """The span of the node's latest run that had begun by then."""
    same = [(step, span) for step, span in parents if node in (None, step.node)]
    begun = [span for step, span in same if step.started_at <= at + 0.002]
    found: Span | None = begun[-1] if begun else (same[0][1] if same else None)
    return found


def _of_node(step: Step) -> Attributes:
    return {"rolecall.node": step.node}


def _of_call(turn: Mapping[str, Any], call: Mapping[str, Any]) -> Attributes:
    server = urlsplit(call["endpoint"] or "")
    ttft = call["ttft_ms"]
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _provider(call),
        "gen_ai.request.model": call["model"],
        "gen_ai.request.stream": True,
        "gen_ai.conversation.id": turn["thread_id"],
        "gen_ai.usage.input_tokens": call["input_tokens"],
        "gen_ai.usage.output_tokens": call["output_tokens"],
        "gen_ai.response.finish_reasons": _list(call["finish_reason"]),
        "gen_ai.response.time_to_first_chunk": None if ttft is None else ttft / 1000.0,
        "server.address": server.hostname,
        "server.port": server.port,
        "rolecall.role": call["role"],
        "rolecall.api": call["api"],
        "rolecall.attempt": call["attempt"],
    }


def _provider(call: Mapping[str, Any]) -> str:
    """The runner as far as it is known: the conventions name no local ones."""
    if call["endpoint"] == EMBEDDED:
        return "llama_cpp"
    return "ollama" if call["api"] == "ollama" else "openai_compatible"


def _failure(trace: Mapping[str, Any]) -> tuple[str, str | None] | None:
    if trace["turn"]["status"] != "failed":
        return None
    last = next((error for error in reversed(trace["errors"]) if not error["node"]), None)
    return (last["type"], last["message"]) if last else ("error", None)


def _message(role: str, text: str | None, finish_reason: str | None = None) -> str | None:
    if text is None:
        return None
    message: dict[str, Any] = {"role": role, "parts": [{"type": "text", "content": text}]}
    if finish_reason is not None:
        message["finish_reason"] = finish_reason
    return json.dumps([message], ensure_ascii=False)


def _list(value: str | None) -> list[str] | None:
    return None if value is None else [value]


def _known(attributes: Attributes) -> Attributes:
    return {name: value for name, value in attributes.items() if value is not None}


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
