"""Tool calls without a marker: JSON, fenced or bare, and Python. They count near the beginning.

Without a marker only the place tells a call from an example: small models that lack a tool
template begin their reply with the call, or with one sentence and then the call.
"""

from __future__ import annotations

import re

from rolecall.models.text.call_openers import FENCE
from rolecall.models.text.call_shapes import Tools
from rolecall.models.text.marked_calls import Found, read_marked, read_objects
from rolecall.models.text.python_calls import python_calls

LONGEST_LEAD = 200
"""Characters before a call, or after a call that something stands before."""

_EXAMPLE = re.compile(
    r"\b(?:example|e\.g|for instance|sample|format|syntax|schema|looks? like|documentation)\b",
    re.IGNORECASE,
)
_FENCE = re.compile(FENCE)
_FENCE_END = re.compile(r"\s*```[ \t]*")
_NEXT_FENCE = re.compile(r"\s*(?=```)")


def is_lead(text: str) -> bool:
    """Whether a call may follow ``text``: nothing, or a short sentence that announces no sample."""
    lead = text.strip()
    return len(lead) <= LONGEST_LEAD and "```" not in lead and not _EXAMPLE.search(lead)


def read_plain(text: str, at: int, tools: Tools, *, lead: str) -> Found | None:
    """The calls that begin at ``text[at]``, where ``lead`` is all that stands before."""
    if text.startswith("```", at):
        found = _read_fences(text, at, tools)
    else:
        found = read_objects(text, at, tools, known_only=True)
        if found is None and not lead.strip():
            calls = python_calls(text[at:], tools)
            return (calls, len(text)) if calls else None
    if found is None:
        return None
    tail = text[found[1] :].strip()
    if lead.strip() and (len(tail) > LONGEST_LEAD or "```" in tail):
        return None
    return found


def read_stranger(text: str, at: int, tools: Tools) -> Found | None:
    """Calls of tools that nobody offered, if they are all that the reply consists of."""
    fence = _FENCE.match(text, at)
    found = read_objects(text, at if fence is None else fence.end(), tools, known_only=False)
    if found is None or any(call.name in tools for call in found[0]):
        return None
    end = None if fence is None else _FENCE_END.match(text, found[1])
    rest = text[found[1] if end is None else end.end() :]
    return None if rest.strip() else (found[0], len(text))


def _read_fences(text: str, at: int, tools: Tools) -> Found | None:
    found: Found | None = None
    while True:
        one = _read_fence(text, at, tools)
        if one is None:
            return found
        found = (one[0] if found is None else found[0] + one[0], one[1])
        following = _NEXT_FENCE.match(text, found[1])
        if following is None:
            return found
        at = following.end()


def _read_fence(text: str, at: int, tools: Tools) -> Found | None:
    head = _FENCE.match(text, at)
    if head is None:
        return None
    body = head.end()
    closer = text.find("```", body)
    stop = len(text) if closer < 0 else closer
    found = read_objects(text, body, tools, known_only=True, stop=stop) or read_marked(
        text, body, tools, known_only=True
    )
    if found is None and "tool_code" in head[0]:
        calls = python_calls(text[body:stop], tools)
        found = (calls, stop) if calls else None
    if found is None:
        return None
    end = _FENCE_END.match(text, found[1])
    if end is not None:
        return found[0], end.end()
    # Something else stands in the fence behind the call, so that it is not a call but a text.
    return None if text[found[1] :].strip() else found
