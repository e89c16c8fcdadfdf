"""How many tokens a prompt is: estimated from its bytes, or counted by the runner's tokenizer.

The estimate takes 3 bytes of UTF-8 for a token (English text has 4 to 5, code and JSON 3 to 4,
Chinese about one character of 3 bytes), 8 tokens around each message and 1,024 for an image. Each
reply says how many tokens the prompt really was: from then on the model's own bytes per token
count, less a margin of 15 %.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import httpx
from langchain_core.messages import AIMessage, BaseMessage, convert_to_openai_messages

from rolecall.models.endpoint import Address, open_http
from rolecall.models.server_facts import LLAMA_CPP, VLLM

_BYTES_PER_TOKEN = 3.0
_LIKELY_BYTES_PER_TOKEN = 4.0
_LEAST, _MOST = 1.2, 5.5  # bytes per token that are believed
_MARGIN = 0.85
_WEIGHT_OF_NEW = 0.3
_LEARNT_FROM = 1500  # bytes; in a shorter prompt the chat template weighs too much
_PER_MESSAGE = 8
_PER_IMAGE = 1024
_PER_TOOLS = 100  # what chat templates say around tools
_TIMEOUT_S = 5.0  # for one count

Key = tuple[str, str]
"""An endpoint's root URL and a model's id."""


class Size(NamedTuple):
    """What tokens are estimated from; sizes add up with ``plus``."""

    bytes: int = 0
    messages: int = 0
    images: int = 0

    def plus(self, other: Size) -> Size:
        """Both together."""
        return Size(*(a + b for a, b in zip(self, other, strict=True)))


def size_of(message: BaseMessage) -> Size:
    """What one message adds to a prompt."""
    text, images = 0, 0
    for part in [message.content] if isinstance(message.content, str) else message.content:
        if isinstance(part, str):
            text += _bytes(part)
        elif isinstance(part.get("text"), str):
            text += _bytes(part["text"])
        elif part.get("type") in {"image", "image_url", "input_image"}:
            images += 1
        elif part.get("type") not in {"reasoning", "thinking", "tool_use"}:
            text += _bytes(json.dumps(part, default=str, ensure_ascii=False))
    if isinstance(message, AIMessage) and message.tool_calls:
        calls = [{"name": call["name"], "arguments": call["args"]} for call in message.tool_calls]
        text += _bytes(json.dumps(calls, default=str, ensure_ascii=False))
    return Size(text, 1, images)


def size_of_tools(tools: Sequence[dict[str, Any]]) -> Size:
    """What tools that are offered add to a prompt."""
    if not tools:
        return Size()
    written = _bytes(json.dumps(list(tools), default=str, ensure_ascii=False))
    return Size(written + int(_PER_TOOLS * _BYTES_PER_TOKEN))


def total(messages: Iterable[BaseMessage]) -> Size:
    """The size of messages together."""
    whole = Size()
    for message in messages:
        whole = whole.plus(size_of(message))
    return whole


class TokenEstimator:
    """Estimates, each model with the bytes per token that its replies have shown."""

    def __init__(self) -> None:
        self._learnt: dict[Key, float] = {}

    def at_most(self, key: Key, size: Size) -> int:
        """A number of tokens that ordinary text does not exceed."""
        learnt = self._learnt.get(key)
        return _tokens(size, _BYTES_PER_TOKEN if learnt is None else learnt * _MARGIN)

    def likely(self, key: Key, size: Size) -> int:
        """The most likely number of tokens."""
        return _tokens(size, self._learnt.get(key, _LIKELY_BYTES_PER_TOKEN))

    def knows(self, key: Key) -> bool:
        """Whether the model's replies have shown how long its tokens are."""
        return key in self._learnt

    def learn(self, key: Key, size: Size, tokens: int) -> None:
        """Take in what a prompt of this size really was."""
        text_tokens = tokens - _PER_MESSAGE * size.messages
        if size.images or size.bytes < _LEARNT_FROM or text_tokens <= 0:
            return
        seen = max(size.bytes / text_tokens, _LEAST)
        if seen > _MOST:
            return  # blanks, or tools that the chat template leaves out
        before = self._learnt.get(key, seen)
        # denser text than expected counts at once, lighter text by and by
        self._learnt[key] = min(seen, before + _WEIGHT_OF_NEW * (seen - before))


async def count_exactly(
    address: Address,
    runner: str | None,
    model: str,
    messages: list[BaseMessage],
    tools: Sequence[dict[str, Any]],
) -> int | None:
    """The tokens of a prompt by the runner's own template and tokenizer.

    llama.cpp: ``/v1/chat/completions/input_tokens``, in older versions ``/apply-template`` and
    ``/tokenize``; vLLM: ``/tokenize``. ``None`` for other runners, and when it does not work.
    """
    if runner not in {LLAMA_CPP, VLLM}:
        return None
    body: dict[str, Any] = {"model": model, "messages": convert_to_openai_messages(messages)}
    if tools:
        body["tools"] = list(tools)
    try:
        async with (
            asyncio.timeout(_TIMEOUT_S),
            open_http(_TIMEOUT_S, tls=address.tls) as client,
        ):
            client.headers.update(address.headers)
            client.base_url = httpx.URL(address.root)
            if runner == VLLM:
                return _count(await _post(client, "/tokenize", body), "count")
            counted = await _post(client, "/v1/chat/completions/input_tokens", body)
            if counted:
                return _count(counted, "input_tokens")
            prompt = (await _post(client, "/apply-template", body)).get("prompt")
            if not isinstance(prompt, str):
                return None
            text = {"model": model, "content": prompt, "add_special": True, "parse_special": True}
            tokens = (await _post(client, "/tokenize", text)).get("tokens")
            return len(tokens) if isinstance(tokens, list) else None
    except (httpx.HTTPError, OSError, ValueError):
        return None


async def _post(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    reply = await client.post(path, json=body)
    found = reply.json() if reply.status_code == httpx.codes.OK else {}
    return found if isinstance(found, dict) else {}


def _count(body: dict[str, Any], key: str) -> int | None:
    value = body.get(key)
    return value if isinstance(value, int) and value > 0 else None


def _tokens(size: Size, bytes_per_token: float) -> int:
    around = _PER_MESSAGE * size.messages + _PER_IMAGE * size.images
    return math.ceil(size.bytes / bytes_per_token) + around


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
