"""Tool calls that arrive as text, because the server or the model lacks a template for them.

Two strengths of evidence. A marker (``<tool_call>``, ``[TOOL_CALLS]``, …) is a call wherever it
stands outside of code, whatever the tool's name: the model then learns that there is no such tool.
JSON and Python without a marker are a call only near the beginning of the reply, and only with
the name of a tool that was offered; anywhere else they are an example. One exception: a reply that
is nothing but ``{"name": …, "arguments": {…}}`` is a call also when no tool has that name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import regex

from rolecall.models.text.call_openers import openers_for
from rolecall.models.text.call_shapes import TextCall, Tools
from rolecall.models.text.marked_calls import Found, read_marked
from rolecall.models.text.plain_calls import LONGEST_LEAD, is_lead, read_plain, read_stranger

MOST_CALLS = 16
_MOST_ATTEMPTS = 64
_STOP = re.compile(r"[\n<\[]")
_NOT_BLANK = re.compile(r"\S")
_QUOTES = frozenset("`'\"")

__all__ = ["ParsedCalls", "TextCall", "ToolCallGate", "parse_tool_calls"]


@dataclass(frozen=True)
class ParsedCalls:
    """The calls of a reply, and the text around them (all of it, unchanged, without a call)."""

    calls: list[TextCall]
    text: str


def parse_tool_calls(text: str, tools: Tools) -> ParsedCalls:
    """Finds the tool calls in a whole reply.

    At most 16 calls; exact duplicates count once.
    """
    gate = ToolCallGate(tools)
    shown = gate.feed(text)
    rest, calls = gate.close()
    return ParsedCalls(calls, (shown + rest).strip() if calls else shown + rest)


class ToolCallGate:
    """Lets the text of one streamed reply through, except what may be a tool call.

    Text is held from the first character of a possible call until it is clear that it is none;
    what has begun like a call is held until ``close``.
    """

    __slots__ = (
        "_attempts",
        "_called",
        "_holding",
        "_in_fence",
        "_lead",
        "_line_is_blank",
        "_openers",
        "_pending",
        "_previous",
        "_seen_fence",
        "_shown",
        "_tools",
        "unmarked",
    )

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.unmarked = False  # whether a call was found that no marker of a template announced
        self._openers = openers_for(tools) if tools else None
        self._pending: list[str] = []
        self._holding = False
        self._line_is_blank = True
        self._in_fence = False
        self._seen_fence = False
        self._called = False
        self._attempts = 0
        self._shown = 0
        self._lead = ""
        self._previous = ""

    def feed(self, text: str) -> str:
        """The text that may be shown now."""
        if self._openers is None:
            return text
        if self._holding:
            self._pending.append(text)
            return ""
        if not self._line_is_blank and not self._pending and _STOP.search(text) is None:
            self._show(text)
            return text
        buffer = "".join(self._pending) + text
        at, self._holding = self._advance(buffer, 0, final=False)
        self._pending = [buffer[at:]] if at < len(buffer) else []
        self._show(buffer[:at])
        return buffer[:at]

    def close(self) -> tuple[str, list[TextCall]]:
        """The rest of the text, and the calls of the reply."""
        buffer, self._pending = "".join(self._pending), []
        if self._openers is None:
            return buffer, []
        calls: dict[str, TextCall] = {}
        pieces: list[str] = []
        begin = at = 0
        while at < len(buffer):
            at, stopped = self._advance(buffer, at, final=True)
            if not stopped:
                break
            found = self._read(buffer, at)
            if found is None:
                at = self._pass(buffer, at)
                continue
            for call in found[0]:
                calls.setdefault(call.identity, call)
            pieces.append(buffer[begin:at])
            begin = at = found[1]
            self._called = True
        if not calls:
            return buffer, []
        pieces.append(buffer[begin:])
        text = "\n".join(piece.strip() for piece in pieces if piece.strip())
        return text, list(calls.values())[:MOST_CALLS]

    def _show(self, text: str) -> None:
        if text:
            self._previous = text[-1]
            self._shown += len(text)
            if self._shown <= 2 * LONGEST_LEAD:
                self._lead += text

    def _advance(self, buffer: str, at: int, *, final: bool) -> tuple[int, bool]:
        """Passes text up to a possible call: its place, and whether it must be read as a whole."""
        while at < len(buffer):
            if self._line_is_blank:
                visible = _NOT_BLANK.search(buffer, at)
                if visible is None:
                    return len(buffer), False
                at = visible.start()
            else:
                stop = _STOP.search(buffer, at)
                if stop is None:
                    return len(buffer), False
                at = stop.start()
                if buffer[at] == "\n":
                    self._line_is_blank = True
                    at += 1
                    continue
            verdict = self._judge(buffer, at, final=final)
            if verdict != "pass":
                return at, verdict == "hold"
            at = self._pass(buffer, at)
        return at, False

    def _judge(self, buffer: str, at: int, *, final: bool) -> Literal["pass", "wait", "hold"]:
        may_be_fence = self._line_is_blank and "```".startswith(buffer[at : at + 3])
        undecided = may_be_fence and len(buffer) - at < 3 and not final
        if self._in_fence or self._attempts >= _MOST_ATTEMPTS:
            return "wait" if undecided else "pass"
        opener = self._opener(buffer, at)
        found = None if opener is None else opener.match(buffer, at, partial=True)
        if found is None or (found.partial and final):
            return "wait" if undecided else "pass"
        return "wait" if found.partial else "hold"

    def _opener(self, buffer: str, at: int) -> regex.Pattern[str] | None:
        if self._openers is None:
            return None
        if not self._line_is_blank:
            previous = buffer[at - 1] if at else self._previous
            return None if previous in _QUOTES else self._openers.inline
        lead = self._lead_before(buffer, at)
        if lead is None:
            return self._openers.at_line
        return self._openers.after_lead if lead.strip() else self._openers.at_start

    def _lead_before(self, buffer: str, at: int) -> str | None:
        """All text before ``at``, if a call without a marker may follow it."""
        if self._called or self._seen_fence or self._shown + at > 2 * LONGEST_LEAD:
            return None
        lead = self._lead + buffer[:at]
        return lead if is_lead(lead) else None

    def _read(self, buffer: str, at: int) -> Found | None:
        self._attempts += 1
        found = read_marked(buffer, at, self._tools, known_only=not self._line_is_blank)
        lead = self._lead_before(buffer, at) if self._line_is_blank else None
        if found is not None or lead is None:
            return found
        found = read_plain(buffer, at, self._tools, lead=lead)
        if found is None and not lead.strip() and self._is_stranger(buffer, at):
            found = read_stranger(buffer, at, self._tools)
        self.unmarked = self.unmarked or found is not None
        return found

    def _is_stranger(self, buffer: str, at: int) -> bool:
        return self._openers is not None and self._openers.stranger.match(buffer, at) is not None

    def _pass(self, buffer: str, at: int) -> int:
        """Steps over what is not a call."""
        if self._line_is_blank and buffer.startswith("```", at):
            self._in_fence = not self._in_fence
            self._seen_fence = True
            at += 2
        self._line_is_blank = False
        return at + 1
