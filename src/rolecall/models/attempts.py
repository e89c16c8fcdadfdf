"""One attempt: one model asked once, its reply built as it comes, its outcome recorded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk

from rolecall.config.schema import EMBEDDED, ModelSpec
from rolecall.errors import ModelCallFailed
from rolecall.models.calls import CallRecord, OnCall
from rolecall.models.context_report import Prompt
from rolecall.models.deadline import in_time, limit_of, timed
from rolecall.models.failures import StreamBroken, explain, is_gone
from rolecall.models.limits import Limits
from rolecall.models.outgoing import argument_schemas, heard, history
from rolecall.models.pool import ModelPool
from rolecall.models.reply import ReplyBuilder
from rolecall.models.schema_modes import SchemaPlan
from rolecall.models.wire import CallOptions

if TYPE_CHECKING:
    from rolecall.models.text.redaction import Redactor


class Candidate(NamedTuple):
    """A model that may answer, and the role that it stands under in the stack."""

    role: str
    spec: ModelSpec


@dataclass(frozen=True)
class Call:
    """What a caller wants, whichever model answers."""

    role: str
    messages: list[BaseMessage]
    options: CallOptions
    on_call: OnCall | None = None
    redactor: Redactor | None = None


async def attempt(
    pool: ModelPool, call: Call, candidate: Candidate, number: int
) -> AsyncGenerator[AIMessageChunk, None]:
    """Ask one model once and yield its reply as it comes.

    Args:
        pool: opens the model, holds its places.
        number: counts the attempts of the call, from 1.

    Raises:
        RolecallError: what failed; of a broken answer it holds the text that had come.
    """
    spec, options = candidate.spec, call.options
    api = "chat_completions" if spec.api == "auto" else spec.api
    record = CallRecord(candidate.role, spec.id, spec.endpoint, api, number, time.time())
    builder = ReplyBuilder(argument_schemas(options.tools), call.redactor, heard(call.messages))
    metadata: dict[str, Any] = {"model_name": spec.id, "role": candidate.role}
    received: list[str] = []
    started = time.perf_counter()
    arrived = False
    prompt: Prompt | None = None
    plan: SchemaPlan | None = None
    try:
        messages = history(call.messages, spec)
        async with in_time(options.deadline):
            wire = await pool.wire(spec)
            plan = pool.schemas.plan(spec, wire, options)
            if plan is not None:
                options, messages = plan.options, plan.messages(messages)
                if plan.way.api != wire.api:
                    wire = await pool.wire(spec.model_copy(update={"api": plan.way.api}))
            prompt = await pool.context.prepare(wire, spec, messages, options)
        record.api = wire.api
        async with _place(pool.limits(spec), options.deadline):
            started = time.perf_counter()  # waiting for a place is not the model's time
            limit = limit_of(spec, options.deadline)
            # Calling the wire's own _astream keeps it out of callbacks: only the role's
            # chat model is traced, so no token is reported twice.
            source = cast(
                "AsyncGenerator[ChatGenerationChunk, None]",
                wire.model._astream(prompt.messages, **wire.arguments(prompt.options)),
            )
            async with aclosing(source):
                async for generation in timed(source, spec.timeout_s, limit):
                    arrived = True
                    shown = builder.feed(generation)
                    if record.ttft_ms is None and (shown or generation.text):
                        record.ttft_ms = _ms(started)
                    for chunk in shown:
                        received.append(str(chunk.content))
                        yield chunk
        if not builder.complete:
            raise StreamBroken("" if arrived else ": nothing in it is of the API")
        closing = builder.close()
        if plan is not None and not options.tools:
            text = "".join([*received, *(str(chunk.content) for chunk in closing)])
            pool.schemas.judge(plan, text, builder.finish_reason)
        for chunk in closing:
            if chunk.chunk_position == "last":
                metadata["context"] = await pool.context.check(prompt, builder.usage)
                chunk.response_metadata.update(metadata)
            yield chunk
        record.status = "ok"
    except (asyncio.CancelledError, GeneratorExit):
        record.status, record.error = "cancelled", "cancelled by the caller"
        raise
    except Exception as error:
        failure = explain(error, spec, partial="".join(received))
        if isinstance(failure, ModelCallFailed) and prompt is not None:
            failure.too_long = pool.context.refused(prompt, failure)
        if isinstance(failure, ModelCallFailed) and plan is not None:
            failure.another_way = pool.schemas.refused(plan, failure)
        record.status, record.error = "error", str(failure)
        if spec.endpoint == EMBEDDED and is_gone(failure):
            pool.forget(spec)
        raise failure from error
    finally:
        record.latency_ms = _ms(started)
        record.finish_reason = builder.finish_reason
        if builder.usage is not None:
            record.input_tokens = builder.usage["input_tokens"]
            record.output_tokens = builder.usage["output_tokens"]
        if call.on_call is not None:
            call.on_call(record)


@asynccontextmanager
async def _place(limits: Limits, deadline: float | None) -> AsyncIterator[None]:
    async with in_time(deadline):
        await limits.take()
    try:
        yield
    finally:
        limits.give_back()


def _ms(since: float) -> float:
    return (time.perf_counter() - since) * 1000.0
