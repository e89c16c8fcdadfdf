"""Input and output items of the Responses API.

Items are plain dicts in the form that OpenAI's API reference documents: ``message``,
``reasoning``, ``function_call`` and ``function_call_output``.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage
from pydantic import BaseModel

from rolecall.errors import BadInput
from rolecall.models.reply import reasoning_of

Item = dict[str, Any]
GivenItems = str | Sequence[Mapping[str, Any] | BaseModel]
"""A text, or items: dicts or OpenAI's objects, such as those of an earlier ``output``."""

_TEXTS = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})
_KINDS = "message, reasoning, function_call and function_call_output"
_ROLES = ("user", "assistant", "system", "developer")


def items_from(given: GivenItems) -> list[Item]:
    """The input as items, each with its ``type``.

    Raises:
        BadInput: an item is of another kind, or lacks something; the message names its place.
    """
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    return [_item(one, f"input[{index}]") for index, one in enumerate(given)]


def _item(given: object, where: str) -> Item:
    if isinstance(given, BaseModel):
        item = given.model_dump(mode="json", exclude_none=True)
    elif isinstance(given, Mapping):
        item = dict(given)
    else:
        raise BadInput(f"{where} is a {type(given).__name__}, not an item (a dict)")
    kind = item.setdefault("type", "message" if "role" in item else None)
    match kind:
        case "message":
            if item.get("role") not in _ROLES:
                raise BadInput(f"{where}: role {item.get('role')!r} is none of {', '.join(_ROLES)}")
            item["content"] = _parts(item.get("content"), f"{where}.content")
        case "reasoning":
            for key in ("summary", "content"):
                item[key] = _parts(item.get(key) or [], f"{where}.{key}")
        case "function_call":
            for key in ("call_id", "name"):
                _text(item, key, where)
            item.setdefault("arguments", "{}")
            _text(item, "arguments", where, empty=True)
        case "function_call_output":
            _text(item, "call_id", where)
            item["output"] = _parts(item.get("output"), f"{where}.output")
        case _:
            raise BadInput(f"{where} is of type {kind!r}; a local model takes {_KINDS}")
    try:
        json.dumps(item)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{where} is not plain JSON: {error}") from error
    return item


def _text(item: Item, key: str, where: str, *, empty: bool = False) -> None:
    if not isinstance(item.get(key), str) or not (item[key] or empty):
        raise BadInput(f"{where}: a {item['type']} needs {key!r}, a text")


def _parts(content: object, where: str) -> str | list[Item]:
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise BadInput(f"{where} is neither a text nor a list of parts")
    parts = [dict(part) if isinstance(part, Mapping) else {} for part in content]
    for index, part in enumerate(parts):
        block_of(part, f"{where}[{index}]")
    return parts


def block_of(part: Item, where: str) -> str | Item:
    """A part of a content as LangChain writes it: a text, or an image's block."""
    kind = part.get("type")
    if kind in _TEXTS and isinstance(part.get("text"), str):
        return str(part["text"])
    if kind == "refusal" and isinstance(part.get("refusal"), str):
        return str(part["refusal"])
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}}
    raise BadInput(
        f"{where}: a part of type {kind!r} cannot be read here; use input_text or "
        "input_image with an image_url"
    )


def output_items(
    reply: AIMessage,
    *,
    complete: bool = True,
    ids: Mapping[str, str] | None = None,
) -> list[Item]:
    """A reply as output items: reasoning, the message, then each call.

    Args:
        complete: the answer was not cut off.
        ids: ids already given to the ``reasoning`` and the ``message``, in the order in which
            they began.
    """
    status = "completed" if complete else "incomplete"
    ids = ids or {}
    items: list[Item] = []
    if reasoning := reasoning_of(reply):
        items.append(reasoning_item(ids.get("reasoning") or new_id("rs"), reasoning, status))
    if text := reply.text:
        items.append(message_item(ids.get("message") or new_id("msg"), text, status))
    if list(ids)[:1] == ["message"]:
        items.reverse()
    for call in reply.tool_calls:
        arguments = json.dumps(call["args"], ensure_ascii=False)
        items.append(call_item(call["id"], call["name"], arguments))
    for broken in reply.invalid_tool_calls:
        items.append(call_item(broken["id"], broken["name"] or "", broken["args"] or ""))
    return items


def reasoning_item(identity: str, text: str, status: str) -> Item:
    """A ``reasoning`` item."""
    content = [{"type": "reasoning_text", "text": text}] if text else []
    return {
        "id": identity,
        "type": "reasoning",
        "summary": [],
        "content": content,
        "status": status,
    }


def message_item(identity: str, text: str, status: str) -> Item:
    """An assistant's ``message`` item."""
    content = [{"type": "output_text", "text": text, "annotations": []}] if text else []
    return {
        "id": identity,
        "type": "message",
        "role": "assistant",
        "content": content,
        "status": status,
    }


def call_item(call_id: str | None, name: str, arguments: str) -> Item:
    """A ``function_call`` item."""
    return {
        "id": new_id("fc"),
        "type": "function_call",
        "call_id": call_id or new_id("call"),
        "name": name,
        "arguments": arguments,
        "status": "completed",
    }


def new_id(kind: str) -> str:
    """An id that no other item or response has: ``KIND_`` and 32 hexadecimal digits."""
    return f"{kind}_{uuid.uuid4().hex}"
