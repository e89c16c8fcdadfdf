"""Ollama's native API: ``/api/chat`` in lines of JSON, and what it says about its models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from rolecall.models.scripted.events import Event, arguments_object, encode
from rolecall.models.scripted.script import Request, ScriptedReply, tokens_of, top_tokens

VERSION = "0.13.0"
_DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "scripted",
    "families": ["scripted"],
    "parameter_size": "1B",
    "quantization_level": "Q4_K_M",
}


def whole(reply: ScriptedReply, request: Request) -> bytes:
    """The answer in one JSON object."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.said}
    if reply.failing and reply.failing.kind == "null_content":
        message["content"] = None
    if reply.reasoning and _shows_thinking(request):
        message["thinking"] = reply.reasoning
    if reply.tool_calls:
        message["tool_calls"] = _calls(reply)
    scored = [
        top_tokens(reply, request, word, first=index == 0) for index, word in enumerate(reply.words)
    ]
    more = {"logprobs": scored} if request.top_logprobs else {}
    return encode({**_line(reply, request, message), **more, **_end(reply, request)})


def stream(reply: ScriptedReply, request: Request) -> Iterator[Event]:
    """The answer as one JSON object a line, the last with ``done`` and the counts."""
    fault = reply.failing.kind if reply.failing else None

    def line(message: dict[str, Any], **more: Any) -> Event:
        whole_message = {"role": "assistant", "content": "", **message}
        body = {**_line(reply, request, whole_message), **more, "done": False}
        return Event(encode(body) + b"\n", token=True)

    for thought in reply.thoughts if _shows_thinking(request) else []:
        yield line({"thinking": thought})
    for index, word in enumerate([] if fault == "null_content" else reply.words):
        scored = top_tokens(reply, request, word, first=index == 0)
        yield line({"content": word}, **({"logprobs": [scored]} if scored else {}))
    if reply.tool_calls:
        yield line({"tool_calls": _calls(reply)})
    last = {"role": "assistant", "content": None if fault == "null_content" else ""}
    yield Event(encode({**_line(reply, request, last), **_end(reply, request)}) + b"\n")


def tags(models: Sequence[str]) -> dict[str, Any]:
    """``/api/tags`` and, with what is loaded, ``/api/ps``."""
    moment = _moment()
    return {
        "models": [
            {
                "name": name,
                "model": name,
                "modified_at": moment,
                "expires_at": moment,
                "size": 1_000_000_000,
                "size_vram": 0,
                "digest": "0" * 64,
                "details": _DETAILS,
            }
            for name in models
        ]
    }


def show(model: str, context_length: int, capabilities: Sequence[str]) -> dict[str, Any]:
    """``/api/show``: what a model can do."""
    return {
        "modelfile": f"FROM {model}",
        "parameters": "",
        "template": "{{ .Prompt }}",
        "details": _DETAILS,
        "model_info": {
            "general.architecture": "scripted",
            "scripted.context_length": context_length,
        },
        "capabilities": list(capabilities),
        "modified_at": _moment(),
    }


def _shows_thinking(request: Request) -> bool:
    # Like the real one: a model that thinks does so unless think is false.
    return request.body.get("think") is not False


def _calls(reply: ScriptedReply) -> list[dict[str, Any]]:
    return [
        {"function": {"index": index, "name": call["name"], "arguments": arguments_object(call)}}
        for index, call in enumerate(reply.tool_calls)
    ]


def _line(reply: ScriptedReply, request: Request, message: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {"model": request.model, "created_at": _moment()}
    if reply.failing is None or reply.failing.kind != "empty_choices":
        body["message"] = message
    return body


def _end(reply: ScriptedReply, request: Request) -> dict[str, Any]:
    reason = "length" if reply.finish == "length" else "stop"
    body: dict[str, Any] = {"done": True, "done_reason": reason}
    if reply.failing is None or reply.failing.kind != "usage_missing":
        asked, said = tokens_of(reply, request)
        body |= {
            "total_duration": 2_000_000,
            "load_duration": 0,
            "prompt_eval_count": asked,
            "prompt_eval_duration": 1_000_000,
            "eval_count": said,
            "eval_duration": 1_000_000,
        }
    return body


def _moment() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
