"""Chat completions, on langchain-openai, with what it drops carried along.

``ChatOpenAI`` does not extract ``reasoning_content`` (llama.cpp, vLLM, LM Studio, DeepSeek) or
``reasoning`` (Ollama, OpenRouter): here they arrive in ``additional_kwargs["reasoning_content"]``.
It loses tool calls that come without an index. Its stream is read here, because runners also send
an answer in one JSON object where a stream was asked for, an error inside of a stream, and, as
Foundry Local does, no finish reason before ``[DONE]``.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import cache
from typing import Any

import httpx
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI
from pydantic import PrivateAttr, SecretStr

from rolecall.config.schema import EMBEDDED, ModelSpec
from rolecall.models.answer_body import ended_as_announced, json_instead, told
from rolecall.models.endpoint import Address, open_http
from rolecall.models.event_stream import events, posted
from rolecall.models.failures import RunnerGaveUp
from rolecall.models.transport import no_certificates
from rolecall.models.wire import CallOptions, Wire

_REASONING_FIELDS = ("reasoning_content", "reasoning")


class ChatCompletionsWire(ChatOpenAI):
    """One model behind ``/v1/chat/completions``. Retries nothing by itself.

    ``ChatOpenAI`` puts messages into the API's words and takes chunks out of them. Between the
    two stands ``event_stream``: the SDK costs as much time as all the rest of a call.
    """

    _http: httpx.AsyncClient = PrivateAttr()
    _url: httpx.URL = PrivateAttr(default_factory=httpx.URL)
    _headers: dict[str, str] = PrivateAttr(default_factory=dict)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        payload = self._get_request_payload(messages, stop=stop, **kwargs, stream=True)
        _give_reasoning_back(messages, payload["messages"])
        payload["stream_options"] = {"include_usage": True}
        spoke = finished = False
        more = payload.pop("extra_body", None) or {}
        async with posted(self._http, self._url, {**payload, **more}, self._headers) as response:
            if (body := await json_instead(response)) is not None:
                for chunk in _as_stream(body):
                    if (generation := self._generation(chunk)) is not None:
                        yield generation
                return
            async with aclosing(events(response)) as arriving:
                async for event in arriving:
                    chunk = _chunk_in(event)
                    generation = self._generation(chunk)
                    for choice in chunk["choices"][:1]:
                        spoke = spoke or _says_something(choice["delta"])
                        finished = finished or bool(choice.get("finish_reason"))
                    if generation is not None:
                        yield generation
        if spoke and not finished and ended_as_announced(response):
            yield ChatGenerationChunk(
                message=AIMessageChunk(content=""), generation_info={"finish_reason": "stop"}
            )

    def _generation(self, chunk: dict[str, Any]) -> ChatGenerationChunk | None:
        if chunk.get("object") == "error":  # vLLM, before it wrapped its errors
            raise RunnerGaveUp(str(chunk.get("message") or "it gives no reason"))
        return self._convert_chunk_to_generation_chunk(chunk, AIMessageChunk, None)

    def _convert_chunk_to_generation_chunk(
        self,
        chunk: dict[str, Any],
        default_chunk_class: type,
        base_generation_info: dict[str, Any] | None,
    ) -> ChatGenerationChunk | None:
        choices = chunk.get("choices")
        delta = (choices[0].get("delta") if choices else None) or {}
        if calls := delta.get("tool_calls"):
            delta["tool_calls"] = [_with_every_key(call) for call in calls]
        if isinstance(delta.get("content"), list):
            _unfold(delta)
        converted = super()._convert_chunk_to_generation_chunk(
            chunk, default_chunk_class, base_generation_info
        )
        if delta and converted is not None and isinstance(converted.message, AIMessageChunk):
            _carry_reasoning(delta, converted.message)
        return converted


def _give_reasoning_back(messages: list[BaseMessage], payload: list[dict[str, Any]]) -> None:
    """Send the reasoning that is still in the history: it is there only for ``keep_reasoning``.

    gpt-oss takes what it thought before its last tool calls from this field (llama.cpp's harmony
    templates).
    """
    for message, sent in zip(messages, payload, strict=True):
        if reasoning := message.additional_kwargs.get("reasoning_content"):
            sent["reasoning_content"] = reasoning


def _chunk_in(event: object) -> dict[str, Any]:
    """A chunk with the keys that langchain-openai takes for granted.

    Raises:
        Exception: the event is an error, or nothing of the API.
    """
    if not isinstance(event, dict):
        raise TypeError("a chunk is not a JSON object")
    if error := event.get("error"):
        raise told(error)
    choices = event.get("choices") or []
    return {**event, "choices": [{**choice, "delta": choice.get("delta")} for choice in choices]}


def _as_stream(body: dict[str, Any]) -> list[dict[str, Any]]:
    """A whole answer as the chunks of a stream."""
    choices = [
        {**choice, "delta": choice.get("message") or choice.get("delta") or {}}
        for choice in body.get("choices") or []
    ]
    end = {**body, "choices": []}
    return [{**body, "usage": None, "choices": choices}, *([end] if body.get("usage") else [])]


def _says_something(delta: dict[str, Any] | None) -> bool:
    fields = ("content", "tool_calls", *_REASONING_FIELDS)
    return any((delta or {}).get(field) for field in fields)


def _carry_reasoning(source: dict[str, Any], message: AIMessageChunk) -> None:
    for field in _REASONING_FIELDS:
        text = source.get(field)
        if isinstance(text, str) and text:
            message.additional_kwargs["reasoning_content"] = text
            return


def _unfold(delta: dict[str, Any]) -> None:
    """Text and thoughts out of content that comes in parts, as Mistral's own servers send it."""
    parts = [part for part in delta["content"] if isinstance(part, dict)]
    thoughts = [
        one for part in parts if isinstance(part.get("thinking"), list) for one in part["thinking"]
    ]
    delta["content"] = "".join(str(part.get("text") or "") for part in parts)
    delta["reasoning"] = "".join(str(one.get("text") or "") for one in thoughts)


def _with_every_key(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function") or {}
    arguments = function.get("arguments")
    if isinstance(arguments, dict):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {
        **call,
        "index": call.get("index"),
        "function": {"name": function.get("name"), "arguments": arguments},
    }


def open_chat_completions(spec: ModelSpec, address: Address) -> Wire:
    """A model behind ``/v1/chat/completions``."""
    sampling = spec.sampling
    http = open_http(spec.timeout_s, tls=address.tls)
    model = ChatCompletionsWire(
        **settings(spec, address, http),
        use_responses_api=False,
        frequency_penalty=sampling.frequency_penalty,
        seed=sampling.seed,
        stop_sequences=sampling.stop,
    )
    settle(model, http)
    model._http = http
    model._url = httpx.URL(f"{address.openai_base}/chat/completions")  # read once
    model._headers = address.headers

    def arguments(options: CallOptions) -> dict[str, Any]:
        # In extra_body: "max_tokens" is the name that every runner knows, langchain-openai would
        # rename it; and a response_format there streams like any other request.
        body: dict[str, Any] = {}
        if limit := options.max_tokens or sampling.max_tokens:
            body["max_tokens"] = limit
        if spec.endpoint == EMBEDDED and sampling.seed is not None:
            body["cache_prompt"] = False  # with a warm cache llama.cpp may answer otherwise
        if options.schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": options.schema},
            }
        elif options.json_object:
            body["response_format"] = {"type": "json_object"}
        call: dict[str, Any] = {"extra_body": body} if body else {}
        if options.tools:
            call["tools"] = list(options.tools)
            if options.tool_choice is not None:
                call["tool_choice"] = tool_choice(options.tool_choice)
        if options.stop:
            call["stop"] = list(options.stop)
        if options.temperature is not None:
            call["temperature"] = options.temperature
        if options.top_logprobs is not None:
            call |= {"logprobs": True, "top_logprobs": options.top_logprobs}
        elif options.logprobs:
            call |= {"logprobs": True, "top_logprobs": 1}
        return call

    return Wire("chat_completions", model, arguments, http.aclose)


def settings(spec: ModelSpec, address: Address, http: httpx.AsyncClient) -> dict[str, Any]:
    """What both wires over langchain-openai are opened with."""
    return {
        "model": spec.id,
        "base_url": address.openai_base,
        "api_key": SecretStr(address.api_key or "none"),
        "openai_proxy": "",  # else OPENAI_PROXY is read
        "stream_usage": True,
        "max_retries": 0,
        "timeout": spec.timeout_s,
        "stream_chunk_timeout": None,
        "http_async_client": http,
        "http_client": _unused_client(),
        "http_socket_options": (),
        "temperature": spec.sampling.temperature,
        "top_p": spec.sampling.top_p,
    }


@cache
def _unused_client() -> httpx.Client:
    """ChatOpenAI wants a synchronous client too; its own would read the environment's proxies."""
    return httpx.Client(trust_env=False, verify=no_certificates())


def settle(model: ChatOpenAI, http: httpx.AsyncClient) -> None:
    """Take our time limits, and leave out the OpenAI account that the environment names."""
    model.root_async_client.timeout = http.timeout
    model.root_async_client.organization = None
    model.root_async_client.project = None


def tool_choice(choice: str) -> str | dict[str, Any]:
    """``auto``, ``none``, ``required``, else the function of that name."""
    if choice in {"auto", "none", "required"}:
        return choice
    return {"type": "function", "function": {"name": choice}}
