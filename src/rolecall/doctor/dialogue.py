"""Bare requests in each wire API, and their replies: the server's own behaviour, unmended.

Sources: OpenAI's API reference (chat completions, responses), Ollama's ``docs/api.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rolecall.models.capabilities import WireApi

PATHS: dict[WireApi, str] = {
    "chat_completions": "/v1/chat/completions",
    "responses": "/v1/responses",
    "ollama": "/api/chat",
}
_REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")


@dataclass(frozen=True)
class Ask:
    """One question, whole answers wanted, no randomness."""

    text: str
    max_tokens: int
    schema: dict[str, Any] | None = None
    tools: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Said:
    """What came back.

    Attributes:
        reasoning_field: the place of the reasoning, if there was any.
        calls: the names of the tools called natively.
        load_s: how long the model took to load, where the runner tells (Ollama).
    """

    text: str = ""
    reasoning_field: str | None = None
    calls: tuple[str, ...] = ()
    input_tokens: int | None = None
    load_s: float | None = None


def request(api: WireApi, model: str, ask: Ask, context_length: int | None) -> dict[str, Any]:
    """The body of a request.

    Args:
        context_length: sent to Ollama's API, so that it does not load the model twice.
    """
    messages = [{"role": "user", "content": ask.text}]
    body: dict[str, Any] = {"model": model, "stream": False}
    if api == "ollama":
        options = {"temperature": 0.0, "num_predict": ask.max_tokens, "num_ctx": context_length}
        body |= {
            "messages": messages,
            "options": {k: v for k, v in options.items() if v is not None},
        }
        return body | {
            **({"format": ask.schema} if ask.schema else {}),
            **({"tools": list(ask.tools)} if ask.tools else {}),
        }
    body["temperature"] = 0.0
    named = {"name": "answer", "strict": True, "schema": ask.schema}
    if api == "responses":
        body |= {"input": messages, "max_output_tokens": ask.max_tokens, "store": False}
        return body | {
            **({"text": {"format": {"type": "json_schema", **named}}} if ask.schema else {}),
            **(
                {"tools": [{"type": "function", **tool["function"]} for tool in ask.tools]}
                if ask.tools
                else {}
            ),
        }
    body |= {"messages": messages, "max_tokens": ask.max_tokens}
    return body | {
        **(
            {"response_format": {"type": "json_schema", "json_schema": named}} if ask.schema else {}
        ),
        **({"tools": list(ask.tools)} if ask.tools else {}),
    }


def read(api: WireApi, body: Any) -> Said:
    """The reply in a body.

    Raises:
        ValueError: it is not of the API (some runners answer 200 to everything).
    """
    try:
        if api == "chat_completions":
            return _chat(body)
        return _responses(body) if api == "responses" else _ollama(body)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"not an answer of this API: {str(body)[:200]}") from error


def _chat(body: Mapping[str, Any]) -> Said:
    message = body["choices"][0]["message"]
    return Said(
        text=message.get("content") or "",
        reasoning_field=_reasoning(message),
        calls=tuple(str(c["function"]["name"]) for c in message.get("tool_calls") or ()),
        input_tokens=(body.get("usage") or {}).get("prompt_tokens"),
    )


def _responses(body: Mapping[str, Any]) -> Said:
    items = body["output"]
    parts = [p for item in items if item["type"] == "message" for p in item["content"]]
    return Said(
        text="".join(part.get("text") or "" for part in parts),
        reasoning_field="reasoning item" if any(i["type"] == "reasoning" for i in items) else None,
        calls=tuple(str(i["name"]) for i in items if i["type"] == "function_call"),
        input_tokens=(body.get("usage") or {}).get("input_tokens"),
    )


def _ollama(body: Mapping[str, Any]) -> Said:
    message = body["message"]
    return Said(
        text=message.get("content") or "",
        reasoning_field=_reasoning(message),
        calls=tuple(str(c["function"]["name"]) for c in message.get("tool_calls") or ()),
        input_tokens=body.get("prompt_eval_count"),
        load_s=(body.get("load_duration") or 0) / 1e9 or None,
    )


def _reasoning(message: Mapping[str, Any]) -> str | None:
    return next((name for name in _REASONING_FIELDS if message.get(name)), None)
