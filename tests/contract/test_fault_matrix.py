"""Every fault, over every wire API: a stated outcome, in time, with what came kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from rolecall.errors import ModelCallFailed, NoModelReachable, RolecallError
from rolecall.models.calls import CallRecord
from rolecall.models.client import LocalLLMClient
from rolecall.models.reply import MAX_CHARACTERS, final
from rolecall.models.scripted import Fault, FaultKind, ScriptedReply, ScriptedRunner
from rolecall.models.wire import CallOptions

TEXT = "one two three"
DEADLINE_S = 6.0
SILENT = {"timeout_s": 0.4}
BIG = 50_000_000


@dataclass(frozen=True)
class Outcome:
    """What a streamed call comes to.

    Attributes:
        error: words of the error; ``None`` when the call succeeds.
        kind: the error's class.
        attempts: how many times the model is asked.
        text: what was shown, and kept in the error as ``partial``.
        finish_reason: of a call that succeeds.
    """

    error: str | None = None
    kind: type[RolecallError] = NoModelReachable
    attempts: tuple[int, ...] = (2,)
    text: str = ""
    finish_reason: str = "stop"


@dataclass(frozen=True)
class Row:
    """A fault: what the runner does, what comes of it."""

    name: str
    outcome: Outcome
    fault: Fault | FaultKind | int | None = None
    reply: dict[str, Any] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    then: str = ""
    """What the runner says once the fault is over."""


def refused(words: str, attempts: int = 1) -> Outcome:
    return Outcome(words, attempts=(attempts,))


def broken(words: str) -> Outcome:
    return Outcome(words, ModelCallFailed, attempts=(1,), text="one")


ROWS = [
    Row("401", refused("api_key_env"), 401),
    Row("404", refused("does not know this model"), 404),
    Row("408", refused("HTTP 408", 2), 408),
    Row("413", refused("longer than the model can read"), 413),
    Row("429", refused("HTTP 429", 2), 429),
    Row(
        "429 with Retry-After",
        Outcome(text=TEXT),
        Fault("status", status=429, headers={"Retry-After": "1"}),
        then=TEXT,
    ),
    Row("500", refused("HTTP 500", 2), 500),
    Row("502", refused("bad gateway", 2), Fault("status", status=502, body="bad gateway")),
    Row("503, then ready", Outcome(text=TEXT), 503, then=TEXT),
    Row("refuses after the request", refused("connection broke", 2), "refuse"),
    Row("hangs before the headers", refused("no sign of life"), "hang_before_headers", spec=SILENT),
    Row("hangs after the first token", broken("no sign of life"), "hang_after_first_token",
        spec=SILENT),
    Row("one byte a second", refused("no sign of life"), Fault("slow", bytes_per_s=1),
        spec=SILENT),
    Row("cut stream", broken("connection broke"), Fault("cut_stream", after=1)),
    Row(
        "cut stream, ended properly",
        broken("ends before it is complete"),
        Fault("cut_stream", after=1, clean=True),
    ),
    Row("truncated JSON", refused("answer", 2), "truncated_json"),
    Row("HTML instead of JSON", refused("answer", 2), "html_instead_of_json"),
    Row("null content", Outcome(text=""), "null_content"),
    Row("wrong content type", Outcome(text=TEXT), "wrong_content_type"),
    Row("invalid UTF-8", Outcome(text=TEXT + "\ufffd\ufffd"), "invalid_utf8"),
    Row("redirect to another host", refused("redirect"), Fault("redirect")),
    Row("finish reason length", Outcome(text=TEXT, finish_reason="length"),
        reply={"finish_reason": "length"}),
    Row("usage missing", Outcome(text=TEXT), "usage_missing"),
    Row("usage wrong", Outcome(text=TEXT), reply={"usage": (1, 10**12)}),
]  # fmt: skip

# Where a wire cannot show a fault like the others, or shows it later.
OTHERWISE = {
    ("truncated JSON", "responses"): Outcome("not of the API", attempts=(2,)),
}


@pytest.fixture
def asked(wire: Any, spec_of: Any, client_of: Any) -> Callable[..., Any]:
    """``async with asked(endpoint, **spec)``: a client with small limits over ``wire``."""

    @asynccontextmanager
    async def open_with(endpoint: Any, **more: Any) -> AsyncIterator[LocalLLMClient]:
        limits = {"timeout_s": 3, "deadline_s": DEADLINE_S, "api": wire.api, **more}
        client = client_of(spec_of(endpoint, **limits))
        try:
            yield client
        finally:
            await client.aclose()

    return open_with


async def heard(
    client: LocalLLMClient, records: list[CallRecord], options: CallOptions | None = None
) -> tuple[str, AIMessage | RolecallError]:
    """What was shown, and the message or the error."""
    chunks = []
    try:
        stream = client.astream(
            "coding", [("user", "hello")], options=options, on_call=records.append
        )
        async for chunk in stream:
            chunks.append(chunk)
    except RolecallError as error:
        return "".join(chunk.text for chunk in chunks), error
    return "".join(chunk.text for chunk in chunks), final(chunks)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_a_fault_has_its_stated_outcome(
    runner: ScriptedRunner, wire: Any, asked: Any, row: Row
) -> None:
    failing = ScriptedReply(TEXT, **row.reply, fault=row.fault)
    if row.then:
        runner.enqueue(failing)
        runner.default = row.then
    else:
        runner.default = failing
    expected = OTHERWISE.get((row.name, wire.api), row.outcome)
    records: list[CallRecord] = []
    begun = time.monotonic()
    async with asked(runner, **row.spec) as client:
        shown, got = await heard(client, records)
    assert time.monotonic() - begun < DEADLINE_S
    assert shown == expected.text
    assert [record.attempt for record in records] == list(range(1, len(records) + 1))
    if expected.error is None:
        assert isinstance(got, AIMessage), got
        assert got.response_metadata["finish_reason"] == expected.finish_reason
        assert records[-1].status == "ok"
        return
    assert isinstance(got, expected.kind)
    assert expected.error in str(got)
    assert "tiny at" in str(got)
    assert len(records) in expected.attempts
    assert all(record.status == "error" and record.error for record in records)
    if expected.kind is ModelCallFailed:
        assert getattr(got, "partial", None) == expected.text


UNREACHABLE = [
    ("http://127.0.0.1:9/v1", "nothing answers there"),
    ("http://no-such-host.invalid/v1", "cannot be resolved"),
]


@pytest.mark.parametrize(("endpoint", "words"), UNREACHABLE, ids=["refused", "DNS failure"])
async def test_a_runner_that_cannot_be_reached(
    wire: Any, asked: Any, endpoint: str, words: str
) -> None:
    records: list[CallRecord] = []
    async with asked(endpoint) as client:
        shown, got = await heard(client, records)
    assert (shown, type(got)) == ("", NoModelReachable)
    assert words in str(got)


async def test_a_runner_without_tls_behind_an_https_address(asked: Any) -> None:
    async def plainly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(plainly, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, asked(f"https://127.0.0.1:{port}/v1") as client:
        _, got = await heard(client, [])
    assert isinstance(got, NoModelReachable)
    assert "TLS failed" in str(got)


async def test_usage_that_cannot_be_is_not_taken_over(runner: ScriptedRunner, asked: Any) -> None:
    runner.default = ScriptedReply(TEXT, usage=(-3, 5))
    records: list[CallRecord] = []
    async with asked(runner) as client:
        _, got = await heard(client, records)
    assert isinstance(got, AIMessage)
    assert got.usage_metadata is None
    assert (records[0].input_tokens, records[0].output_tokens) == (None, None)


@pytest.mark.parametrize("wire", ["chat_completions", "responses"], indirect=True)
async def test_an_answer_without_choices(runner: ScriptedRunner, wire: Any, asked: Any) -> None:
    runner.default = ScriptedReply(TEXT, fault="empty_choices")
    async with asked(runner) as client:
        shown, got = await heard(client, [])
    assert shown == ""
    if wire.api == "responses":  # a response may have no items: that is an empty answer
        assert isinstance(got, AIMessage)
    else:
        assert "before it is complete" in str(got)


async def test_duplicate_tool_ids_become_unique(
    runner: ScriptedRunner, asked: Any, tools: Any
) -> None:
    same: list[dict[str, Any]] = [
        {"name": "weather", "args": {"place": "Oslo"}, "id": "same"},
        {"name": "clock", "args": {}, "id": "same"},
    ]
    runner.default = ScriptedReply(tool_calls=same)
    async with asked(runner) as client:
        _, got = await heard(client, [], CallOptions(tools=tools))
    assert isinstance(got, AIMessage)
    assert [call["name"] for call in got.tool_calls] == ["weather", "clock"]
    assert len({call["id"] for call in got.tool_calls}) == 2


async def test_an_answer_of_50_mb_ends_at_the_bound_and_its_beginning_is_kept(
    runner: ScriptedRunner, asked: Any
) -> None:
    runner.default = ScriptedReply(pieces=["word " * 20_000] * (BIG // 100_000))
    records: list[CallRecord] = []
    async with asked(runner, timeout_s=10, deadline_s=10) as client:
        shown, got = await heard(client, records)
        whole = await asyncio.gather(
            client.achat("coding", [("user", "hello")]), return_exceptions=True
        )
    assert isinstance(got, ModelCallFailed)
    assert f"past {MAX_CHARACTERS:,} characters" in str(got)
    assert got.partial == shown
    assert MAX_CHARACTERS - 100_000 <= len(shown) <= MAX_CHARACTERS
    assert len(records) == 1
    assert isinstance(whole[0], ModelCallFailed)
    assert whole[0].partial == shown


@pytest.mark.parametrize("wire", ["chat_completions"], indirect=True)
async def test_50_mb_without_a_line_break_end_at_the_bound(
    runner: ScriptedRunner, asked: Any
) -> None:
    runner.default = ScriptedReply(pieces=["x" * BIG])
    async with asked(runner, timeout_s=10, deadline_s=10) as client:
        shown, got = await heard(client, [])
    assert shown == ""
    assert "past 32 MiB" in str(got)
