"""Makes responses with a client's models and keeps them.

Every wire gives the same, because all of them are called through the client's ``achat`` and
``astream``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from openai.types.responses import ResponseStreamEvent

from rolecall.errors import AnswerTruncated, AnswerUnfit, RolecallError
from rolecall.models.object_reading import Unfit, read_answer
from rolecall.models.reply import final
from rolecall.models.responses.events import Events
from rolecall.models.responses.items import (
    GivenItems,
    Item,
    message_item,
    new_id,
    output_items,
)
from rolecall.models.responses.request import Request, Wanted, request_from
from rolecall.models.responses.result import (
    Heard,
    Response,
    failure_fields,
    is_cut,
    outcome_fields,
    response_from,
)
from rolecall.models.responses.store import ResponseStore
from rolecall.models.structured import Outcome, obtain
from rolecall.models.target import schema_of

if TYPE_CHECKING:
    from rolecall.models.client import LocalLLMClient


class _CalledTools(Exception):
    """A model that was offered tools and a schema called a tool."""

    def __init__(self, reply: AIMessage) -> None:
        self.reply = reply


class Responder:
    """Makes and keeps responses.

    Args:
        client: calls the models.
        store: by default ``responses.db`` of this home.
    """

    def __init__(self, client: LocalLLMClient, store: ResponseStore | None = None) -> None:
        self._client = client
        self._store = store or ResponseStore()

    async def create(self, role: str, given: GivenItems, wanted: Wanted) -> Response:
        """One response; see ``LocalLLMClient.respond``."""
        request = await self._request(role, given, wanted)
        heard = Heard(request.on_call)
        try:
            outcome = await self._ask(role, request, heard)
        except RolecallError as error:
            if partial := getattr(error, "partial", ""):
                output = [message_item(new_id("msg"), partial, "incomplete")]
                await self._fail(error, request, heard, output)
            raise
        reply = _as_asked(outcome.raw, request)
        output = output_items(reply, complete=not is_cut(reply))
        if outcome.error is not None:
            await self._fail(outcome.error, request, heard, output)
            raise outcome.error
        values = request.head | heard.fields
        values |= outcome_fields(reply.response_metadata.get("finish_reason"), output)
        return await self._keep(request, values, outcome.parsed)

    async def stream(
        self, role: str, given: GivenItems, wanted: Wanted
    ) -> AsyncGenerator[ResponseStreamEvent, None]:
        """The events of one response; see ``LocalLLMClient.respond_stream``."""
        request = await self._request(role, given, wanted)
        heard = Heard(request.on_call)
        events = Events(request.head)
        for event in events.begin():
            yield event
        chunks: list[AIMessageChunk] = []
        source = self._client.astream(
            role,
            request.messages,
            options=request.options,
            on_call=heard,
            redactor=request.redactor,
        )
        try:
            async with aclosing(source):
                async for chunk in source:
                    chunks.append(chunk)
                    for event in events.of(chunk):
                        yield event
            reply = _as_asked(final(chunks), request)
            heard.used(reply.usage_metadata)
            parsed = _read(reply, request)
        except RolecallError as error:
            if items := events.partial_items():
                for event in events.items_end([], complete=False):
                    yield event
                yield events.end(await self._fail(error, request, heard, items))
            raise
        complete = not is_cut(reply)
        output = output_items(reply, complete=complete, ids=events.ids)
        calls = [item for item in output if item["type"] == "function_call"]
        for event in events.items_end(calls, complete=complete):
            yield event
        values = request.head | heard.fields
        values |= outcome_fields(reply.response_metadata.get("finish_reason"), output)
        await self._keep(request, values)
        yield events.end(values, parsed)

    async def get(self, response_id: str) -> Response:
        """A stored response."""
        return response_from(await self._store.get(response_id))

    async def delete(self, response_id: str) -> None:
        """Forget a stored response."""
        await self._store.delete(response_id)

    async def close(self) -> None:
        """Close the store; the next use opens it again."""
        await asyncio.to_thread(self._store.close)

    async def _request(self, role: str, given: GivenItems, wanted: Wanted) -> Request:
        previous = wanted.get("previous_response_id")
        needed = previous is not None or wanted.get("store", True)
        before = await self._store.conversation(previous) if needed else []
        return request_from(role, given, before, wanted)

    async def _ask(self, role: str, request: Request, heard: Heard) -> Outcome:
        async def call(messages: list[BaseMessage], schema: dict[str, Any] | None) -> AIMessage:
            reply = await self._client.achat(
                role,
                messages,
                options=replace(request.options, schema=schema),
                on_call=heard,
                redactor=request.redactor,
            )
            heard.used(reply.usage_metadata)
            return reply

        async def call_for_object(messages: list[BaseMessage], schema: dict[str, Any]) -> AIMessage:
            reply = await call(messages, schema)
            if reply.tool_calls:
                raise _CalledTools(reply)
            return reply

        if request.schema is None:
            return Outcome(await call(request.messages, None))
        try:
            return await obtain(call_for_object, request.messages, request.schema)
        except _CalledTools as called:
            return Outcome(called.reply)

    async def _keep(self, request: Request, values: dict[str, Any], parsed: Any = None) -> Response:
        response = response_from(values, parsed)
        if request.store:
            try:
                await self._store.save(values, request.given)
            except RolecallError as error:
                error.response = response  # an answer that cannot be kept is not lost
                raise
        return response

    async def _fail(
        self, error: RolecallError, request: Request, heard: Heard, output: list[Item]
    ) -> dict[str, Any]:
        """Keep what an answer had brought before it failed; the error holds it too."""
        values = request.head | heard.fields | failure_fields(error, output)
        try:
            error.response = await self._keep(request, values)
        except RolecallError as unkept:
            error.response = unkept.response
            error.add_note(str(unkept))
        return values


def _as_asked(reply: AIMessage, request: Request) -> AIMessage:
    """Without the calls after the first, when one was wanted: no runner can be told so."""
    if not request.one_call or len(reply.tool_calls) + len(reply.invalid_tool_calls) < 2:
        return reply
    update = {"tool_calls": reply.tool_calls[:1], "invalid_tool_calls": []}
    return reply.model_copy(
        update=update if reply.tool_calls else {"invalid_tool_calls": reply.invalid_tool_calls[:1]}
    )


def _read(reply: AIMessage, request: Request) -> Any:
    """The object of a streamed answer. What was shown cannot be asked for again."""
    if request.schema is None or reply.tool_calls:
        return None
    try:
        return read_answer(reply, request.schema, schema_of(request.schema))
    except Unfit as unfit:
        kind = AnswerTruncated if unfit.cut else AnswerUnfit
        what = "was cut off" if unfit.cut else "does not fit"
        who = reply.response_metadata.get("model_name", "the model")
        raise kind(
            f"{who}: its answer {what}: {unfit}. "
            "respond asks once more for an answer that does not fit; a stream cannot.",
            retryable=False,
            partial=reply.text,
        ) from unfit
