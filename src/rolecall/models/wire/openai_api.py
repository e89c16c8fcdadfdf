"""Chat completions, on langchain-openai, with what it drops carried along.

``ChatOpenAI`` does not extract ``reasoning_content`` (llama.cpp, vLLM, LM Studio, DeepSeek) or
``reasoning`` (Ollama, OpenRouter): here they arrive in ``additional_kwargs["reasoning_content"]``.
It loses tool calls that come without an index.
"""

from __future__ import annotations

import json
import ssl
from functools import cache
from typing import Any

import httpx
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from rolecall.config.schema import ModelSpec
from rolecall.models.endpoint import Address, open_http
from rolecall.models.wire import CallOptions, Wire

_REASONING_FIELDS = ("reasoning_content", "reasoning")


class ChatCompletionsWire(ChatOpenAI):
    """One model behind ``/v1/chat/completions``. Retries nothing by itself."""

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
        converted = super()._convert_chunk_to_generation_chunk(
            chunk, default_chunk_class, base_generation_info
        )
        if delta and converted is not None and isinstance(converted.message, AIMessageChunk):
            _carry_reasoning(delta, converted.message)
        return converted


def _carry_reasoning(source: dict[str, Any], message: AIMessageChunk) -> None:
    for field in _REASONING_FIELDS:
        text = source.get(field)
        if isinstance(text, str) and text:
            message.additional_kwargs["reasoning_content"] = text
            return


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

    def arguments(options: CallOptions) -> dict[str, Any]:
        # In extra_body: "max_tokens" is the name that every runner knows, langchain-openai would
        # rename it; and a response_format there streams like any other request.
        body: dict[str, Any] = {}
        if limit := options.max_tokens or sampling.max_tokens:
            body["max_tokens"] = limit
        if options.schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": options.schema},
            }
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
    return httpx.Client(trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


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
