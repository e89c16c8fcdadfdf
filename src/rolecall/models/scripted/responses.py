"""``/v1/responses``: typed items, and the event sequence of the OpenAI API."""

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

_Part = tuple[str, dict[str, Any], bool]
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def whole(reply: ScriptedReply, request: Request) -> bytes:
    """The answer in one JSON object."""
    return encode(_response(reply, request, new_id("resp_"), _items(reply, request)))


def stream(reply: ScriptedReply, request: Request) -> Iterator[Event]:
    """The answer as named events, from ``response.created`` to ``response.completed``."""
    identity, items = new_id("resp_"), _items(reply, request)
    opening = _response(reply, request, identity, [])
    opening.pop("usage", None)
    opening |= {"status": "in_progress", "completed_at": None, "incomplete_details": None}
    parts: list[_Part] = [
        ("response.created", {"response": opening}, False),
        ("response.in_progress", {"response": opening}, False),
    ]
    for index, item in enumerate(items):
        parts += _play(index, item, reply, request)
    last = "response.incomplete" if reply.finish in _INCOMPLETE else "response.completed"
    parts.append((last, {"response": _response(reply, request, identity, items)}, False))
    for number, (kind, more, token) in enumerate(parts):
        body = {"type": kind, "sequence_number": number, **more}
        yield server_sent(body, name=kind, token=token)


def _play(index: int, item: dict[str, Any], reply: ScriptedReply, request: Request) -> list[_Part]:
    """The events of one item: it is added, filled bit by bit, and done."""
    place = {"output_index": index, "item_id": item["id"]}
    empty = {**item, "status": "in_progress"}
    if item["type"] == "function_call":
        filling = _play_call(place, item)
        empty["arguments"] = ""
    elif item["type"] == "reasoning":
        filling = _play_reasoning(place, item, reply)
        empty["content"], empty["summary"] = [], []
    else:
        filling = _play_text(place, item, reply, request)
        empty["content"] = []
    return [
        ("response.output_item.added", {"output_index": index, "item": empty}, False),
        *filling,
        ("response.output_item.done", {"output_index": index, "item": item}, False),
    ]


def _play_text(
    place: dict[str, Any], item: dict[str, Any], reply: ScriptedReply, request: Request
) -> list[_Part]:
    at = {**place, "content_index": 0}
    bare = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    deltas: list[_Part] = []
    for index, word in enumerate(reply.words if item["content"] else []):
        scored = top_tokens(reply, request, word, first=index == 0)
        body = {**at, "delta": word, "logprobs": [scored] if scored else []}
        deltas.append(("response.output_text.delta", body, True))
    done = item["content"][0] if item["content"] else bare
    return [
        ("response.content_part.added", {**at, "part": bare}, False),
        *deltas,
        (
            "response.output_text.done",
            {**at, "text": done["text"], "logprobs": done["logprobs"]},
            False,
        ),
        ("response.content_part.done", {**at, "part": done}, False),
    ]


def _play_call(place: dict[str, Any], item: dict[str, Any]) -> list[_Part]:
    text, kind = item["arguments"], "response.function_call_arguments"
    middle = len(text) // 2
    return [
        *(
            (f"{kind}.delta", {**place, "delta": part}, True)
            for part in (text[:middle], text[middle:])
        ),
        (f"{kind}.done", {**place, "name": item["name"], "arguments": text}, False),
    ]


def _play_reasoning(
    place: dict[str, Any], item: dict[str, Any], reply: ScriptedReply
) -> list[_Part]:
    if not reply.reasoning_summary:
        at, kind = {**place, "content_index": 0}, "response.reasoning_text"
        return [
            *((f"{kind}.delta", {**at, "delta": part}, True) for part in reply.thoughts),
            (f"{kind}.done", {**at, "text": reply.reasoning}, False),
        ]
    at, kind = {**place, "summary_index": 0}, "response.reasoning_summary"
    bare = {"type": "summary_text", "text": ""}
    return [
        (f"{kind}_part.added", {**at, "part": bare}, False),
        *((f"{kind}_text.delta", {**at, "delta": part}, True) for part in reply.thoughts),
        (f"{kind}_text.done", {**at, "text": reply.reasoning}, False),
        (f"{kind}_part.done", {**at, "part": item["summary"][0]}, False),
    ]


def _items(reply: ScriptedReply, request: Request) -> list[dict[str, Any]]:
    fault = reply.failing.kind if reply.failing else None
    status = "incomplete" if reply.finish in _INCOMPLETE else "completed"
    items: list[dict[str, Any]] = []
    if fault == "empty_choices":
        return items
    if reply.reasoning:
        text = {"type": "reasoning_text", "text": reply.reasoning}
        summary = {"type": "summary_text", "text": reply.reasoning}
        items.append(
            {
                "type": "reasoning",
                "id": new_id("rs_"),
                "summary": [summary] if reply.reasoning_summary else [],
                "content": [] if reply.reasoning_summary else [text],
                "status": "completed",
            }
        )
    if reply.said or not reply.tool_calls:
        items.append(
            {
                "type": "message",
                "id": new_id("msg_"),
                "role": "assistant",
                "status": status,
                "content": [] if fault == "null_content" else [_text(reply, request)],
            }
        )
    for call in reply.tool_calls:
        items.append(
            {
                "type": "function_call",
                "id": new_id("fc_"),
                "call_id": call.get("id") or new_id("call_"),
                "name": call["name"],
                "arguments": arguments_text(call),
                "status": status,
            }
        )
    return items


def _text(reply: ScriptedReply, request: Request) -> dict[str, Any]:
    words = enumerate(reply.words)
    scored = [top_tokens(reply, request, word, first=index == 0) for index, word in words]
    return {
        "type": "output_text",
        "text": reply.said,
        "annotations": [],
        "logprobs": [one for one in scored if one],
    }


def _response(
    reply: ScriptedReply, request: Request, identity: str, items: list[dict[str, Any]]
) -> dict[str, Any]:
    cut = _INCOMPLETE.get(reply.finish)
    moment = now()
    body: dict[str, Any] = {
        "id": identity,
        "object": "response",
        "created_at": moment,
        "completed_at": moment,
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": cut} if cut else None,
        "error": None,
        "model": request.model,
        "output": items,
        "parallel_tool_calls": True,
        "tool_choice": request.body.get("tool_choice", "auto"),
        "tools": request.body.get("tools", []),
    }
    if reply.failing is None or reply.failing.kind != "usage_missing":
        asked, said = tokens_of(reply, request)
        body["usage"] = {
            "input_tokens": asked,
            "output_tokens": said,
            "total_tokens": asked + said,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens_details": {"reasoning_tokens": len(reply.thoughts)},
        }
    return body
