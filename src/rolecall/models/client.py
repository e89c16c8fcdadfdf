"""The Local LLM Client: models addressed by role, whatever runner serves them.

Here are the public ways to call. ``candidates`` owns the order of models and the retries,
``attempts`` one attempt at one model.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from functools import cached_property
from typing import TYPE_CHECKING, Unpack

from langchain_core.messages import AIMessage, AIMessageChunk

from rolecall import bridge
from rolecall.config.schema import Stack
from rolecall.models.attempts import Call
from rolecall.models.calls import OnCall
from rolecall.models.candidates import Candidates
from rolecall.models.labels import label_scores
from rolecall.models.outgoing import Messages, conversation
from rolecall.models.pool import ModelPool
from rolecall.models.reply import final
from rolecall.models.wire import CallOptions
from rolecall.progress import Progress

if TYPE_CHECKING:
    from openai.types.responses import ResponseStreamEvent

    from rolecall.models.responses.items import GivenItems
    from rolecall.models.responses.request import Wanted
    from rolecall.models.responses.responder import Responder
    from rolecall.models.responses.result import Response
    from rolecall.models.role_model import RoleChatModel
    from rolecall.models.text.redaction import Redactor


class LocalLLMClient:
    """Calls the models of a stack by role.

    Args:
        stack: a loaded stack (:func:`rolecall.load_stack`).
        progress: shows the pull and start of embedded models.
    """

    def __init__(self, stack: Stack, *, progress: Progress | None = None) -> None:
        self.stack = stack
        self._pool = ModelPool(stack, progress)
        self._candidates = Candidates(stack, self._pool)

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
            messages: a question, or LangChain messages, ``(role, text)`` or ``{"role": …,
                "content": …}``.
            options: tools, a JSON schema, limits for this call.
            on_call: told of every attempt, also the failed ones.

        Raises:
            BadInput: there is no message.
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

    # --- responses ---------------------------------------------------------------------------

    def respond(
        self,
        role: str,
        input: GivenItems,  # noqa: A002 - the API's word
        **wanted: Unpack[Wanted],
    ) -> Response:
        """Answer as the Responses API does, whatever the runner speaks.

        Args:
            role: as in :meth:`chat`.
            input: a text, or input items (``message``, ``reasoning``, ``function_call``,
                ``function_call_output``), also those of an earlier ``output``.
            wanted: see :class:`~rolecall.models.responses.request.Wanted`.

        Returns:
            OpenAI's ``Response``. It is stored, so that ``previous_response_id`` can continue it.

        Raises:
            BadInput: the request cannot be put to a local model; nothing was called.
            UnknownResponse: there is nothing stored under ``previous_response_id``.
            AnswerTruncated, AnswerUnfit: the answer does not fit ``text_format``.
            StateError: the response could not be stored.

        It raises as :meth:`chat` too. Where text had arrived, the error's ``response`` has it.
        """
        return bridge.run(self.arespond(role, input, **wanted))

    async def arespond(
        self,
        role: str,
        input: GivenItems,  # noqa: A002 - the API's word
        **wanted: Unpack[Wanted],
    ) -> Response:
        """:meth:`respond`, async."""
        return await self._responder.create(role, input, wanted)

    def respond_stream(
        self,
        role: str,
        input: GivenItems,  # noqa: A002 - the API's word
        **wanted: Unpack[Wanted],
    ) -> Iterator[ResponseStreamEvent]:
        """:meth:`respond` as the events of the Responses API.

        The last one is ``response.completed``, ``response.incomplete`` or, before an error is
        raised, ``response.failed``; it holds the whole response.
        """
        return bridge.iterate(self.arespond_stream(role, input, **wanted))

    async def arespond_stream(
        self,
        role: str,
        input: GivenItems,  # noqa: A002 - the API's word
        **wanted: Unpack[Wanted],
    ) -> AsyncGenerator[ResponseStreamEvent, None]:
        """:meth:`respond_stream`, async. Close it (``aclosing``) to end the call early."""
        async with aclosing(self._responder.stream(role, input, wanted)) as events:
            async for event in events:
                yield event

    def get_response(self, response_id: str) -> Response:
        """A stored response. Raises ``UnknownResponse``."""
        return bridge.run(self.aget_response(response_id))

    async def aget_response(self, response_id: str) -> Response:
        """:meth:`get_response`, async."""
        return await self._responder.get(response_id)

    def delete_response(self, response_id: str) -> None:
        """Forget a stored response; what continues it can then be read, but not continued.

        Raises ``UnknownResponse``.
        """
        bridge.run(self.adelete_response(response_id))

    async def adelete_response(self, response_id: str) -> None:
        """:meth:`delete_response`, async."""
        await self._responder.delete(response_id)

    @cached_property
    def _responder(self) -> Responder:
        from rolecall.models.responses.responder import Responder

        return Responder(self)

    # --- other views on the same models ----------------------------------------------------

    def chat_model(
        self, role: str, *, on_call: OnCall | None = None, redactor: Redactor | None = None
    ) -> RoleChatModel:
        """A LangChain chat model that calls this role; binds tools, streams, is traced."""
        from rolecall.models.role_model import RoleChatModel

        self._candidates.of(role)
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
        """Open the first candidate of a role that can be: pulls and starts an embedded model.

        Raises:
            UnknownRole: the stack has no such role.
            RolecallError: none can be opened.
        """
        await self._candidates.open_first(str(role))

    async def aclose(self) -> None:
        """Close this event loop's connections, and the store of responses."""
        await self._pool.close()
        if "_responder" in self.__dict__:
            await self._responder.close()

    def close(self) -> None:
        """Close the connections that synchronous calls opened, and the store of responses."""
        bridge.run(self.aclose())

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
        given = conversation(messages)
        call = Call(str(role), given, options or CallOptions(), on_call, redactor)
        async with aclosing(self._candidates.answer(call, whole=whole)) as chunks:
            async for chunk in chunks:
                yield chunk
