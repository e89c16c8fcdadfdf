"""``/v1/chat/completions`` as llama.cpp, vLLM and LM Studio answer it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rolecall.models.scripted.events import (
    Event,
    arguments_text,
    encode,
    new_id,
    now,
    server_sent,
)
from rolecall.models.scripted.script import Request, ScriptedReply, tokens_of, top_tokens


def whole(reply: ScriptedReply, request: Request) -> bytes:
    """The answer in one JSON object."""
    fault = reply.failing.kind if reply.failing else None
    message: dict[str, Any] = {"role": "assistant", "content": reply.said}
    if fault == "null_content" or (reply.tool_calls and not reply.said):
        message["content"] = None
    if reply.reasoning:
        message[reply.reasoning_field] = reply.reasoning
    if reply.tool_calls:
        message["tool_calls"] = _calls(reply)
    choice: dict[str, Any] = {"index": 0, "finish_reason": reply.finish, "message": message}
    if request.top_logprobs:
        choice["logprobs"] = {
            "content": [
                top_tokens(reply, request, word, first=index == 0)
                for index, word in enumerate(reply.words)
            ]
        }
    body = _head(request, "chat.completion")
    body["choices"] = [] if fault == "empty_choices" else [choice]
    if fault != "usage_missing":
        body["usage"] = _usage(reply, request)
    return encode(body)


def stream(reply: ScriptedReply, request: Request) -> Iterator[Event]:
    """The answer as server-sent events, ``[DONE]`` at the end."""
    fault = reply.failing.kind if reply.failing else None
    head = _head(request, "chat.completion.chunk")

    def chunk(delta: dict[str, Any], finish: str | None = None, scored: Any = None) -> Event:
        choice = {"index": 0, "finish_reason": finish, "delta": delta}
        if scored:
            choice["logprobs"] = {"content": [scored]}
        choices = [] if fault == "empty_choices" else [choice]
        return server_sent({**head, "choices": choices}, token=bool(delta) and "role" not in delta)

    yield chunk({"role": "assistant", "content": None})
    for thought in reply.thoughts:
        yield chunk({reply.reasoning_field: thought})
    for index, word in enumerate([] if fault == "null_content" else reply.words):
        scored = top_tokens(reply, request, word, first=index == 0)
        yield chunk({"content": word}, scored=scored)
    for index, call in enumerate(_calls(reply)):
        function = call["function"]
        start = {**call, "index": index, "function": {"name": function["name"], "arguments": ""}}
        yield chunk({"tool_calls": [start]})
        for part in _halves(function["arguments"]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
    yield chunk({}, reply.finish)
    if (request.body.get("stream_options") or {}).get("include_usage") and fault != "usage_missing":
        yield server_sent({**head, "choices": [], "usage": _usage(reply, request)})
    yield Event(b"data: [DONE]\n\n")


def _head(request: Request, kind: str) -> dict[str, Any]:
    return {
        "id": new_id("chatcmpl-"),
        "object": kind,
        "created": now(),
        "model": request.model,
        "system_fingerprint": "scripted",
    }


def _calls(reply: ScriptedReply) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "id": call.get("id") or new_id("call_"),
            "function": {"name": call["name"], "arguments": arguments_text(call)},
        }
        for call in reply.tool_calls
    ]


def _halves(text: str) -> list[str]:
    middle = len(text) // 2
    return [part for part in (text[:middle], text[middle:]) if part]


def _usage(reply: ScriptedReply, request: Request) -> dict[str, Any]:
    asked, said = tokens_of(reply, request)
    return {
        "prompt_tokens": asked,
        "completion_tokens": said,
        "total_tokens": asked + said,
        "prompt_tokens_details": {"cached_tokens": 0},
    }
