"""Puts an answer on the wire, whole or streamed, failing as scripted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from rolecall.models.scripted.connection import Connection, head
from rolecall.models.scripted.events import Event, encode
from rolecall.models.scripted.script import Fault, Request, ScriptedReply
from rolecall.models.scripted.verbatim import Verbatim

_HTML = b"<!DOCTYPE html><html><body><h1>Not the runner you meant</h1></body></html>"
# A private character, swapped for bytes that are no UTF-8 once the answer is encoded.
_MARK = "\ue000"
_FLUSH_BYTES = 1_000_000


@dataclass(frozen=True)
class Voice:
    """How a dialect puts a reply: as one body, or as a stream of its own content type."""

    whole: Callable[[ScriptedReply, Request], bytes]
    stream: Callable[[ScriptedReply, Request], Iterator[Event]]
    stream_type: str
    error: Callable[[int, str], object]


def deliver(connection: Connection, reply: ScriptedReply, request: Request, voice: Voice) -> bool:
    """Answer a request; the result says whether the connection lives on.

    Raises:
        ClientGone: the client left before the end, or a hang was ended by closing the runner.
    """
    connection.rest(reply.delay_s)
    fault = reply.failing
    kind = fault.kind if fault else None
    if kind == "refuse":
        return False
    if kind == "hang_before_headers":
        connection.rest(None)
        return False
    if fault is not None and fault.kind in {"status", "redirect", "html_instead_of_json"}:
        connection.send(_instead(fault, voice))
        return True
    if kind == "invalid_utf8":
        reply = replace(reply, text=reply.said + _MARK, pieces=())
    if request.stream:
        return _stream(connection, reply, request, voice)
    return _whole(connection, reply, request, voice)


def recite(connection: Connection, answer: Verbatim) -> bool:
    """Send an answer as it stands; the connection lives on.

    Raises:
        ClientGone: the client left before the end.
    """
    if not answer.events:
        body = answer.whole
        start = head(answer.status, answer.content_type, len(body), answer.headers)
        connection.send(start + body)
        return True
    connection.send(head(answer.status, answer.content_type, None, answer.headers))
    for piece in answer.pieces():
        connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
    connection.send(b"0\r\n\r\n")
    return True


def _instead(fault: Fault, voice: Voice) -> bytes:
    if fault.kind == "html_instead_of_json":
        return head(200, "text/html; charset=utf-8", len(_HTML), fault.headers) + _HTML
    if fault.kind == "redirect":
        return head(307, "text/plain", 0, {"Location": fault.location, **fault.headers})
    if isinstance(fault.body, str):
        body, content_type = fault.body.encode(), "text/plain; charset=utf-8"
    else:
        shown = fault.body
        if shown is None:
            shown = voice.error(fault.status, f"scripted status {fault.status}")
        body, content_type = encode(shown), "application/json; charset=utf-8"
    return head(fault.status, content_type, len(body), fault.headers) + body


def _whole(connection: Connection, reply: ScriptedReply, request: Request, voice: Voice) -> bool:
    fault = reply.failing
    kind = fault.kind if fault else None
    body = voice.whole(reply, request)
    if kind == "invalid_utf8":
        body = body.replace(_MARK.encode(), b"\xff\xfe")
    if kind == "truncated_json" or (fault and kind == "cut_stream" and fault.clean):
        body = body[: len(body) // 2]
    content_type = "text/plain" if kind == "wrong_content_type" else "application/json"
    message = head(200, f"{content_type}; charset=utf-8", len(body), {}) + body
    if fault and fault.kind == "slow":
        _drip(connection, message, fault.bytes_per_s)
    elif kind == "hang_after_first_token":
        connection.send(message[: -len(body) // 2])
        connection.rest(None)
    elif fault and fault.kind == "cut_stream" and not fault.clean:
        connection.send(message[: -len(body) // 2])
        return False
    else:
        connection.send(message)
    return True


def _stream(connection: Connection, reply: ScriptedReply, request: Request, voice: Voice) -> bool:
    fault = reply.failing
    kind = fault.kind if fault else None
    content_type = "text/plain" if kind == "wrong_content_type" else voice.stream_type
    waiting = bytearray(head(200, content_type, None, {"Cache-Control": "no-cache"}))
    tokens = 0

    def flush() -> None:
        # Written in one go as far as no pause divides it.
        if fault and fault.kind == "slow":
            _drip(connection, bytes(waiting), fault.bytes_per_s)
        else:
            connection.send(bytes(waiting))
        waiting.clear()

    for event in voice.stream(reply, request):
        cut = fault is not None and fault.kind == "cut_stream" and tokens >= fault.after
        if cut or (kind == "truncated_json" and tokens):
            break
        if event.token and tokens and reply.chunk_delay_s:
            flush()
            connection.rest(reply.chunk_delay_s)
        data = event.data
        if kind == "invalid_utf8":
            data = data.replace(_MARK.encode(), b"\xff\xfe")
        tokens += event.token
        if kind == "truncated_json" and event.token:
            data = data[: len(data) // 2] + b"\n\n"
        waiting += b"%x\r\n%b\r\n" % (len(data), data)
        if kind == "hang_after_first_token" and tokens:
            flush()
            connection.rest(None)
        if len(waiting) > _FLUSH_BYTES:
            flush()
    if fault and fault.kind == "cut_stream" and not fault.clean:
        flush()
        return False
    waiting += b"0\r\n\r\n"
    flush()
    return True


def _drip(connection: Connection, data: bytes, bytes_per_s: int) -> None:
    step = max(bytes_per_s // 50, 1)
    for start in range(0, len(data), step):
        connection.rest(step / bytes_per_s if start else 0)
        connection.send(data[start : start + step])
