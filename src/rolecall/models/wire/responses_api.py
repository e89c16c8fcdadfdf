"""Responses, on langchain-openai; its stream is read here.

``ChatOpenAI`` drops the reasoning text of open models (``response.reasoning_text.delta``) and the
log-probabilities of a stream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI
from openai.types.responses import Response

from rolecall.config.schema import ModelSpec
from rolecall.models.answer_body import json_instead, told
from rolecall.models.endpoint import Address, open_http
from rolecall.models.failures import RunnerGaveUp
from rolecall.models.wire import CallOptions, Wire
from rolecall.models.wire.openai_api import settings, settle, tool_choice


class ResponsesWire(ChatOpenAI):
    """One model behind ``/v1/responses``. Retries nothing by itself."""

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        payload = self._get_request_payload(messages, stop=stop, **kwargs, stream=True)
        reader = _EventReader()
        async with await self.root_async_client.responses.create(**payload) as events:
            if (body := await json_instead(events.response)) is not None:
                if body.get("object") == "response":
                    yield reader.end(Response.construct(**body))
                return
            try:
                async for event in events:
                    chunk = reader.read(event)
                    if chunk is not None:
                        yield chunk
            except openai.APIError as error:
                if isinstance(error, openai.APIStatusError | openai.APIConnectionError):
                    raise
                raise told(error.body or error.message) from error


class _EventReader:
    """Reads the events of one response. Items that come without deltas are read at the end."""

    def __init__(self) -> None:
        self._streamed: set[str] = set()
        self._called: set[str] = set()

    def read(self, event: Any) -> ChatGenerationChunk | None:
        kind = str(event.type)
        if kind == "response.output_text.delta":
            self._streamed.add("message")
            scored = [entry.model_dump() for entry in getattr(event, "logprobs", None) or []]
            return _chunk(event.delta, info={"logprobs": scored} if scored else None)
        if kind.startswith("response.reasoning") and kind.endswith(".delta"):
            self._streamed.add("reasoning")
            return _chunk(reasoning=event.delta)
        if kind == "response.reasoning_summary_part.added" and event.summary_index:
            return _chunk(reasoning="\n\n")
        if kind == "response.refusal.delta":
            self._streamed.add("message")
            return _chunk(event.delta)
        if kind == "response.output_item.done" and event.item.type == "function_call":
            return self._call(event.item, event.output_index)
        if kind in {"response.completed", "response.incomplete"}:
            return self.end(event.response)
        if kind == "response.failed":
            error = event.response.error
            raise RunnerGaveUp(error.message if error else "it gives no reason")
        if kind == "error":
            raise RunnerGaveUp(str(event.message))
        return None

    def _call(self, item: Any, index: int) -> ChatGenerationChunk:
        self._called.add(str(item.id or item.call_id))
        call = tool_call_chunk(
            name=item.name, args=item.arguments, id=item.call_id or item.id, index=index
        )
        return ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[call]))

    def end(self, response: Any) -> ChatGenerationChunk:
        """The last event, or a whole response: what no delta has brought yet."""
        text, reasoning, calls = "", "", []
        for index, item in enumerate(response.output or []):
            if item.type == "function_call" and str(item.id or item.call_id) not in self._called:
                calls += self._call(item, index).message.tool_call_chunks  # type: ignore[attr-defined]
            elif item.type == "message" and "message" not in self._streamed:
                text += _text_of(item.content)
            elif item.type == "reasoning" and "reasoning" not in self._streamed:
                reasoning += _text_of(getattr(item, "content", None), item.summary)
        end = _chunk(text, reasoning, info={"finish_reason": _finish_reason(response)})
        end.message = end.message.model_copy(
            update={"usage_metadata": _usage(response), "tool_call_chunks": calls}
        )
        return end


def _chunk(
    text: str = "", reasoning: str = "", info: dict[str, Any] | None = None
) -> ChatGenerationChunk:
    extras = {"reasoning_content": reasoning} if reasoning else {}
    message = AIMessageChunk(content=text, additional_kwargs=extras)
    return ChatGenerationChunk(message=message, generation_info=info)


def _text_of(*parts: Any) -> str:
    texts = [
        getattr(part, "text", None) or getattr(part, "refusal", None)
        for group in parts
        for part in group or []
    ]
    return "\n\n".join(str(text) for text in texts if text)


def _finish_reason(response: Any) -> str:
    details = getattr(response, "incomplete_details", None)
    reason = getattr(details, "reason", None)
    return "length" if reason == "max_output_tokens" else str(reason or "stop")


def _usage(response: Any) -> UsageMetadata | None:
    usage = getattr(response, "usage", None)
    if usage is None:
        return None
    read, written = usage.input_tokens or 0, usage.output_tokens or 0
    return UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)


def open_responses(spec: ModelSpec, address: Address) -> Wire:
    """A model behind ``/v1/responses``; nothing is stored at the server."""
    sampling = spec.sampling
    http = open_http(spec.timeout_s, tls=address.tls)
    model = ResponsesWire(**settings(spec, address, http), use_responses_api=True, store=False)
    settle(model, http)

    def arguments(options: CallOptions) -> dict[str, Any]:
        call: dict[str, Any] = {}
        if limit := options.max_tokens or sampling.max_tokens:
            call["max_output_tokens"] = limit
        if options.schema is not None:
            call["text"] = {
                "format": {
                    "type": "json_schema",
                    "name": "answer",
                    "strict": True,
                    "schema": options.schema,
                }
            }
        elif options.json_object:
            call["text"] = {"format": {"type": "json_object"}}
        if options.tools:
            call["tools"] = [{"type": "function", **tool["function"]} for tool in options.tools]
            if options.tool_choice is not None:
                call["tool_choice"] = tool_choice(options.tool_choice)
        if options.temperature is not None:
            call["temperature"] = options.temperature
        if options.top_logprobs is not None or options.logprobs:
            call |= {
                "top_logprobs": options.top_logprobs or 1,
                "include": ["message.output_text.logprobs"],
            }
        # Not of OpenAI's API; local runners take them as they do in chat completions.
        more = {"seed": sampling.seed, "stop": list(options.stop) or sampling.stop}
        if body := {key: value for key, value in more.items() if value is not None}:
            call["extra_body"] = body
        return call

    return Wire("responses", model, arguments, http.aclose)
