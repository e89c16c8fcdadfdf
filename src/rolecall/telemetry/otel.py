"""Sends turns to an OpenTelemetry collector.

Spans are made from the rows that the recorder gets, when a turn's last row has come: the same
source as ``telemetry.db``, also where the graph runs on a LangGraph server, and nothing is done
on the turn's path but putting a row into a queue. A thread of its own makes and sends them; a
collector that does not answer costs spans, never a turn. What follows a turn, such as a summary,
is sent as it comes, below the turn's span.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import logging
import queue
import socket
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rolecall.config.schema import TelemetrySettings
from rolecall.errors import ConfigError, RemoteEndpoint, StateError
from rolecall.telemetry.recorder import SqliteRecorder

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

    from rolecall.telemetry.spans import SpanMaker

_PARTS = ("decisions", "model_calls", "tool_calls", "errors")
_MAX_ROWS, _MAX_TURNS = 20_000, 1000
_TIMEOUT_S, _CLOSE_S = 5.0, 2.0

_Row = tuple[str, dict[str, Any]]


class OtelRecorder:
    """Takes telemetry rows and sends them as spans.

    Args:
        exporter: where spans go; called from this recorder's thread only.
        texts: whether texts go along.
        host: looked up before anything is sent: what lies outside of the private networks gets
            nothing. ``None`` allows any.

    ``problem`` is the first thing that went wrong; ``dropped`` counts rows that found no place.
    """

    def __init__(
        self, exporter: SpanExporter, *, texts: bool = False, host: str | None = None
    ) -> None:
        self._exporter = exporter
        self._texts = texts
        self._host = host
        self._rows: queue.Queue[_Row | threading.Event | None] = queue.Queue()
        self._turns: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._sent: OrderedDict[str, tuple[dict[str, Any], ReadableSpan]] = OrderedDict()
        self.problem: str | None = None
        self.dropped = 0
        self._thread = threading.Thread(target=self._work, name="rolecall-otel", daemon=True)
        self._thread.start()

    def add(self, table: str, row: dict[str, Any]) -> None:
        """Queue a row; returns at once. A full queue drops it."""
        if self._rows.qsize() >= _MAX_ROWS:
            self.dropped += 1
        else:
            self._rows.put((table, row))

    def flush(self, timeout_s: float = _CLOSE_S) -> bool:
        """Wait until what was added so far is sent; whether it was within the time."""
        sent = threading.Event()
        self._rows.put(sent)
        return sent.wait(timeout_s)

    def close(self) -> None:
        """Send what is queued, for 2 seconds at most."""
        self._rows.put(None)
        self._thread.join(0.2 if self.problem else _CLOSE_S)
        self._exporter.shutdown()

    def _work(self) -> None:
        from rolecall.telemetry.spans import SpanMaker

        maker = SpanMaker(texts=self._texts)
        while (item := self._rows.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
                continue
            try:
                if spans := self._spans(maker, *item):
                    self._send(spans)
            except Exception as error:  # a row of another shape must not end the thread
                self.problem = self.problem or f"{type(error).__name__}: {error}"

    def _spans(self, maker: SpanMaker, table: str, row: dict[str, Any]) -> list[ReadableSpan]:
        """What a row completes: all spans of its turn, or those of a row that came after them."""
        trace_id = str(row.get("trace_id"))
        if table in _PARTS and (sent := self._sent.get(trace_id)) is not None:
            return _later(maker, *sent, table, {**_BLANK[table], **row})
        self._sent.pop(trace_id, None)  # it is resumed
        trace = self._finished(table, row)
        if trace is None:
            return []
        spans = maker.spans_of(trace)
        turn = {**trace["turn"], "question": None, "answer": None, "path": None, "total_ms": None}
        self._sent[trace_id] = (turn, spans[-1])
        if len(self._sent) > _MAX_TURNS:
            self._sent.popitem(last=False)
        return spans

    def _finished(self, table: str, row: dict[str, Any]) -> dict[str, Any] | None:
        """Note a row; the whole trace once its turn is over."""
        trace_id = str(row.get("trace_id"))
        trace = self._turns.setdefault(
            trace_id, {"turn": dict.fromkeys(_TURN_KEYS), **{part: [] for part in _PARTS}}
        )
        if table in _PARTS:
            trace[table].append({**_BLANK.get(table, {}), **row})
        elif table == "turns":
            trace["turn"].update(row)
            if row.get("status") != "running":
                return self._turns.pop(trace_id)
        while len(self._turns) > _MAX_TURNS:  # turns whose end never came
            self._turns.popitem(last=False)
        return None

    def _send(self, spans: Any) -> None:
        from opentelemetry.sdk.trace.export import SpanExportResult

        if self._host is not None and (far := _far_address(self._host)):
            self.problem = _outside(self._host, far)
        elif self._exporter.export(spans) is not SpanExportResult.SUCCESS:
            self.problem = self.problem or "the OpenTelemetry collector did not take the spans"


# a row need not name every column
_BLANK: dict[str, dict[str, Any]] = {
    table: dict.fromkeys(columns.split())
    for table, columns in {
        "model_calls": "node role model endpoint api attempt status started_at input_tokens "
        "output_tokens ttft_ms latency_ms finish_reason error",
        "tool_calls": "call_id name arguments status result started_at latency_ms",
        "decisions": "at strategy routing_decision target_model confidence reason latency_ms",
        "errors": "at node type message",
    }.items()
}
_TURN_KEYS = [
    *("trace_id", "turn_id", "thread_id", "stack", "status", "question", "answer", "role"),
    *("finish_reason", "started_at", "total_ms", "path"),
]


def _later(
    maker: SpanMaker, turn: dict[str, Any], root: ReadableSpan, table: str, row: dict[str, Any]
) -> list[ReadableSpan]:
    """The spans of one row, below the turn's span, which was sent before."""
    begun = row["at"] if "at" in row else row["started_at"]
    own_turn = {**turn, "started_at": begun}
    parts: dict[str, list[dict[str, Any]]] = {part: [] for part in _PARTS} | {table: [row]}
    if table == "errors":  # it becomes the turn's own, and that its span
        own_turn["status"], parts[table] = "failed", [{**row, "node": None}]
        *_, span = maker.spans_of({"turn": own_turn, **parts})
        known = {"error.type": row["type"], "rolecall.node": row["node"]}
        return [_below(root, span, row["node"] or "error", known)]
    *spans, own = maker.spans_of({"turn": own_turn, **parts})
    return [
        _below(root, span, span.name, span.attributes)
        if span.parent is not None and span.parent.span_id == own.context.span_id
        else span
        for span in spans
    ]


def _below(root: ReadableSpan, span: ReadableSpan, name: str, attributes: Any) -> ReadableSpan:
    from opentelemetry.sdk.trace import ReadableSpan

    return ReadableSpan(
        name,
        span.context,
        root.context,
        span.resource,
        {key: value for key, value in attributes.items() if value is not None},
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


class TwoRecorders:
    """Gives each row to ``telemetry.db`` and to the collector."""

    def __init__(self, kept: SqliteRecorder, sent: OtelRecorder) -> None:
        self._kept = kept
        self._sent = sent

    def add(self, table: str, row: dict[str, Any]) -> None:
        """Add the row to both."""
        self._kept.add(table, row)
        self._sent.add(table, row)

    def flush(self) -> None:
        """Wait until the rows are on disk, and sent if the collector takes them at once."""
        self._kept.flush()
        self._sent.flush()

    def close(self) -> None:
        """Write and send what is queued."""
        self._sent.close()
        self._kept.close()

    @property
    def problem(self) -> StateError | None:
        """Why rows are not on disk, if they are not."""
        return self._kept.problem

    @property
    def sending(self) -> OtelRecorder:
        """The one that sends; its ``problem`` says why spans do not arrive."""
        return self._sent


def otel_recorder(settings: TelemetrySettings) -> OtelRecorder:
    """A recorder that sends to ``settings.otlp_endpoint``.

    Raises:
        ConfigError: the endpoint is no URL, or OpenTelemetry is not installed.
        RemoteEndpoint: the address is a public one, and ``allow_remote`` is not set.
    """
    endpoint = settings.otlp_endpoint or ""
    url = _url(endpoint)
    if not settings.allow_remote and (far := _far_literal(str(url.hostname))):
        raise RemoteEndpoint(_outside(endpoint, far))
    try:
        found = importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http")
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise ConfigError(
            "settings.telemetry.otlp_endpoint needs OpenTelemetry, which is not installed: "
            "pip install 'rolecall[otel]', or set it to null"
        )
    host = None if settings.allow_remote else str(url.hostname)
    return OtelRecorder(_exporter(endpoint), texts=settings.otlp_texts, host=host)


def _exporter(endpoint: str) -> SpanExporter:
    import requests
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    # it would log each failed try on standard error; the recorder says so once
    logging.getLogger("opentelemetry.exporter.otlp").addHandler(logging.NullHandler())
    logging.getLogger("opentelemetry.exporter.otlp").propagate = False
    session = requests.Session()
    session.trust_env = False  # a proxy from the environment would take spans elsewhere
    session.max_redirects = 0
    path = "" if urlsplit(endpoint).path.endswith("/v1/traces") else "/v1/traces"
    return OTLPSpanExporter(
        endpoint=endpoint.rstrip("/") + path, timeout=_TIMEOUT_S, session=session
    )


def _url(endpoint: str) -> Any:
    try:
        url = urlsplit(endpoint)
        good = url.scheme in {"http", "https"} and url.hostname and (url.port or True)
    except ValueError:
        good = False
    if not good:
        raise ConfigError(
            f"settings.telemetry.otlp_endpoint: {endpoint!r} is not a URL such as "
            "http://localhost:4318"
        )
    return url


def _far_literal(host: str) -> str | None:
    from rolecall.models.endpoint import is_near

    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return None  # a name: looked up before each sending
    return None if is_near(address) else str(address)


def _far_address(host: str) -> str | None:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None  # the exporter will not find it either
    return next((far for entry in found if (far := _far_literal(str(entry[4][0])))), None)


def _outside(endpoint: str, address: str) -> str:
    return (
        f"settings.telemetry.otlp_endpoint: {endpoint} is outside this machine and its private "
        f"network ({address}). To send traces there, set settings.telemetry.allow_remote: true."
    )
