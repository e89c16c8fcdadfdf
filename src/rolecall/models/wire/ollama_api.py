"""Ollama's native API, on langchain-ollama: it takes the context length, which ``/v1`` cannot."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, cast

from langchain_core.messages import BaseMessage
from langchain_ollama import ChatOllama
from ollama import AsyncClient, ChatResponse, ResponseError
from pydantic import model_validator

from rolecall.config.schema import ModelSpec
from rolecall.models.endpoint import Address, http_settings
from rolecall.models.failures import RunnerGaveUp
from rolecall.models.text.loose_json import read_value
from rolecall.models.transport import no_certificates
from rolecall.models.wire import CallOptions, Wire


class _PlainClient(AsyncClient):
    """Asks for an error where Ollama would cut a conversation and say nothing.

    By default it drops the front of a prompt that is too long (``truncate``), and that of what
    stands in a full context while it writes (``shift``). Its client library knows neither.
    """

    async def _request(self, cls: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(kwargs.get("json"), dict):
            kwargs["json"] |= {"truncate": False, "shift": False}
        kind = _Response if cls is ChatResponse else cls
        return await super()._request(kind, *args, **kwargs)


class _Response(ChatResponse):
    """Also takes arguments that a server wrote as a JSON text, as OpenAI's API has them."""

    @model_validator(mode="before")
    @classmethod
    def _with_objects(cls, data: Any) -> Any:
        message = data.get("message") if isinstance(data, dict) else None
        for call in (message.get("tool_calls") if isinstance(message, dict) else None) or ():
            function = call.get("function") if isinstance(call, dict) else None
            written = function.get("arguments") if isinstance(function, dict) else None
            found = read_value(written.strip()) if isinstance(written, str) else None
            if isinstance(function, dict) and found is not None and isinstance(found[0], dict):
                function["arguments"] = found[0]
        return data


class OllamaWire(ChatOllama):
    """One model on one Ollama server."""

    def _chat_params(
        self, messages: list[BaseMessage], stop: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        # reasoning=True makes ChatOllama keep the thinking field; sending think=true would be
        # refused by models that cannot think, so the model's own default is left in force.
        params = super()._chat_params(messages, stop, **kwargs)
        params["think"] = None
        return params

    async def _acreate_chat_stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, **kwargs: Any
    ) -> AsyncIterator[Mapping[str, Any] | str]:
        call = self._async_client.chat(**self._chat_params(messages, stop, **kwargs))
        parts = cast("AsyncGenerator[ChatResponse, None]", await call)
        async with aclosing(parts):
            try:
                async for part in parts:
                    part.message.content = part.message.content or ""  # null is no text
                    yield cast("Mapping[str, Any]", part)
            except ResponseError as error:
                if error.status_code < 0:  # a line of the stream, not an HTTP status
                    raise RunnerGaveUp(str(error.error)) from error
                raise


def open_ollama(spec: ModelSpec, address: Address) -> Wire:
    """A model on an Ollama server, its context length set natively."""
    sampling = spec.sampling
    http = {**http_settings(spec.timeout_s, tls=address.tls), "headers": address.headers}
    unused = {"trust_env": False, "verify": no_certificates()}  # it opens clients of its own
    model = OllamaWire(model=spec.id, base_url=address.root, reasoning=True, client_kwargs=unused)
    model._async_client = _PlainClient(host=address.root, **http)
    if address.api_key is None:  # else OLLAMA_API_KEY, meant for ollama.com, is sent along
        model._async_client._client.headers.pop("Authorization", None)

    def arguments(options: CallOptions) -> dict[str, Any]:
        # num_ctx goes with every call, always the same: Ollama reloads the model when it changes
        wanted = {
            "num_ctx": options.context_length or spec.context_length,
            "num_predict": options.max_tokens or sampling.max_tokens,
            "temperature": sampling.temperature
            if options.temperature is None
            else options.temperature,
            "top_p": sampling.top_p,
            "frequency_penalty": sampling.frequency_penalty,
            "seed": sampling.seed,
            "stop": list(options.stop) or sampling.stop,
        }
        call: dict[str, Any] = {
            "options": {key: value for key, value in wanted.items() if value is not None}
        }
        if options.tools and options.tool_choice != "none":  # it knows no tool_choice
            call["tools"] = list(options.tools)
        if options.schema is not None:
            call["format"] = options.schema
        elif options.json_object:
            call["format"] = "json"
        if options.top_logprobs is not None:
            call |= {"logprobs": True, "top_logprobs": options.top_logprobs}
        elif options.logprobs:
            call["logprobs"] = True
        return call

    async def close() -> None:
        await model._async_client._client.aclose()
        model._client._client.close()

    return Wire("ollama", model, arguments, close)
