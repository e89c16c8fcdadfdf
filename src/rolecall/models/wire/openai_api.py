"""Chat completions and Responses, on langchain-openai, with what it drops carried along.

``ChatOpenAI`` does not extract ``reasoning_content`` (llama.cpp, vLLM, LM Studio, DeepSeek) or
``reasoning`` (Ollama, OpenRouter): here they arrive in ``additional_kwargs["reasoning_content"]``.
"""

from __future__ import annotations

from typing import Any

import httpx
import openai
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from rolecall.config.schema import ModelSpec
from rolecall.models.endpoint import Address, open_http
from rolecall.models.wire import CallOptions, Wire

_REASONING_FIELDS = ("reasoning_content", "reasoning")


class OpenAIWire(ChatOpenAI):
    """One model on one OpenAI-compatible server. Retries nothing by itself."""

    def _convert_chunk_to_generation_chunk(
        self,
        chunk: dict[str, Any],
        default_chunk_class: type,
        base_generation_info: dict[str, Any] | None,
    ) -> ChatGenerationChunk | None:
        converted = super()._convert_chunk_to_generation_chunk(
            chunk, default_chunk_class, base_generation_info
        )
        choices = chunk.get("choices")
        if converted is not None and choices and isinstance(converted.message, AIMessageChunk):
            _carry_reasoning(choices[0].get("delta") or {}, converted.message)
        return converted

    def _create_chat_result(
        self,
        response: dict[str, Any] | openai.BaseModel,
        generation_info: dict[str, Any] | None = None,
    ) -> ChatResult:
        result = super()._create_chat_result(response, generation_info)
        body = response if isinstance(response, dict) else response.model_dump(warnings=False)
        for choice, generation in zip(body["choices"], result.generations, strict=True):
            if isinstance(generation.message, AIMessage):
                _carry_reasoning(choice.get("message") or {}, generation.message)
        return result


def _carry_reasoning(source: dict[str, Any], message: AIMessage | AIMessageChunk) -> None:
    for field in _REASONING_FIELDS:
        text = source.get(field)
        if isinstance(text, str) and text:
            message.additional_kwargs["reasoning_content"] = text
            return


def open_chat_completions(spec: ModelSpec, address: Address) -> Wire:
    """A model behind ``/v1/chat/completions``."""
    sampling = spec.sampling
    http = open_http(spec.timeout_s, tls=address.tls)
    model = _open(spec, address, http, seed=sampling.seed, stop_sequences=sampling.stop)

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
                call["tool_choice"] = _tool_choice(options.tool_choice)
        if options.stop:
            call["stop"] = list(options.stop)
        if options.temperature is not None:
            call["temperature"] = options.temperature
        if options.top_logprobs is not None:
            call |= {"logprobs": True, "top_logprobs": options.top_logprobs}
        return call

    return Wire("chat_completions", model, arguments, http.aclose)


def open_responses(spec: ModelSpec, address: Address) -> Wire:
    """A model behind ``/v1/responses``; nothing is stored at the server."""
    sampling = spec.sampling
    http = open_http(spec.timeout_s, tls=address.tls)
    model = _open(spec, address, http, use_responses_api=True, store=False)

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
        if options.tools:
            call["tools"] = [{"type": "function", **tool["function"]} for tool in options.tools]
            if options.tool_choice is not None:
                call["tool_choice"] = _tool_choice(options.tool_choice)
        if options.temperature is not None:
            call["temperature"] = options.temperature
        if options.top_logprobs is not None:
            call |= {
                "top_logprobs": options.top_logprobs,
                "include": ["message.output_text.logprobs"],
            }
        return call

    return Wire("responses", model, arguments, http.aclose)


def _open(spec: ModelSpec, address: Address, http: httpx.AsyncClient, **more: Any) -> OpenAIWire:
    settings: dict[str, Any] = {"use_responses_api": False, **more}
    return OpenAIWire(
        model=spec.id,
        base_url=address.openai_base,
        api_key=SecretStr(address.api_key or "none"),
        stream_usage=True,
        max_retries=0,
        timeout=spec.timeout_s,
        stream_chunk_timeout=None,
        http_async_client=http,
        http_socket_options=(),
        temperature=spec.sampling.temperature,
        top_p=spec.sampling.top_p,
        **settings,
    )


def _tool_choice(choice: str) -> str | dict[str, Any]:
    if choice in {"auto", "none", "required"}:
        return choice
    return {"type": "function", "function": {"name": choice}}
