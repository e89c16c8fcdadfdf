"""What the three dialects share: the events of a stream, calls, and the clock."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Event:
    """A piece of a stream. A ``token`` carries something that the model said."""

    data: bytes
    token: bool = False


def encode(body: object) -> bytes:
    """JSON as runners send it: compact, UTF-8."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def server_sent(body: object, *, name: str = "", token: bool = False) -> Event:
    """A server-sent event."""
    head = f"event: {name}\n".encode() if name else b""
    return Event(head + b"data: " + encode(body) + b"\n\n", token)


def new_id(prefix: str) -> str:
    """An id that no other message or call of this process has."""
    return f"{prefix}{next(_numbers):08d}"


def now() -> int:
    """Seconds since the epoch."""
    return int(time.time())


def arguments_text(call: Mapping[str, Any]) -> str:
    """A call's arguments as text; a script may give text that is not JSON."""
    args = call.get("args", {})
    return args if isinstance(args, str) else json.dumps(args, ensure_ascii=False)


def arguments_object(call: Mapping[str, Any]) -> Any:
    """A call's arguments as an object, where the dialect wants one."""
    args = call.get("args", {})
    if not isinstance(args, str):
        return args
    try:
        return json.loads(args)
    except ValueError:
        return args
