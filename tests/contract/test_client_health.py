"""Who is asked, in which order, and for how long: rests, waits, queues, fallbacks, deadlines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from rolecall.config.schema import ModelSpec, Role, Settings, Stack
from rolecall.errors import ModelCallFailed, NoModelReachable, UnknownModel
from rolecall.models import health
from rolecall.models.calls import CallRecord
from rolecall.models.client import LocalLLMClient
from rolecall.models.order import MAX_ATTEMPTS
from rolecall.models.scripted import Dialect, Fault, Request, ScriptedReply, ScriptedRunner
from rolecall.models.wire import CallOptions

QUESTION = [("user", "hello")]
DOWN = ScriptedReply(fault=500)
HANG = ScriptedReply(fault="hang_before_headers")
CUT = ScriptedReply("one two three", fault=Fault("cut_stream", after=2))


def busy(wait: str, status: int = 429) -> ScriptedReply:
    return ScriptedReply(fault=Fault("status", status=status, headers={"Retry-After": wait}))


@pytest.fixture
def first() -> Iterator[ScriptedRunner]:
    with ScriptedRunner() as running:
        running.default = "from the first"
        yield running


@pytest.fixture
def second() -> Iterator[ScriptedRunner]:
    with ScriptedRunner(models=["other"]) as running:
        running.default = "from the second"
        yield running


@pytest.fixture
def short_rests(monkeypatch: pytest.MonkeyPatch) -> float:
    """Rests of half a second, so that a test can wait for their end."""
    monkeypatch.setattr(health, "FIRST_REST_S", 0.5)
    return 0.5


def spec_of(runner: ScriptedRunner, **more: Any) -> ModelSpec:
    return ModelSpec.model_validate(
        {
            "id": runner.models[0],
            "endpoint": runner.endpoint,
            "timeout_s": 10.0,
            "deadline_s": 20.0,
            **more,
        }
    )


@asynccontextmanager
async def client_of(
    *specs: ModelSpec, reasoning: Sequence[ModelSpec] = ()
) -> AsyncIterator[LocalLLMClient]:
    """A client for ``coding``; ``reasoning`` are the models that it falls back to."""
    models = {"coding": list(specs), "reasoning": list(reasoning)}
    roles = {
        "coding": Role("coding", "", "", (), ("reasoning",)),
        "reasoning": Role("reasoning", "", "", (), ("coding",)),
    }
    client = LocalLLMClient(Stack("test", Path("test.yaml"), "", models, roles, Settings()))
    try:
        yield client
    finally:
        await client.aclose()


async def ask(client: LocalLLMClient, **options: Any) -> str:
    return (await client.achat("coding", QUESTION, options=CallOptions(**options))).text


# --- cooldown -----------------------------------------------------------------------------------


async def test_a_model_that_keeps_failing_is_passed_over(
    first: ScriptedRunner, second: ScriptedRunner
) -> None:
    first.default = DOWN
    async with client_of(spec_of(first), spec_of(second)) as client:
        assert [await ask(client) for _ in range(5)] == ["from the second"] * 5
    assert len(first.calls) == health.FAILURES


async def test_one_silence_is_enough_to_be_passed_over(
    first: ScriptedRunner, second: ScriptedRunner
) -> None:
    first.default = HANG
    async with client_of(spec_of(first, timeout_s=0.3), spec_of(second)) as client:
        assert [await ask(client) for _ in range(4)] == ["from the second"] * 4
    assert len(first.calls) == 1


async def test_a_refused_request_is_not_held_against_the_model(
    first: ScriptedRunner, second: ScriptedRunner
) -> None:
    first.enqueue(*[ScriptedReply(fault=400)] * 4)
    async with client_of(spec_of(first), spec_of(second)) as client:
        assert [await ask(client) for _ in range(4)] == ["from the second"] * 4
        assert await ask(client) == "from the first"


async def test_after_its_rest_one_call_probes_it_and_the_others_go_elsewhere(
    first: ScriptedRunner, second: ScriptedRunner, short_rests: float
) -> None:
    first.default = DOWN
    async with client_of(spec_of(first), spec_of(second)) as client:
        await ask(client)
        first.default = ScriptedReply("from the first", delay_s=0.3)
        await asyncio.sleep(short_rests)
        replies = await asyncio.gather(*(ask(client) for _ in range(6)))
        assert sorted(replies) == ["from the first"] + ["from the second"] * 5
        assert await ask(client) == "from the first"


async def test_a_probe_that_fails_is_one_request_and_a_longer_rest(
    first: ScriptedRunner, second: ScriptedRunner, short_rests: float
) -> None:
    first.default = DOWN
    async with client_of(spec_of(first), spec_of(second)) as client:
        await ask(client)
        asked = len(first.calls)
        await asyncio.sleep(short_rests)
        assert await ask(client) == "from the second"
        assert len(first.calls) == asked + 1
        await asyncio.sleep(short_rests)
        assert await ask(client) == "from the second"
        assert len(first.calls) == asked + 1


async def test_a_model_alone_is_asked_though_it_should_rest(first: ScriptedRunner) -> None:
    first.enqueue(*[DOWN] * 4)
    async with client_of(spec_of(first)) as client:
        for _ in range(2):
            with pytest.raises(NoModelReachable):
                await ask(client)
        assert await ask(client) == "from the first"


async def test_when_all_should_rest_all_are_asked(
    first: ScriptedRunner, second: ScriptedRunner
) -> None:
    first.default = second.default = DOWN
    async with client_of(spec_of(first), spec_of(second)) as client:
        with pytest.raises(NoModelReachable):
            await ask(client)
        second.default = "up again"
        assert await ask(client) == "up again"


# --- servers that ask for time ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("api", "dialect"),
    [("chat_completions", "openai"), ("responses", "openai"), ("ollama", "ollama")],
)
async def test_retry_after_in_seconds_is_waited_for(api: str, dialect: Dialect) -> None:
    with ScriptedRunner(dialect=dialect) as runner:
        runner.enqueue(busy("1"), "at last")
        async with client_of(spec_of(runner, api=api)) as client:
            begun = time.monotonic()
            assert await ask(client) == "at last"
        assert 0.9 < time.monotonic() - begun < 9
        assert len(runner.calls) == 2


async def test_retry_after_as_a_date_is_waited_for(first: ScriptedRunner) -> None:
    def until(request: Request) -> ScriptedReply:
        at = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
        return busy(format_datetime(at, usegmt=True), status=503)

    first.enqueue(until)
    async with client_of(spec_of(first)) as client:
        begun = time.monotonic()
        assert await ask(client) == "from the first"
    assert 0.9 < time.monotonic() - begun < 9


async def test_a_short_wait_is_cheaper_than_another_model_a_long_one_is_not(
    first: ScriptedRunner, second: ScriptedRunner
) -> None:
    async with client_of(spec_of(first), spec_of(second)) as client:
        first.enqueue(busy("0.5"))
        assert await ask(client) == "from the first"
        first.enqueue(busy("30"))
        assert await ask(client) == "from the second"
        asked = len(first.calls)
        assert await ask(client) == "from the second"
        assert len(first.calls) == asked


async def test_a_wait_beyond_the_deadline_is_not_begun(first: ScriptedRunner) -> None:
    first.default = busy("30")
    async with client_of(spec_of(first, deadline_s=60, timeout_s=60)) as client:
        begun = time.monotonic()
        with pytest.raises(NoModelReachable, match="HTTP 429"):
            await ask(client, deadline=begun + 20)
    assert time.monotonic() - begun < 10
    assert len(first.calls) == 1


async def test_who_loads_is_passed_over_when_another_is_ready(
    first: ScriptedRunner, second: ScriptedRunner
) -> None:
    first.default = ScriptedReply(fault=503)
    async with client_of(spec_of(first, timeout_s=30), spec_of(second)) as client:
        begun = time.monotonic()
        assert await ask(client) == "from the second"
    assert time.monotonic() - begun < 10
    assert len(first.calls) == 1


async def test_who_loads_is_asked_again_when_nobody_else_is_left(
    first: ScriptedRunner, second: ScriptedRunner
) -> None:
    first.enqueue(*[ScriptedReply(fault=503)] * 3)
    second.default = ScriptedReply(fault=400)
    records: list[CallRecord] = []
    async with client_of(spec_of(first, timeout_s=10), spec_of(second)) as client:
        reply = await client.achat("coding", QUESTION, on_call=records.append)
    assert reply.text == "from the first"
    assert [record.model for record in records] == ["tiny", "other", "tiny", "tiny", "tiny"]
    assert [record.attempt for record in records] == [1, 2, 3, 4, 5]


# --- limits -------------------------------------------------------------------------------------


async def test_a_call_beyond_the_queue_goes_to_the_next_model_or_fails_at_once(
    first: ScriptedRunner, second: ScriptedRunner
) -> None:
    first.default = ScriptedReply("from the first", delay_s=0.6)
    full = spec_of(first, max_concurrency=1, max_queue=1)
    async with client_of(full, spec_of(second)) as client:
        replies = await asyncio.gather(*(ask(client) for _ in range(3)))
    assert replies == ["from the first", "from the first", "from the second"]
    async with client_of(full) as client:
        calls = [asyncio.create_task(ask(client)) for _ in range(2)]
        await asyncio.sleep(0.1)
        with pytest.raises(NoModelReachable, match=r"1 calls wait.*max_queue"):
            await ask(client)
        assert not any(call.done() for call in calls)
        assert await asyncio.gather(*calls) == ["from the first"] * 2
    assert first.most_at_once == 1


async def test_a_cancelled_call_frees_its_place(first: ScriptedRunner) -> None:
    first.enqueue(HANG)
    async with client_of(spec_of(first, max_concurrency=1, timeout_s=30)) as client:
        hanging = asyncio.create_task(ask(client))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(ask(client))
        await asyncio.sleep(0.1)
        assert len(first.calls) == 1
        hanging.cancel()
        assert await asyncio.wait_for(waiting, 2) == "from the first"


async def test_a_stream_that_is_left_frees_its_place(first: ScriptedRunner) -> None:
    first.enqueue(ScriptedReply("a b c d", chunk_delay_s=0.1))
    async with client_of(spec_of(first, max_concurrency=1)) as client:
        stream = client.astream("coding", QUESTION)
        await anext(stream)
        await stream.aclose()
        assert await asyncio.wait_for(ask(client), 2) == "from the first"


async def test_calls_beyond_the_rate_go_to_the_next_model(
    first: ScriptedRunner, second: ScriptedRunner
) -> None:
    async with client_of(spec_of(first, requests_per_minute=2), spec_of(second)) as client:
        replies = [await ask(client) for _ in range(4)]
    assert replies == ["from the first"] * 2 + ["from the second"] * 2


async def test_a_call_that_would_wait_for_its_minute_ends_at_its_deadline(
    first: ScriptedRunner,
) -> None:
    async with client_of(spec_of(first, requests_per_minute=1)) as client:
        await ask(client)
        with pytest.raises(NoModelReachable, match="time that was left"):
            await ask(client, deadline=time.monotonic() + 0.3)
    assert len(first.calls) == 1


# --- other roles' models ------------------------------------------------------------------------


async def test_another_roles_model_stands_in_and_says_so(
    first: ScriptedRunner, second: ScriptedRunner
) -> None:
    first.default = DOWN
    records: list[CallRecord] = []
    async with client_of(spec_of(first), reasoning=[spec_of(second)]) as client:
        reply = await client.achat("coding", QUESTION, on_call=records.append)
    assert reply.text == "from the second"
    assert (reply.response_metadata["role"], reply.response_metadata["model_name"]) == (
        "reasoning",
        "other",
    )
    assert [(r.role, r.model, r.status) for r in records] == [
        ("coding", "tiny", "error"),
        ("coding", "tiny", "error"),
        ("reasoning", "other", "ok"),
    ]


async def test_roles_that_fall_back_to_each_other_ask_every_model_twice_at_most(
    first: ScriptedRunner, second: ScriptedRunner
) -> None:
    first.default = second.default = DOWN
    both = [spec_of(first), spec_of(second)]
    async with client_of(both[0], reasoning=both) as client:
        with pytest.raises(NoModelReachable) as caught:
            await ask(client)
    assert (len(first.calls), len(second.calls)) == (2, 2)
    assert "tiny at" in str(caught.value)
    assert "other at" in str(caught.value)


async def test_a_mistake_in_the_stack_is_told_and_not_papered_over(
    first: ScriptedRunner, second: ScriptedRunner
) -> None:
    wrong = spec_of(first, id="misspelt")
    async with client_of(wrong, reasoning=[spec_of(second)]) as client:
        with pytest.raises(UnknownModel, match="misspelt"):
            await ask(client)
    assert second.calls == []


async def test_the_first_model_that_can_be_opened_is_made_ready(
    first: ScriptedRunner, second: ScriptedRunner
) -> None:
    wrong = spec_of(first, id="misspelt")
    async with client_of(wrong, spec_of(first)) as client:
        await client.prepare("coding")
        assert await ask(client) == "from the first"
    async with client_of(wrong, reasoning=[spec_of(second)]) as client:
        with pytest.raises(UnknownModel, match="misspelt"):
            await client.prepare("coding")
    assert second.requests == []


# --- one deadline, bounded attempts -------------------------------------------------------------


async def test_all_attempts_fit_into_the_deadline_of_the_call(
    first: ScriptedRunner, second: ScriptedRunner
) -> None:
    first.default = second.default = HANG
    async with client_of(
        spec_of(first, timeout_s=0.7, deadline_s=60), spec_of(second, timeout_s=60, deadline_s=60)
    ) as client:
        begun = time.monotonic()
        with pytest.raises(NoModelReachable, match="time that was left"):
            await ask(client, deadline=begun + 1.2)
    assert time.monotonic() - begun < 10
    assert (len(first.calls), len(second.calls)) == (1, 1)


async def test_a_call_whose_time_is_over_asks_nobody(first: ScriptedRunner) -> None:
    async with client_of(spec_of(first)) as client:
        with pytest.raises(NoModelReachable, match="time that was left"):
            await ask(client, deadline=time.monotonic() - 1)
    assert first.calls == []


async def test_waiting_for_a_place_ends_at_the_deadline(first: ScriptedRunner) -> None:
    first.enqueue(HANG)
    async with client_of(spec_of(first, max_concurrency=1, timeout_s=30)) as client:
        hanging = asyncio.create_task(ask(client))
        await asyncio.sleep(0.1)
        with pytest.raises(NoModelReachable, match="time that was left"):
            await ask(client, deadline=time.monotonic() + 0.2)
        hanging.cancel()


async def test_attempts_of_one_call_are_bounded_and_all_recorded(first: ScriptedRunner) -> None:
    first.default = busy("0.01")
    records: list[CallRecord] = []
    async with client_of(spec_of(first)) as client:
        with pytest.raises(NoModelReachable):
            await client.achat("coding", QUESTION, on_call=records.append)
    assert len(first.calls) == len(records) == MAX_ATTEMPTS


# --- earlier reasoning --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("api", "dialect", "field"),
    [("chat_completions", "openai", "reasoning_content"), ("ollama", "ollama", "thinking")],
)
@pytest.mark.parametrize("kept", [True, False])
async def test_reasoning_between_tool_calls_goes_back_only_to_who_wants_it(
    api: str, dialect: Dialect, field: str, kept: bool
) -> None:
    def said(thought: str) -> AIMessage:
        return AIMessage(f"({thought})", additional_kwargs={"reasoning_content": thought})

    call = said("now").model_copy(
        update={"tool_calls": [{"name": "clock", "args": {}, "id": "1", "type": "tool_call"}]}
    )
    conversation = [
        HumanMessage("earlier question"),
        said("earlier"),
        HumanMessage("question"),
        call,
        ToolMessage("noon", tool_call_id="1"),
    ]
    with ScriptedRunner(dialect=dialect) as runner:
        async with client_of(spec_of(runner, api=api, keep_reasoning=kept)) as client:
            await client.achat("coding", conversation)
        thoughts = [message.get(field) for message in runner.calls[0].messages]
    assert thoughts == [None, None, None, "now" if kept else None, None]


# --- broken streams, log-probabilities ----------------------------------------------------------


async def test_a_stream_begins_again_only_for_who_can_take_text_back(
    first: ScriptedRunner, second: ScriptedRunner
) -> None:
    first.default = CUT
    async with client_of(spec_of(first), spec_of(second)) as client:
        with pytest.raises(ModelCallFailed) as caught:
            _ = [chunk async for chunk in client.astream("coding", QUESTION)]
        assert caught.value.partial == "one two"
    async with client_of(spec_of(first), spec_of(second)) as client:
        options = CallOptions(begin_again=True)
        chunks = [c async for c in client.astream("coding", QUESTION, options=options)]
    marks = [i for i, c in enumerate(chunks) if "begins_again" in c.response_metadata]
    assert len(marks) == 1
    assert "".join(c.text for c in chunks[: marks[0]]) == "one two"
    assert "".join(c.text for c in chunks[marks[0] :]) == "from the second"


async def test_a_stream_that_begins_again_and_breaks_again_keeps_the_longest_text(
    first: ScriptedRunner, second: ScriptedRunner
) -> None:
    first.default = CUT
    second.default = ScriptedReply("x y", fault="cut_stream")
    async with client_of(spec_of(first), spec_of(second)) as client:
        options = CallOptions(begin_again=True)
        with pytest.raises(ModelCallFailed) as caught:
            _ = [c async for c in client.astream("coding", QUESTION, options=options)]
    assert caught.value.partial == "one two"
    assert (len(first.calls), len(second.calls)) == (1, 1)


async def test_one_model_that_gives_no_logprobs_does_not_cost_the_next_ones(
    first: ScriptedRunner, second: ScriptedRunner
) -> None:
    first.default = lambda request: ScriptedReply("x", fault=400 if request.top_logprobs else 500)
    async with client_of(spec_of(first), spec_of(second)) as client:
        options = CallOptions(logprobs=True)
        reply = await client.achat("coding", QUESTION, options=options)
    assert reply.text == "from the second"
    assert "mean_logprob" in reply.response_metadata
    assert [call.top_logprobs for call in first.calls] == [1, 0, 0]


async def test_a_request_refused_for_another_reason_is_not_taken_for_missing_logprobs(
    first: ScriptedRunner,
) -> None:
    first.enqueue(*[ScriptedReply(fault=400)] * 2)
    async with client_of(spec_of(first)) as client:
        options = CallOptions(logprobs=True)
        with pytest.raises(NoModelReachable):
            await client.achat("coding", QUESTION, options=options)
        reply = await client.achat("coding", QUESTION, options=options)
    assert "mean_logprob" in reply.response_metadata
