"""The Local LLM Client: models addressed by role, whatever runner serves them.

This is the one owner of time limits, retries and the order of fallbacks; wires and graph nodes
retry nothing by themselves, so attempts never multiply.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_messages

from rolecall import bridge
from rolecall.config.schema import EMBEDDED, ModelSpec, Stack
from rolecall.errors import (
    ModelCallFailed,
    NoModelReachable,
    RolecallError,
    UnknownModel,
    UnknownRole,
)
from rolecall.models.calls import CallRecord, OnCall
from rolecall.models.failures import explain
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
        stream = self.astream(role, messages, options=options, on_call=on_call, redactor=redactor)
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
    ) -> AsyncIterator[AIMessageChunk]:
        """:meth:`stream`, async."""
        prepared = [_without_reasoning(m) for m in convert_to_messages(cast("Any", messages))]
        failures: list[RolecallError] = []
        attempt = 0
        for spec in self._candidates(role):
            waited_from = time.monotonic()
            tries = 0
            while tries < _TRIES:
                tries += 1
                attempt += 1
                shown = False
                try:
                    async for chunk in self._attempt(
                        spec, role, attempt, prepared, options or CallOptions(), on_call, redactor
                    ):
                        shown = True
                        yield chunk
                    return
                except RolecallError as failure:
                    if shown:
                        raise
                    failures.append(failure)
                    if not (isinstance(failure, ModelCallFailed) and failure.retryable):
                        break
                    loading = failure.status == _LOADING
                    if loading and time.monotonic() - waited_from < spec.timeout_s:
                        tries = 0  # a server that loads its model is waited for
                    if tries < _TRIES:
                        await asyncio.sleep(_PAUSE_S)
        raise _none_left(role, failures)

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
        return _first_token_scores(reply, labels)

    async def prepare(self, role: str) -> None:
        """Open the first candidate of a role: pulls and starts an embedded model."""
        await self._pool.wire(self._candidates(role)[0])

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        await self._pool.close()

    def close(self) -> None:
        """Close the connections that synchronous calls opened."""
        bridge.run(self._pool.close())

    # --- one attempt ------------------------------------------------------------------------

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
    ) -> AsyncIterator[AIMessageChunk]:
        api = "chat_completions" if spec.api == "auto" else spec.api
        record = CallRecord(str(role), spec.id, spec.endpoint, api, attempt, time.time())
        builder = ReplyBuilder(_argument_schemas(options.tools), redactor)
        received: list[str] = []
        started = time.perf_counter()
        deadline = time.monotonic() + spec.deadline_s
        try:
            wire = await self._pool.wire(spec)
            async with self._pool.slot(spec):
                started = time.perf_counter()  # waiting for a place is not the model's time
                # Calling the wire's own _astream keeps it out of callbacks: only the role's
                # chat model is traced, so no token is reported twice.
                source = wire.model._astream(messages, **wire.arguments(options))
                try:
                    while True:
                        limit = min(spec.timeout_s, deadline - time.monotonic())
                        try:
                            async with asyncio.timeout(max(0.0, limit)):
                                generation = await anext(source)
                        except StopAsyncIteration:
                            break
                        shown = builder.feed(generation)
                        if record.ttft_ms is None and (shown or generation.text):
                            record.ttft_ms = _ms(started)
                        for chunk in shown:
                            received.append(str(chunk.content))
                            yield chunk
                finally:
                    await source.aclose()  # type: ignore[attr-defined]
            for chunk in builder.close():
                yield chunk
            record.status = "ok"
        except (asyncio.CancelledError, GeneratorExit):
            record.status, record.error = "cancelled", "cancelled by the caller"
            raise
        except Exception as error:
            failure = explain(error, spec, partial="".join(received))
            record.status, record.error = "error", str(failure)
            if spec.endpoint == EMBEDDED:
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


def _none_left(role: str, failures: list[RolecallError]) -> RolecallError:
    unique = list(dict.fromkeys(str(failure) for failure in failures))
    if len(unique) == 1 and not isinstance(failures[0], ModelCallFailed):
        return failures[0]
    if all(isinstance(failure, UnknownModel) for failure in failures):
        return UnknownModel("\n".join(unique))
    reasons = "\n".join(f"  - {line}" for line in unique)
    return NoModelReachable(
        f"no model could be reached for the role {role}:\n{reasons}\n"
        "rolecall stack check shows what the stack's endpoints offer."
    )


def _without_reasoning(message: BaseMessage) -> BaseMessage:
    """Old reasoning is not sent back: models are trained without it in their history."""
    if isinstance(message, AIMessage) and "reasoning_content" in message.additional_kwargs:
        kept = {k: v for k, v in message.additional_kwargs.items() if k != "reasoning_content"}
        return message.model_copy(update={"additional_kwargs": kept})
    return message


def _argument_schemas(tools: Sequence[dict[str, Any]]) -> dict[str, Mapping[str, Any]]:
    functions = [tool.get("function", tool) for tool in tools]
    return {str(f["name"]): f.get("parameters") or {} for f in functions if "name" in f}


def _first_token_scores(reply: AIMessage, labels: Sequence[str]) -> dict[str, float] | None:
    logprobs = reply.response_metadata.get("logprobs")
    entries = logprobs.get("content") if isinstance(logprobs, dict) else logprobs
    if not entries:
        return None
    first = entries[0]
    scores: dict[str, float] = {}
    for entry in [first, *(first.get("top_logprobs") or [])]:
        token = str(entry.get("token", "")).strip()
        if token in labels:
            scores[token] = max(scores.get(token, float("-inf")), float(entry["logprob"]))
    return scores or None


def _ms(since: float) -> float:
    return (time.perf_counter() - since) * 1000.0
