"""Whatever a runner does, a call ends in time: with an answer, a fallback or a clear error."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rolecall.config.schema import ModelSpec, Settings, Stack
from rolecall.errors import (
    ModelCallFailed,
    NoModelReachable,
    RemoteEndpoint,
    RolecallError,
    UnknownModel,
    UnknownRole,
)
from rolecall.models.calls import CallRecord
from rolecall.models.client import LocalLLMClient
from rolecall.models.scripted import Dialect, Fault, ScriptedReply, ScriptedRunner

QUESTION = [("user", "hello")]
APIS: list[tuple[str, Dialect]] = [
    ("chat_completions", "openai"),
    ("responses", "openai"),
    ("ollama", "ollama"),
]


@pytest.fixture(scope="module", autouse=True)
def libraries_loaded() -> None:
    """A first call of each API: loading its library takes longer than the time limits below."""

    async def call(api: str, dialect: Dialect) -> None:
        with ScriptedRunner(dialect=dialect) as runner:
            async with client_of(spec_of(runner, api=api, timeout_s=60, deadline_s=60)) as client:
                await client.achat("coding", QUESTION)

    for api, dialect in APIS:
        asyncio.run(call(api, dialect))


@pytest.fixture
def runner() -> Iterator[ScriptedRunner]:
    with ScriptedRunner() as running:
        yield running


def spec_of(runner: ScriptedRunner | str, **more: Any) -> ModelSpec:
    endpoint = runner if isinstance(runner, str) else runner.endpoint
    return ModelSpec.model_validate(
        {"id": "tiny", "endpoint": endpoint, "timeout_s": 0.4, "deadline_s": 1.0, **more}
    )


@asynccontextmanager
async def client_of(*specs: ModelSpec) -> AsyncIterator[LocalLLMClient]:
    stack = Stack("test", Path("test.yaml"), "", {"coding": list(specs)}, {}, Settings())
    client = LocalLLMClient(stack)
    try:
        yield client
    finally:
        await client.aclose()


FATAL: list[tuple[Any, str]] = [
    (500, "HTTP 500"),
    (429, "HTTP 429"),
    (400, "HTTP 400"),
    (401, "api_key_env"),
    (404, "does not know this model"),
    (Fault("status", status=413), "longer than the model can read"),
    (Fault("status", status=502, body="bad gateway"), "HTTP 502"),
    ("refuse", "connection broke"),
    ("hang_before_headers", "no sign of life for 0.4 s"),
    ("html_instead_of_json", "answer"),
    ("redirect", "redirect"),
    (Fault("slow", bytes_per_s=20), "no sign of life"),
]


@pytest.mark.parametrize(("api", "dialect"), APIS)
@pytest.mark.parametrize(("fault", "said"), FATAL)
async def test_a_fault_is_an_error_with_model_and_endpoint_after_two_tries_at_most(
    api: str, dialect: Dialect, fault: Any, said: str
) -> None:
    records: list[CallRecord] = []
    with ScriptedRunner(dialect=dialect) as runner:
        runner.default = ScriptedReply("one two three", fault=fault)
        async with client_of(spec_of(runner, api=api)) as client:
            begun = time.monotonic()
            with pytest.raises(NoModelReachable) as caught:
                await client.achat("coding", QUESTION, on_call=records.append)
        assert time.monotonic() - begun < 3
        assert 1 <= len(runner.calls) <= 2
        assert f"tiny at {runner.endpoint}" in str(caught.value)
    assert said in str(caught.value)
    assert caught.value.exit_code == 3
    assert len(records) == len(runner.calls)
    assert [record.attempt for record in records] == list(range(1, len(records) + 1))
    for record in records:
        assert record.status == "error"
        assert record.error
        assert record.latency_ms is not None
        assert record.ttft_ms is None


@pytest.mark.parametrize(("api", "dialect"), APIS)
@pytest.mark.parametrize(
    "fault",
    [
        "hang_after_first_token",
        Fault("cut_stream", after=2),
        Fault("cut_stream", after=2, clean=True),
        "truncated_json",
        "invalid_utf8",
    ],
)
async def test_an_answer_that_breaks_off_says_so_and_keeps_what_came(
    api: str, dialect: Dialect, fault: Any
) -> None:
    shown: list[str] = []
    with ScriptedRunner(dialect=dialect) as runner:
        runner.default = ScriptedReply("one two three", fault=fault)
        async with client_of(spec_of(runner, api=api)) as client:
            failure = await streamed(client, shown)
        tries = len(runner.calls)
    if failure is None:
        # bytes that are no UTF-8 may be replaced, but nothing may be lost
        assert fault == "invalid_utf8"
        assert "".join(shown).startswith("one two three")
    elif shown:
        assert isinstance(failure, ModelCallFailed)
        assert failure.partial == "".join(shown)
        assert "tiny at" in str(failure)
        assert tries == 1
    else:
        assert isinstance(failure, NoModelReachable)
        assert tries == 2


async def streamed(client: LocalLLMClient, shown: list[str]) -> RolecallError | None:
    try:
        async for chunk in client.astream("coding", QUESTION):
            shown.append(chunk.text)
    except RolecallError as failure:
        return failure
    return None


@pytest.mark.parametrize(("api", "dialect"), APIS)
@pytest.mark.parametrize("fault", ["null_content", "wrong_content_type", "usage_missing"])
async def test_oddities_are_no_errors(api: str, dialect: Dialect, fault: Any) -> None:
    with ScriptedRunner(dialect=dialect) as runner:
        runner.default = ScriptedReply("one two", fault=fault)
        async with client_of(spec_of(runner, api=api)) as client:
            message = await client.achat("coding", QUESTION)
    assert message.text == ("" if fault == "null_content" else "one two")
    assert (message.usage_metadata is None) == (fault == "usage_missing")


async def test_an_answer_without_choices_is_an_error(runner: ScriptedRunner) -> None:
    runner.default = ScriptedReply("one", fault="empty_choices")
    async with client_of(spec_of(runner)) as client:
        with pytest.raises(NoModelReachable, match="before it is complete"):
            await client.achat("coding", QUESTION)


async def test_a_cut_stream_is_not_repeated_once_text_was_shown(runner: ScriptedRunner) -> None:
    runner.default = ScriptedReply("one two three", fault=Fault("cut_stream", after=2))
    async with client_of(spec_of(runner)) as client:
        with pytest.raises(ModelCallFailed) as caught:
            _ = [chunk async for chunk in client.astream("coding", QUESTION)]
    assert caught.value.partial == "one two"
    assert len(runner.calls) == 1


async def test_a_whole_reply_that_was_cut_is_asked_for_again(runner: ScriptedRunner) -> None:
    cut = ScriptedReply("one two three", fault=Fault("cut_stream", after=2))
    runner.enqueue(cut, "four five")
    async with client_of(spec_of(runner)) as client:
        assert (await client.achat("coding", QUESTION)).text == "four five"
        runner.enqueue(cut, cut)
        with pytest.raises(ModelCallFailed) as caught:
            await client.achat("coding", QUESTION)
    assert caught.value.partial == "one two"
    assert len(runner.calls) == 4


async def test_the_deadline_ends_an_answer_that_drips_for_ever(runner: ScriptedRunner) -> None:
    runner.default = ScriptedReply("a b c d e f g h i j k l m n o p", chunk_delay_s=0.2)
    async with client_of(spec_of(runner)) as client:
        begun = time.monotonic()
        with pytest.raises(ModelCallFailed, match=r"not finished within 1 s.*deadline_s"):
            await client.achat("coding", QUESTION)
    assert time.monotonic() - begun < 2


async def test_waiting_for_a_place_is_not_the_models_time(runner: ScriptedRunner) -> None:
    runner.default = ScriptedReply("ok", delay_s=0.3)
    records: list[CallRecord] = []
    async with client_of(spec_of(runner, max_concurrency=1)) as client:
        calls = [client.achat("coding", QUESTION, on_call=records.append) for _ in range(5)]
        replies = await asyncio.gather(*calls)
    assert [reply.text for reply in replies] == ["ok"] * 5
    assert all((record.latency_ms or 0) < 900 for record in records)


async def test_the_second_try_may_succeed(runner: ScriptedRunner) -> None:
    runner.enqueue(ScriptedReply(fault=500), "fine")
    records: list[CallRecord] = []
    async with client_of(spec_of(runner)) as client:
        assert (await client.achat("coding", QUESTION, on_call=records.append)).text == "fine"
    assert [(r.attempt, r.status) for r in records] == [(1, "error"), (2, "ok")]
    assert records[1].output_tokens == 1
    assert records[1].ttft_ms is not None
    assert records[1].finish_reason == "stop"
    assert (records[1].role, records[1].api) == ("coding", "chat_completions")


@pytest.mark.parametrize("fault", [500, 400, "refuse", "hang_before_headers"])
async def test_the_next_candidate_answers(runner: ScriptedRunner, fault: Any) -> None:
    runner.default = ScriptedReply(fault=fault)
    with ScriptedRunner(models=["other"]) as second:
        second.default = "from the second"
        async with client_of(spec_of(runner), spec_of(second, id="other")) as client:
            message = await client.achat("coding", QUESTION)
        assert len(second.calls) == 1
    assert message.text == "from the second"
    assert message.response_metadata["model_name"] == "other"
    assert len(runner.calls) <= 2


async def test_a_model_that_is_being_loaded_is_waited_for(runner: ScriptedRunner) -> None:
    runner.enqueue(*[ScriptedReply(fault=503)] * 3, "ready")
    async with client_of(spec_of(runner, timeout_s=5, deadline_s=5)) as client:
        assert (await client.achat("coding", QUESTION)).text == "ready"


async def test_a_model_that_never_loads_is_given_up(runner: ScriptedRunner) -> None:
    runner.default = ScriptedReply(fault=503)
    async with client_of(spec_of(runner)) as client:
        with pytest.raises(NoModelReachable, match="HTTP 503"):
            await client.achat("coding", QUESTION)
    assert len(runner.calls) <= 5


async def test_all_candidates_down_lists_each() -> None:
    specs = [spec_of(f"http://127.0.0.1:{port}/v1", id=f"m{port}") for port in (9, 19)]
    async with client_of(*specs) as client:
        with pytest.raises(NoModelReachable) as caught:
            await client.achat("coding", QUESTION)
    for port in (9, 19):
        assert f"m{port} at http://127.0.0.1:{port}/v1: nothing answers there" in str(caught.value)
    assert "rolecall stack check" in str(caught.value)


async def test_an_unknown_model_lists_what_the_endpoint_has() -> None:
    records: list[CallRecord] = []
    with ScriptedRunner(models=["alpha", "beta"]) as runner:
        async with client_of(spec_of(runner, id="gamma")) as client:
            with pytest.raises(UnknownModel, match=r"'gamma'.*alpha, beta") as caught:
                await client.achat("coding", QUESTION, on_call=records.append)
        assert runner.calls == []
    assert caught.value.exit_code == 2
    assert [record.status for record in records] == ["error"]


async def test_a_runner_that_hangs_on_its_list_is_asked_all_the_same(
    runner: ScriptedRunner,
) -> None:
    runner.faults = {"/v1/models": 500}
    async with client_of(spec_of(runner)) as client:
        assert (await client.achat("coding", QUESTION)).text == "ok"


async def test_an_unknown_role_lists_the_roles(runner: ScriptedRunner) -> None:
    async with client_of(spec_of(runner)) as client:
        with pytest.raises(UnknownRole, match="coding"):
            await client.achat("poetry", QUESTION)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://8.8.8.8/v1",
        "http://[2001:4860:4860::8888]/v1",
        "http://[::ffff:8.8.8.8]/v1",
        "http://[2001:0:1::1]/v1",
        "http://[2002:808:808::1]/v1",
        "http://[64:ff9b::808:808]/v1",
        "http://134744072/v1",
        "http://172.32.0.1/v1",
    ],
)
async def test_public_addresses_are_refused(endpoint: str) -> None:
    async with client_of(spec_of(endpoint)) as client:
        with pytest.raises(RemoteEndpoint, match="allow_remote: true") as caught:
            await client.achat("coding", QUESTION)
    assert caught.value.exit_code == 2


def _resolves_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def found(host: Any, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, 0)) for a in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found)


@pytest.mark.parametrize("addresses", [("93.184.216.34",), ("127.0.0.1", "93.184.216.34")])
async def test_names_that_resolve_to_a_public_address_are_refused(
    monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    _resolves_to(monkeypatch, *addresses)
    async with client_of(spec_of("http://models.example/v1")) as client:
        with pytest.raises(RemoteEndpoint, match=r"93\.184\.216\.34"):
            await client.achat("coding", QUESTION)


async def test_allow_remote_lets_it_through(
    runner: ScriptedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    real = socket.getaddrinfo

    def found(host: Any, *rest: Any, **more: Any) -> Any:
        asked.append(str(host))
        return real("127.0.0.1", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    endpoint = runner.endpoint.replace("127.0.0.1", "models.example")
    async with client_of(spec_of(endpoint, allow_remote=True)) as client:
        assert (await client.achat("coding", QUESTION)).text == "ok"
    assert asked


async def test_cancelling_a_call_ends_it_at_the_runner(runner: ScriptedRunner) -> None:
    runner.default = ScriptedReply(fault="hang_before_headers")
    records: list[CallRecord] = []
    async with client_of(spec_of(runner, timeout_s=30)) as client:
        task = asyncio.create_task(client.achat("coding", QUESTION, on_call=records.append))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [record.status for record in records] == ["cancelled"]


def test_many_event_loops_leave_nothing_behind(runner: ScriptedRunner) -> None:
    stack = Stack("t", Path("t.yaml"), "", {"coding": [spec_of(runner)]}, {}, Settings())
    client = LocalLLMClient(stack)

    async def once() -> str:
        text = (await client.achat("coding", QUESTION)).text
        await client.aclose()
        return text

    assert [asyncio.run(once()) for _ in range(3)] == ["ok"] * 3
    assert len(client._pool._loops) <= 1
