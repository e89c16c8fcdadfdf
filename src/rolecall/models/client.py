"""The Local LLM Client: models addressed by role, whatever runner serves them.

This is the one owner of time limits, retries and the order of fallbacks; wires and graph nodes
retry nothing by themselves, so attempts never multiply.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    convert_to_messages,
)
from langchain_core.outputs import ChatGenerationChunk

from rolecall import bridge
from rolecall.config.schema import EMBEDDED, ModelSpec, Stack
from rolecall.errors import (
    ModelCallFailed,
    RolecallError,
    UnknownRole,
)
from rolecall.models.calls import CallRecord, OnCall
from rolecall.models.deadline import timed
from rolecall.models.failures import StreamBroken, explain, is_gone, none_left, refuses
from rolecall.models.labels import label_scores
from rolecall.models.outgoing import argument_schemas, heard, without_reasoning
from rolecall.models.pool import ModelPool
from rolecall.models.reply import ReplyBuilder, final
from rolecall.models.wire import CallOptions
from rolecall.progress import Progress

if TYPE_CHECKING:
    from rolecall.models.role_model import RoleChatModel
    from rolecall.models.text.redaction import Redactor

Messages = Sequence[BaseMessage | Mapping[str, Any] | tuple[str, str] | str]

_TRIES = 2
_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 2.0
_LOADING = 503


class LocalLLMClient:
    """Calls the models of a stack by role.

    Args:
        stack: a loaded stack (:func:`rolecall.load_stack`).
        progress: shows the pull and start of embedded models.
    """

    def __init__(self, stack: Stack, *, progress: Progress | None = None) -> None:
        self.stack = stack
        self._pool = ModelPool(stack, progress)
        self._unscored: set[tuple[str, str]] = set()  # they refuse to give log-probabilities

    # --- the four ways to call -------------------------------------------------------------

    def chat(
        self,
        role: str,
        messages: Messages,
        *,
        options: CallOptions | None = None,
        on_call: OnCall | None = None,
    ) -> AIMessage:
        """Call the model of a role and wait for its whole reply.

        Args:
            role: ``router``, ``reasoning``, ``coding`` or a role of the stack's own.
            messages: LangChain messages or ``{"role": …, "content": …}`` dicts.
            options: tools, a JSON schema, limits for this call.
            on_call: told of every attempt, also the failed ones.

        Raises:
            UnknownRole: the stack has no such role.
            NoModelReachable: every candidate failed; the message lists why.
            ModelCallFailed: the call broke after text had arrived.
        """
        return bridge.run(self.achat(role, messages, options=options, on_call=on_call))

    async def achat(
        self,
        role: str,
        messages: Messages,
        *,
        options: CallOptions | None = None,
        on_call: OnCall | None = None,
        redactor: Redactor | None = None,
    ) -> AIMessage:
        """:meth:`chat`, async."""
        stream = self._stream(role, messages, options, on_call, redactor, whole=True)
        async with aclosing(stream):
            return final([chunk async for chunk in stream])

    def stream(
        self,
        role: str,
        messages: Messages,
        *,
        options: CallOptions | None = None,
        on_call: OnCall | None = None,
    ) -> Iterator[AIMessageChunk]:
        """Call the model of a role and yield its reply as it comes.

        The last chunk holds tool calls, usage and the finish reason. Raises as :meth:`chat`.
        """
        return bridge.iterate(self.astream(role, messages, options=options, on_call=on_call))

    async def astream(
        self,
        role: str,
        messages: Messages,
        *,
        options: CallOptions | None = None,
        on_call: OnCall | None = None,
        redactor: Redactor | None = None,
    ) -> AsyncGenerator[AIMessageChunk, None]:
        """:meth:`stream`, async. Close it (``aclosing``) to end the call early."""
        stream = self._stream(role, messages, options, on_call, redactor, whole=False)
        async with aclosing(stream):
            async for chunk in stream:
                yield chunk

    # --- other views on the same models ----------------------------------------------------

    def chat_model(
        self, role: str, *, on_call: OnCall | None = None, redactor: Redactor | None = None
    ) -> RoleChatModel:
        """A LangChain chat model that calls this role; binds tools, streams, is traced."""
        from rolecall.models.role_model import RoleChatModel

        self._candidates(role)
        return RoleChatModel(client=self, role=str(role), on_call=on_call, redactor=redactor)

    async def label_logprobs(
        self,
        role: str,
        messages: Messages,
        labels: Sequence[str],
        *,
        on_call: OnCall | None = None,
    ) -> dict[str, float] | None:
        """Score one-token labels by the log-probability of being the reply's first token.

        Returns:
            Natural-log probabilities by label; ``None`` when the runner gives none, or when none
            of the labels is among the most likely tokens.
        """
        options = CallOptions(max_tokens=1, temperature=0.0, top_logprobs=20)
        reply = await self.achat(role, messages, options=options, on_call=on_call)
        return label_scores(reply, labels)

    async def prepare(self, role: str) -> None:
        """Open the first candidate of a role: pulls and starts an embedded model."""
        await self._pool.wire(self._candidates(role)[0])

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        await self._pool.close()

    def close(self) -> None:
        """Close the connections that synchronous calls opened."""
        bridge.run(self._pool.close())

    # --- candidates and attempts ------------------------------------------------------------

    async def _stream(
        self,
        role: str,
        messages: Messages,
        options: CallOptions | None,
        on_call: OnCall | None,
        redactor: Redactor | None,
        *,
        whole: bool,
    ) -> AsyncGenerator[AIMessageChunk, None]:
        """Try the candidates in order.

        A stream that broke after text was shown cannot begin again; a ``whole`` reply shows
        nothing until it is complete, so it can.
        """
        prepared = [without_reasoning(m) for m in convert_to_messages(cast("Any", messages))]
        options = options or CallOptions()
        failures: list[RolecallError] = []
        attempt = 0
        for spec in self._pool.spread(self._candidates(role)):
            waited_from = time.monotonic()
            pause = _PAUSE_S
            tries = 0
            if _key(spec) in self._unscored:
                options = replace(options, logprobs=False)
            while tries < _TRIES:
                tries += 1
                attempt += 1
                shown = False
                complete: list[AIMessageChunk] = []
                chunks = self._attempt(spec, role, attempt, prepared, options, on_call, redactor)
                try:
                    with self._pool.counted(spec):
                        async with aclosing(chunks):
                            async for chunk in chunks:
                                if whole:
                                    complete.append(chunk)
                                    continue
                                shown = True
                                yield chunk
                    for chunk in complete:
                        yield chunk
                    return
                except RolecallError as failure:
                    if shown:
                        raise
                    if options.logprobs and refuses(failure):
                        self._unscored.add(_key(spec))
                        options = replace(options, logprobs=False)
                        tries -= 1
                        continue
                    failures.append(failure)
                    if not (isinstance(failure, ModelCallFailed) and failure.retryable):
                        break
                    loading = failure.status == _LOADING
                    if loading and time.monotonic() - waited_from < spec.timeout_s:
                        tries = 0  # a server that loads its model is waited for
                    if tries < _TRIES:
                        await asyncio.sleep(pause)
                        pause = min(2 * pause, _LONGEST_PAUSE_S)
        raise none_left(role, failures)

    def _candidates(self, role: str) -> list[ModelSpec]:
        candidates = self.stack.models.get(str(role))
        if not candidates:
            raise UnknownRole(
                f"stack {self.stack.name} has no model for the role {str(role)!r}; "
                f"it has {', '.join(self.stack.models)}"
            )
        return candidates

    async def _attempt(
        self,
        spec: ModelSpec,
        role: str,
        attempt: int,
        messages: list[BaseMessage],
        options: CallOptions,
        on_call: OnCall | None,
        redactor: Redactor | None,
    ) -> AsyncGenerator[AIMessageChunk, None]:
        api = "chat_completions" if spec.api == "auto" else spec.api
        record = CallRecord(str(role), spec.id, spec.endpoint, api, attempt, time.time())
        builder = ReplyBuilder(argument_schemas(options.tools), redactor, heard(messages))
        received: list[str] = []
        started = time.perf_counter()
        arrived = False
        try:
            wire = await self._pool.wire(spec)
            async with self._pool.slot(spec):
                started = time.perf_counter()  # waiting for a place is not the model's time
                # Calling the wire's own _astream keeps it out of callbacks: only the role's
                # chat model is traced, so no token is reported twice.
                source = cast(
                    "AsyncGenerator[ChatGenerationChunk, None]",
                    wire.model._astream(messages, **wire.arguments(options)),
                )
                async with aclosing(source):
                    async for generation in timed(source, spec.timeout_s, spec.deadline_s):
                        arrived = True
                        shown = builder.feed(generation)
                        if record.ttft_ms is None and (shown or generation.text):
                            record.ttft_ms = _ms(started)
                        for chunk in shown:
                            received.append(str(chunk.content))
                            yield chunk
            if not builder.complete:
                raise StreamBroken("" if arrived else ": nothing in it is of the API")
            for chunk in builder.close():
                if chunk.chunk_position == "last":
                    chunk.response_metadata["model_name"] = spec.id
                yield chunk
            record.status = "ok"
        except (asyncio.CancelledError, GeneratorExit):
            record.status, record.error = "cancelled", "cancelled by the caller"
            raise
        except Exception as error:
            failure = explain(error, spec, partial="".join(received))
            record.status, record.error = "error", str(failure)
            if spec.endpoint == EMBEDDED and is_gone(failure):
                await self._pool.forget(spec)
            raise failure from error
        finally:
            record.latency_ms = _ms(started)
            record.finish_reason = builder.finish_reason
            if builder.usage is not None:
                record.input_tokens = builder.usage["input_tokens"]
                record.output_tokens = builder.usage["output_tokens"]
            if on_call is not None:
                on_call(record)


def _key(spec: ModelSpec) -> tuple[str, str]:
    return spec.id, spec.endpoint


def _ms(since: float) -> float:
    return (time.perf_counter() - since) * 1000.0
