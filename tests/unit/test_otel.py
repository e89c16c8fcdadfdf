"""Turns become OpenTelemetry spans: the conventions' names, our ids, no texts unless wanted."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from rolecall.assistant import Assistant
from rolecall.config.schema import TelemetrySettings
from rolecall.errors import ConfigError, RemoteEndpoint
from rolecall.models.scripted import ScriptedReply, ScriptedRunner
from rolecall.telemetry import otel
from rolecall.telemetry.open import open_recorder
from rolecall.telemetry.otel import OtelRecorder
from rolecall.telemetry.recorder import SqliteRecorder
from rolecall.telemetry.spans import trace_number

TRACE = "0af7651916cd43dd8448eb211c80319c"


def add_turn(recorder: Any, trace_id: str = TRACE, status: str = "done") -> None:
    turn = {"trace_id": trace_id, "thread_id": "t-1", "stack": "s", "started_at": 100.0}
    recorder.add("turns", {**turn, "status": "running", "question": "secret question"})
    recorder.add(
        "decisions",
        {"trace_id": trace_id, "at": 100.02, "strategy": "llm", "routing_decision": "DELEGATE"}
        | {"target_model": "REASONING", "confidence": 0.9, "reason": "secret reason"},
    )
    call = {"trace_id": trace_id, "node": "reasoning", "role": "reasoning", "model": "qwen"}
    call |= {"endpoint": "http://localhost:1234/v1", "api": "chat_completions"}
    failed = {"attempt": 1, "status": "error", "started_at": 100.04, "error": "secret error"}
    recorder.add("model_calls", call | failed | {"latency_ms": 5.0})
    good = {"attempt": 2, "status": "ok", "started_at": 100.05, "latency_ms": 40.0}
    good |= {"ttft_ms": 10.0, "input_tokens": 12, "output_tokens": 34, "finish_reason": "stop"}
    recorder.add("model_calls", call | good)
    tool = {"trace_id": trace_id, "call_id": "c1", "name": "clock", "arguments": {"zone": "secret"}}
    tool |= {"status": "success", "result": "secret time", "started_at": 100.11}
    recorder.add("tool_calls", tool | {"latency_ms": 3.0})
    path = [("init", 10.0), ("router", 30.0), ("reasoning", 100.0), ("tool_runner", 120.0)]
    end = {"answer": "secret answer", "path": path, "total_ms": 150.0, "finish_reason": "stop"}
    recorder.add("turns", {**turn, **end, "status": status, "role": "reasoning"})


@pytest.fixture
def memory() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def recorder(memory: InMemorySpanExporter) -> Iterator[OtelRecorder]:
    opened = OtelRecorder(memory)
    yield opened
    opened.close()


def by_name(memory: InMemorySpanExporter) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for span in memory.get_finished_spans():
        found.setdefault(span.name, []).append(span)
    return found


def test_spans_stand_below_each_other_as_things_happened(
    recorder: OtelRecorder, memory: InMemorySpanExporter
) -> None:
    add_turn(recorder)
    assert recorder.flush()
    spans = by_name(memory)
    assert recorder.problem is None
    (root,) = spans["invoke_agent rolecall"]
    assert root.parent is None
    assert {f"{s.context.trace_id:032x}" for s in memory.get_finished_spans()} == {TRACE}
    for node in ("init", "router", "reasoning", "tool_runner"):
        assert spans[node][0].parent.span_id == root.context.span_id
    chats = spans["chat qwen"]
    assert {chat.parent.span_id for chat in chats} == {spans["reasoning"][0].context.span_id}
    (tool,) = spans["execute_tool clock"]
    assert tool.parent.span_id == spans["tool_runner"][0].context.span_id
    assert root.start_time == 100_000_000_000
    assert root.end_time == pytest.approx(100_150_000_000, abs=1000)
    assert chats[1].end_time - chats[1].start_time == pytest.approx(40_000_000, abs=1000)


def test_attributes_are_those_of_the_conventions(
    recorder: OtelRecorder, memory: InMemorySpanExporter
) -> None:
    add_turn(recorder)
    recorder.flush()
    spans = by_name(memory)
    failed, good = spans["chat qwen"]
    assert good.kind is SpanKind.CLIENT
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai_compatible",
        "gen_ai.request.model": "qwen",
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 34,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": 0.01,
        "gen_ai.conversation.id": "t-1",
        "server.address": "localhost",
        "server.port": 1234,
    }
    assert expected.items() <= dict(good.attributes).items()
    assert failed.attributes["error.type"] == "error"
    assert failed.status.status_code is StatusCode.ERROR
    (tool,) = spans["execute_tool clock"]
    assert tool.attributes["gen_ai.operation.name"] == "execute_tool"
    assert tool.attributes["gen_ai.tool.name"] == "clock"
    assert tool.attributes["gen_ai.tool.call.id"] == "c1"
    (root,) = spans["invoke_agent rolecall"]
    assert root.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert root.attributes["gen_ai.usage.output_tokens"] == 34
    assert spans["router"][0].attributes["rolecall.routing.target_model"] == "REASONING"


def everything(memory: InMemorySpanExporter) -> str:
    return "".join(span.to_json() for span in memory.get_finished_spans())


def test_no_text_goes_along_unless_it_is_wanted(
    recorder: OtelRecorder, memory: InMemorySpanExporter
) -> None:
    add_turn(recorder)
    recorder.flush()
    assert "secret" not in everything(memory)


def test_texts_that_are_wanted(memory: InMemorySpanExporter) -> None:
    recorder = OtelRecorder(memory, texts=True)
    add_turn(recorder)
    recorder.close()
    (root,) = by_name(memory)["invoke_agent rolecall"]
    asked = json.loads(root.attributes["gen_ai.input.messages"])
    assert asked == [{"role": "user", "parts": [{"type": "text", "content": "secret question"}]}]
    for text in ("secret answer", "secret time", "secret reason", "secret error"):
        assert text in everything(memory)


def test_a_failed_turn_names_its_error(
    recorder: OtelRecorder, memory: InMemorySpanExporter
) -> None:
    error = {"trace_id": TRACE, "at": 1.0, "node": "", "type": "TurnFailed", "message": "secret"}
    recorder.add("errors", error)
    add_turn(recorder, status="failed")
    recorder.flush()
    (root,) = by_name(memory)["invoke_agent rolecall"]
    assert root.attributes["error.type"] == "TurnFailed"
    assert root.status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("trace_id", ["x", "", "0" * 32, "g" * 32, "ü" * 32])
def test_an_id_of_another_kind_is_hashed(trace_id: str) -> None:
    assert 0 < trace_number(trace_id) < 2**128
    assert trace_number("0af76519-16cd-43dd-8448-eb211c80319c") == int(TRACE, 16)


def test_a_run_without_a_path_and_a_strange_row_are_survived(
    recorder: OtelRecorder, memory: InMemorySpanExporter
) -> None:
    recorder.add("turns", {"trace_id": "odd", "status": "done", "started_at": "never"})
    journaled = {"trace_id": TRACE, "node": "answer", "status": "journaled", "started_at": 99.0}
    recorder.add("model_calls", journaled)
    recorder.add("turns", {"trace_id": TRACE, "status": "done", "started_at": 99.0})
    assert recorder.flush()
    spans = by_name(memory)
    assert spans["answer"][0].attributes["rolecall.journaled"] is True
    assert recorder.problem is not None


def test_what_follows_a_turn_is_sent_at_once_below_its_span(
    recorder: OtelRecorder, memory: InMemorySpanExporter
) -> None:
    add_turn(recorder)
    recorder.flush()
    (root,) = by_name(memory)["invoke_agent rolecall"]
    sent = len(memory.get_finished_spans())
    call = {"trace_id": TRACE, "node": "summary", "model": "small", "status": "ok"}
    recorder.add("model_calls", call | {"started_at": 101.0, "latency_ms": 500.0})
    late = {"trace_id": TRACE, "at": 102.0, "node": "prune", "type": "StateError"}
    recorder.add("errors", late | {"message": "secret"})
    assert recorder.flush()
    assert recorder.problem is None
    spans = by_name(memory)
    assert len(memory.get_finished_spans()) == sent + 3
    (node,), (chat,), (error,) = spans["summary"], spans["chat small"], spans["prune"]
    assert node.parent.span_id == error.parent.span_id == root.context.span_id
    assert chat.parent.span_id == node.context.span_id
    assert {f"{s.context.trace_id:032x}" for s in (node, chat, error)} == {TRACE}
    assert chat.end_time - chat.start_time == pytest.approx(500_000_000, abs=1000)
    assert dict(error.attributes) == {"error.type": "StateError", "rolecall.node": "prune"}
    assert error.status.status_code is StatusCode.ERROR
    assert "secret" not in everything(memory)


def test_what_is_known_of_turns_that_were_sent_is_bounded_and_ends_when_they_are_resumed(
    recorder: OtelRecorder, memory: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otel, "_MAX_TURNS", 3)
    for number in range(9):
        add_turn(recorder, f"{number:032x}")
    add_turn(recorder, status="interrupted")
    add_turn(recorder)
    recorder.flush()
    assert len(recorder._sent) == 3
    assert recorder._turns == {}
    roots = by_name(memory)["invoke_agent rolecall"]
    assert [root.attributes["rolecall.status"] for root in roots[-2:]] == ["interrupted", "done"]
    assert len(by_name(memory)["chat qwen"]) == 11 * 2


class Stuck(SpanExporter):
    """A collector that takes the connection and never answers."""

    def __init__(self) -> None:
        self.free = threading.Event()

    def export(self, spans: Any) -> SpanExportResult:
        self.free.wait(20)
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.free.set()


def test_a_stuck_collector_costs_spans_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otel, "_MAX_ROWS", 100)
    monkeypatch.setattr(otel, "_CLOSE_S", 0.2)
    recorder = OtelRecorder(Stuck())
    started = time.monotonic()
    for _ in range(100):
        add_turn(recorder)
    assert time.monotonic() - started < 2
    assert recorder.dropped > 0
    recorder.close()
    assert time.monotonic() - started < 5


# --- settings -------------------------------------------------------------------------------------


def test_it_is_off_by_default(rolecall_home: Any) -> None:
    recorder = open_recorder(TelemetrySettings())
    recorder.close()
    assert isinstance(recorder, SqliteRecorder)


@pytest.mark.parametrize("endpoint", ["localhost:4318", "ftp://x", "http://", "http://x:99999"])
def test_an_endpoint_that_is_no_url(endpoint: str) -> None:
    with pytest.raises(ConfigError, match=r"otlp_endpoint.*is not a URL"):
        open_recorder(TelemetrySettings(otlp_endpoint=endpoint))


def test_a_public_address_is_refused() -> None:
    settings = TelemetrySettings(otlp_endpoint="http://8.8.8.8:4318")
    with pytest.raises(RemoteEndpoint, match=r"8\.8\.8\.8.*allow_remote"):
        open_recorder(settings)


def test_a_name_of_a_public_address_gets_nothing(
    memory: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(*args: Any, **more: Any) -> Any:
        return [(0, 0, 0, "", ("93.184.216.34", 0))]

    monkeypatch.setattr(otel.socket, "getaddrinfo", found)
    recorder = OtelRecorder(memory, host="collector.example")
    add_turn(recorder)
    recorder.flush()
    assert memory.get_finished_spans() == ()
    assert "allow_remote" in str(recorder.problem)
    recorder.close()


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    monkeypatch.setattr(otel.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'rolecall\[otel\]'"):
        open_recorder(TelemetrySettings(otlp_endpoint="http://localhost:4318"))


# --- a collector on loopback ----------------------------------------------------------------------


class Collector:
    """Takes OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                request = ExportTraceServiceRequest.FromString(body)
                assert self.path == "/v1/traces"
                for resource in request.resource_spans:
                    for scope in resource.scope_spans:
                        outer.spans += scope.spans
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_an_assistant_sends_its_turns(
    runner: ScriptedRunner, stack_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    runner.default = ScriptedReply("Merge sort.")
    collector = Collector()
    telemetry = {"otlp_endpoint": collector.endpoint}
    with Assistant.open(stack_for(runner, {"telemetry": telemetry})) as assistant:
        reply = assistant.ask("Which sort?", role="reasoning")
    collector.close()
    names = [span.name for span in collector.spans]
    assert sorted(names) == sorted(["invoke_agent rolecall", *reply.path, "chat reasoning-model"])
    assert {span.trace_id.hex() for span in collector.spans} == {reply.trace_id}


def test_a_collector_that_is_not_there_fails_nothing(
    runner: ScriptedRunner, stack_for: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    runner.default = ScriptedReply("Merge sort.")
    settings = {"telemetry": {"otlp_endpoint": "http://127.0.0.1:9"}}
    assistant = Assistant.open(stack_for(runner, settings))
    started = time.monotonic()
    assert assistant.ask("Which sort?", role="reasoning").text == "Merge sort."
    assistant.close()
    assert time.monotonic() - started < 8
    assert capfd.readouterr().err == ""
