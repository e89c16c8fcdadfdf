"""Puts together the tool calls that a runner sends as such, in pieces, and mends what they lack.

Seen in runners: no index, index 0 for every call, no id, one id for several calls, the name
repeated with every piece, arguments with a trailing comma or in single quotes.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass

from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk

from rolecall.models.text.loose_json import read_value


@dataclass
class _Call:
    index: int | str | None
    id: str
    name: str
    arguments: str


class NativeCalls:
    """The tool calls of one reply. False while there are none."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def __bool__(self) -> bool:
        return bool(self._calls)

    def feed(self, piece: ToolCallChunk) -> None:
        """Take a call, or a piece of one."""
        name, arguments = piece.get("name") or "", piece.get("args") or ""
        identity, index = piece.get("id") or "", piece.get("index")
        call = self._continued(index, identity, name)
        if call is None:
            self._calls.append(_Call(index, identity, name, arguments))
            return
        call.id = call.id or identity
        if name != call.name:
            call.name += name
        call.arguments += arguments

    def close(self, *, cut: bool = False) -> list[ToolCallChunk]:
        """The calls: named, each with an id of its own.

        Args:
            cut: the reply was cut off, so a call with half of its arguments is left out.
        """
        seen: set[str] = set()
        calls: list[ToolCallChunk] = []
        for call in self._calls:
            if not call.name.strip() or (cut and not _is_object(call.arguments)):
                continue
            identity = call.id if call.id and call.id not in seen else new_id()
            seen.add(identity)
            calls.append(
                tool_call_chunk(
                    name=call.name.strip(),
                    args=_mended(call.arguments),
                    id=identity,
                    index=len(calls),
                )
            )
        return calls

    def _continued(self, index: int | str | None, identity: str, name: str) -> _Call | None:
        """The call that a piece goes on with; ``None`` when it begins one."""
        same = [call for call in self._calls if index is None or call.index == index]
        if not same:
            return None
        last = same[-1]
        if identity and last.id and identity != last.id:
            return None
        whole = name and last.arguments.endswith("}") and _is_object(last.arguments)
        if name and (whole or (index is None and last.name)):
            return None
        return last


def new_id() -> str:
    """An id for a call that came without one."""
    return f"call_{uuid.uuid4().hex[:24]}"


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _mended(text: str) -> str:
    """Arguments as a JSON object, also when they are none, quoted twice or not quite JSON."""
    text = text.strip()
    if not text or text == "null":
        return "{}"
    if _is_object(text):
        return text
    try:
        inner = json.loads(text)
    except ValueError:
        inner = text
    found = read_value(inner.strip()) if isinstance(inner, str) else None
    if found is not None and isinstance(found[0], dict):
        return json.dumps(found[0], ensure_ascii=False)
    # As a JSON text it is unreadable to everyone: half an argument must not be guessed whole.
    return json.dumps(text, ensure_ascii=False)
