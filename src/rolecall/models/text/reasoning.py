"""Separates what a model thinks from what it answers, while the text streams.

Formats, each from the chat template of the models that write it:

- ``<think>…</think>``: DeepSeek-R1, Qwen3, QwQ, Phi-4-reasoning; ``<thinking>`` and
  ``<reasoning>``: distillations; ``<seed:think>``: Seed-OSS;
- ``[THINK]…[/THINK]``: Magistral;
- ``<|START_THINKING|>…<|END_THINKING|>``: Command A Reasoning;
- ``<|channel|>analysis<|message|>…<|end|>``: the Harmony format of gpt-oss; also without its
  marks, as servers that drop special tokens send it: ``analysisThey…assistantfinalHello``.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

import regex

from rolecall.models.text.reasoning_marks import (
    BARE_ANALYSIS,
    BARE_CALL,
    BARE_COMMENTARY,
    BARE_FINAL,
    CLOSERS,
    HEADER,
    LONE_CLOSER,
    MESSAGE_ENDS,
    NEXT_MESSAGE,
    OPENER_OF,
    TAGS,
    first_of,
)

Kind = Literal["text", "reasoning"]


class Piece(NamedTuple):
    """A run of text of one kind."""

    kind: Kind
    text: str


_NEWLINES = "\r\n"
_LINE_END = re.compile(r" *+(?:[\r\n]|\Z)")
_LONGEST_LEAD = 1000  # white space before reasoning; behind more, all is text


class ReasoningSplitter:
    """Splits one streamed reply. Use one per reply.

    Reasoning counts only at the beginning of the reply: a tag that is mentioned later is text.
    Line breaks between reasoning and answer are dropped; everything else arrives unchanged.
    Where the reasoning opens its own tag again, what follows the first closing tag is held back
    until a second one shows that it was still reasoning, or the end of the reply that it was not.

    Args:
        starts_inside: the chat template has already opened the reasoning, so that the reply
            begins within it and only the closing tag will be seen.
    """

    __slots__ = (
        "_after",
        "_closers",
        "_depth",
        "_doubted",
        "_framed",
        "_held",
        "_kind",
        "_starts_inside",
        "_state",
        "_thought",
    )

    def __init__(self, *, starts_inside: bool = False) -> None:
        self._state: Literal["start", "inside", "doubt", "header", "message", "plain"] = "start"
        self._starts_inside = starts_inside
        self._after = False
        self._closers: tuple[str, ...] = CLOSERS
        self._held = ""
        self._kind: Kind = "text"
        self._framed = False
        self._depth = 0
        self._thought = False
        self._doubted: list[str] = []

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
                    buffer = self._begin(buffer, pieces)
                case "inside":
                    buffer = self._think(buffer, pieces)
                case "doubt":
                    buffer = self._doubt(buffer, pieces)
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
            case "doubt":
                kind, held = "text", ("".join(self._doubted) + held).lstrip(_NEWLINES)
            case "header":
                return []  # a header that the end of the reply cut off is protocol, not text
            case _:
                kind = "text"
                held = held.lstrip(_NEWLINES) if self._after else held
        self._state = "plain"
        return [Piece(kind, held)] if held else []

    def _begin(self, buffer: str, pieces: list[Piece]) -> str:
        stripped = buffer.lstrip()
        if len(buffer) - len(stripped) > _LONGEST_LEAD:
            self._state = "plain"
            return buffer
        for opener, closer in TAGS.items():
            if stripped.startswith(opener):
                self._open(closer)
                return stripped[len(opener) :]
        for closer in CLOSERS:
            if stripped.startswith(closer):
                self._after, self._starts_inside = True, False
                return stripped[len(closer) :]
        if not stripped or any(tag.startswith(stripped) for tag in (*TAGS, *CLOSERS)):
            self._held = buffer
            return ""
        forms = (BARE_CALL,) if self._after else (HEADER, BARE_ANALYSIS, BARE_CALL)
        for form in forms:
            found = form.match(stripped, partial=True)
            if found is None:
                continue
            if found.partial:
                self._held = buffer
                return ""
            if form is HEADER:
                self._state = "header"
                return stripped
            if form is BARE_ANALYSIS:
                self._open(BARE_FINAL, BARE_COMMENTARY)
            else:  # in its frame again, for whoever reads tool calls
                pieces.append(Piece("text", f"<|channel|>commentary to={found['to']}<|message|>"))
                self._state = "plain"
            return stripped[found.end() :]
        if self._starts_inside:
            self._open(*CLOSERS)
            return buffer
        self._state = "plain"
        return buffer.lstrip(_NEWLINES) if self._after else buffer

    def _open(self, *closers: str) -> None:
        self._state, self._closers = "inside", closers
        self._depth, self._thought = 0, False

    def _think(self, buffer: str, pieces: list[Piece]) -> str:
        openers = [OPENER_OF[closer] for closer in self._closers if closer in OPENER_OF]
        thought, tag, rest = first_of(buffer, (*self._closers, *openers))
        self._thought = self._thought or bool(thought.strip())
        if thought:
            pieces.append(Piece("reasoning", thought))
        if tag in openers:
            pieces.append(Piece("reasoning", tag))
            self._depth += self._thought  # a template's own tag, repeated by the model, is not one
        elif tag == BARE_COMMENTARY:
            self._state, self._after = "start", True
            return tag.removeprefix("assistant") + rest
        elif tag and self._depth:
            self._state = "doubt"
        elif tag:
            self._state, self._after, self._starts_inside = "start", True, False
        if tag:
            return rest
        self._held = rest
        return ""

    def _doubt(self, buffer: str, pieces: list[Piece]) -> str:
        said, tag, rest = first_of(buffer, self._closers)
        self._doubted += [said] if said else []
        if not tag:
            self._held = rest
            return ""
        if self._doubted:
            pieces.append(Piece("reasoning", "".join(self._doubted)))
            self._doubted = []
        self._depth -= 1
        if not self._depth:
            self._state, self._after, self._starts_inside = "start", True, False
        return rest

    def _read_header(self, buffer: str, pieces: list[Piece]) -> str:
        stripped = buffer.lstrip()
        header = HEADER.match(stripped, partial=True) if stripped else None
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
        body, end, rest = first_of(buffer, MESSAGE_ENDS)
        if body:
            pieces.append(Piece(self._kind, body))
        if not end:
            self._held = rest
            return ""
        self._state = "header"
        if end in NEXT_MESSAGE:
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
    if not reasoning and (closer := _lone_closer(text)) is not None:
        return text[: closer.start()].strip(), text[closer.end() :].lstrip(_NEWLINES)
    return reasoning.strip(), answer


def _lone_closer(text: str) -> regex.Match[str] | None:
    """The closing tag that ends reasoning which nothing opened."""
    opened = min(
        (at + len(opener) for opener in TAGS if (at := text.find(opener)) >= 0), default=len(text)
    )
    fences = at = 0
    for closer in LONE_CLOSER.finditer(text):
        if opened <= closer.start():
            return None
        fences += text.count("```", at, closer.start())
        at = closer.start()
        before = text[at - 1 : at]
        glued = before not in {" ", "`", "'", '"', "(", ""}
        at_line_end = before not in {"`", "'", '"', "("} and _LINE_END.match(text, closer.end())
        if fences % 2 == 0 and (glued or at_line_end):
            return closer
    return None
