"""Separates what a model thinks from what it answers, while the text streams.

Formats, each from the chat template of the models that write it:

- ``<think>…</think>``: DeepSeek-R1, Qwen3, QwQ, Phi-4-reasoning; ``<thinking>`` and
  ``<reasoning>``: distillations; ``<seed:think>``: Seed-OSS;
- ``[THINK]…[/THINK]``: Magistral;
- ``<|START_THINKING|>…<|END_THINKING|>``: Command A Reasoning;
- ``<|channel|>analysis<|message|>…<|end|>``: the Harmony format of gpt-oss.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import regex

Kind = Literal["text", "reasoning"]


class Piece(NamedTuple):
    """A run of text of one kind."""

    kind: Kind
    text: str


_TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
    "<|START_THINKING|>": "<|END_THINKING|>",
}
_CLOSERS = tuple(_TAGS.values())
_LONE_CLOSER = regex.compile("|".join(regex.escape(closer) for closer in _CLOSERS))

_HEADER = regex.compile(
    r"(?:<\|start\|>assistant(?P<to> ?to=[\w.-]{1,80})?)?"
    r"<\|channel\|>(?P<channel>analysis|commentary|final)"
    r"(?P<rest>[^<]{0,120}(?:<\|constrain\|>[^<]{0,40})?)<\|message\|>"
)
_NEXT_MESSAGE = ("<|start|>", "<|channel|>")
_MESSAGE_ENDS = ("<|end|>", "<|return|>", "<|call|>", *_NEXT_MESSAGE)
_LONGEST = max(len(tag) for tag in (*_CLOSERS, *_MESSAGE_ENDS))
_NEWLINES = "\r\n"


class ReasoningSplitter:
    """Splits one streamed reply. Use one per reply.

    Reasoning counts only at the beginning of the reply: a tag that is mentioned later is text.
    Line breaks between reasoning and answer are dropped; everything else arrives unchanged.

    Args:
        starts_inside: the chat template has already opened the reasoning, so that the reply
            begins within it and only the closing tag will be seen.
    """

    __slots__ = ("_after", "_closers", "_framed", "_held", "_kind", "_starts_inside", "_state")

    def __init__(self, *, starts_inside: bool = False) -> None:
        self._state: Literal["start", "inside", "header", "message", "plain"] = "start"
        self._starts_inside = starts_inside
        self._after = False
        self._closers: tuple[str, ...] = _CLOSERS
        self._held = ""
        self._kind: Kind = "text"
        self._framed = False

    def feed(self, text: str) -> list[Piece]:
        """The pieces that are certain once ``text`` has arrived."""
        if self._state == "plain":
            return [Piece("text", text)] if text else []
        buffer = self._held + text
        self._held = ""
        pieces: list[Piece] = []
        while buffer:
            match self._state:
                case "start":
                    buffer = self._begin(buffer)
                case "inside":
                    buffer = self._think(buffer, pieces)
                case "header":
                    buffer = self._read_header(buffer, pieces)
                case "message":
                    buffer = self._read_message(buffer, pieces)
                case "plain":
                    pieces.append(Piece("text", buffer))
                    buffer = ""
        return pieces

    def close(self) -> list[Piece]:
        """What was held back, now that the reply has ended."""
        held, self._held = self._held, ""
        match self._state:
            case "inside":
                kind: Kind = "reasoning"
            case "message":
                kind = self._kind
            case "header":
                return []  # a header that the end of the reply cut off is protocol, not text
            case _:
                kind = "text"
                held = held.lstrip(_NEWLINES) if self._after else held
        self._state = "plain"
        return [Piece(kind, held)] if held else []

    def _begin(self, buffer: str) -> str:
        stripped = buffer.lstrip()
        for opener, closer in _TAGS.items():
            if stripped.startswith(opener):
                self._state, self._closers = "inside", (closer,)
                return stripped[len(opener) :]
        if not self._after:
            for closer in _CLOSERS:
                if stripped.startswith(closer):
                    self._after, self._starts_inside = True, False
                    return stripped[len(closer) :]
        expected = tuple(_TAGS) if self._after else (*_TAGS, *_CLOSERS)
        if not stripped or any(tag.startswith(stripped) for tag in expected):
            self._held = buffer
            return ""
        header = None if self._after else _HEADER.match(stripped, partial=True)
        if header is not None and header.partial:
            self._held = buffer
            return ""
        if header is not None:
            self._state = "header"
            return stripped
        if self._starts_inside:
            self._state = "inside"
            return buffer
        self._state = "plain"
        return buffer.lstrip(_NEWLINES) if self._after else buffer

    def _think(self, buffer: str, pieces: list[Piece]) -> str:
        thought, closer, rest = _until(buffer, self._closers)
        if thought:
            pieces.append(Piece("reasoning", thought))
        if closer:
            self._state, self._after, self._starts_inside = "start", True, False
            return rest
        self._held = rest
        return ""

    def _read_header(self, buffer: str, pieces: list[Piece]) -> str:
        stripped = buffer.lstrip()
        header = _HEADER.match(stripped, partial=True) if stripped else None
        if not stripped or (header is not None and header.partial):
            self._held = buffer
            return ""
        if header is None:
            self._state = "plain"
            return buffer
        self._state = "message"
        # A message to a function is a tool call: its frame must reach whoever reads tool calls.
        self._framed = bool(header["to"]) or " to=" in header["rest"]
        if self._framed:
            pieces.append(Piece("text", header[0]))
        thinks = header["channel"] == "analysis" and not self._framed
        self._kind = "reasoning" if thinks else "text"
        return stripped[header.end() :]

    def _read_message(self, buffer: str, pieces: list[Piece]) -> str:
        body, end, rest = _until(buffer, _MESSAGE_ENDS)
        if body:
            pieces.append(Piece(self._kind, body))
        if not end:
            self._held = rest
            return ""
        self._state = "header"
        if end in _NEXT_MESSAGE:
            return end + rest
        if self._framed:
            pieces.append(Piece("text", end))
        return rest


def split_reasoning(text: str) -> tuple[str, str]:
    """Splits a whole reply into ``(reasoning, answer)``; the reasoning is stripped.

    Unlike the stream, the whole text can show that the template opened the reasoning: a closing
    tag that nothing opened ends it. The tag must stand as one, at an end of a line or right
    behind the last word, not in code, in quotes or as a word of a sentence.
    """
    splitter = ReasoningSplitter()
    pieces = splitter.feed(text) + splitter.close()
    reasoning = "".join(piece.text for piece in pieces if piece.kind == "reasoning")
    answer = "".join(piece.text for piece in pieces if piece.kind == "text")
    if not reasoning:
        for closer in _LONE_CLOSER.finditer(text):
            if _ends_reasoning(text, closer.start(), closer.end()):
                return text[: closer.start()].strip(), text[closer.end() :].lstrip(_NEWLINES)
    return reasoning.strip(), answer


def _ends_reasoning(text: str, start: int, end: int) -> bool:
    before = text[:start]
    if before.count("```") % 2 or any(opener in before for opener in _TAGS):
        return False
    glued = before[-1:] not in {" ", "`", "'", '"', "(", ""}
    line_ends = text[end:].lstrip(" ")[:1] in {"", "\n", "\r"}
    return glued or (line_ends and before[-1:] not in {"`", "'", '"', "("})


def _until(buffer: str, tags: tuple[str, ...]) -> tuple[str, str, str]:
    """``(before, tag, after)`` of the first tag; without one ``(certain, "", maybe a tag)``."""
    if "<" not in buffer and "[" not in buffer:
        return buffer, "", ""
    found = [(at, tag) for tag in tags if (at := buffer.find(tag)) >= 0]
    if found:
        at, tag = min(found)
        return buffer[:at], tag, buffer[at + len(tag) :]
    for at in range(max(0, len(buffer) - _LONGEST), len(buffer)):
        if buffer[at] in "<[" and any(tag.startswith(buffer[at:]) for tag in tags):
            return buffer[:at], "", buffer[at:]
    return buffer, "", ""
