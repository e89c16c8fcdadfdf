"""Blots secrets out of text, whole or while it streams, with the same result.

A stream may let a character go only when no match that begins there can depend on text to come.
``regex`` tells: an expression that cannot match as a whole, searched with ``partial=True``, stops
at the first place from which any of its branches reaches the end of the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import regex

from rolecall.models.text.secrets import KEPT, MASKED, head_of, pattern_of, trigger_of

MASK = "[redacted]"
LONGEST_HELD = 8192
"""Characters. A stream gives out a longer possible match as it stands after this many."""

_CONTEXT = 256
_EAGER = 64
_SECONDS = 0.05
_SHORT = 16
_STANDS_ALONE = re.compile(r"(?:[^\\(]|\\[^\dgkGKQE]|\((?:\?:|(?!\?)))*")
_WORD_EDGES = {
    r"\b": r"(?:(?<=\w)(?!\w)|(?<!\w)(?=\w))",
    r"\B": r"(?:(?<=\w)(?=\w)|(?<!\w)(?!\w))",
}
_TEXT_END = {r"\Z": r"(?![\s\S])", "$": r"(?!\n?+[\s\S])"}
_LINE_END = {"$": r"(?![^\n])"}
_LOCAL_FLAGS = re.compile(r"\(\?[a-zA-Z]*[mw][a-zA-Z]*[:-]")
_ATOM = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", re.DOTALL)


class Redactor:
    """Replaces what matches by ``[redacted]``.

    Args:
        patterns: regular expressions in the syntax of ``regex``.
        secrets: also what looks like a key, a token or a password.
    """

    def __init__(self, patterns: Sequence[str] = (), secrets: bool = True) -> None:
        self._passes = [_MASKED, _KEPT] if secrets else []
        self._passes += [_Pass(pattern) for pattern in _joined(patterns)]

    def redact(self, text: str) -> str:
        """The text without its secrets."""
        for one in self._passes:
            text = _PassStream(one).feed(text, final=True)
        return text

    def stream(self) -> RedactionStream:
        """A filter for one streamed reply."""
        return RedactionStream(self._passes)


class RedactionStream:
    """Redacts one reply that arrives in chunks: all output together equals ``redact`` of it all.

    Holds back only what may be the beginning of a match, at most about 8,000 characters.
    """

    __slots__ = ("_passes",)

    def __init__(self, passes: Sequence[_Pass]) -> None:
        self._passes = [_PassStream(one) for one in passes]

    def feed(self, text: str) -> str:
        """The text that may be shown now."""
        for one in self._passes:
            text = one.feed(text)
        return text

    def close(self) -> str:
        """The rest of the text."""
        text = ""
        for one in self._passes:
            text = one.feed(text, final=True)
        return text


class _Pass:
    """One regular expression, and the one that finds where its matches are undecided.

    Args:
        trigger: in the syntax of ``re``; text that it does not find has no beginning of a match.
        head: what of a match stays readable, in its group ``keep``.
    """

    def __init__(self, pattern: str, *, trigger: str | None = None, head: str | None = None):
        pattern = _looking_ahead(pattern)
        self.pattern = regex.compile(pattern)
        # In verbose syntax a comment may end the pattern.
        line_end = "\n" if self.pattern.flags & regex.VERBOSE else ""
        self.undecided = regex.compile(f"(?:{pattern}{line_end})(?!)")
        self.trigger = None if trigger is None else re.compile(trigger)
        self.head = None if head is None else regex.compile(head)

    def mask(self, found: regex.Match[str]) -> str:
        return MASK if self.head is None else found["keep"] + MASK


class _PassStream:
    __slots__ = ("_before", "_held", "_pass", "_patient", "_shown", "_waiting")

    def __init__(self, one: _Pass) -> None:
        self._pass = one
        self._before = ""
        self._held = ""
        self._shown = 0  # how much of what is held was given out: the head of a possible match
        self._patient = False
        self._waiting = ""

    def feed(self, text: str, *, final: bool = False) -> str:
        if len(self._held) > _EAGER:
            # Searching all that is held for every token would cost the square of its length:
            # what is long already is searched again when it has doubled.
            text, self._waiting = self._waiting + text, ""
            due = min(len(self._held), LONGEST_HELD - len(self._held))
            if not final and len(text) <= due:
                self._waiting = text
                return ""
        begin = len(self._before)
        if not self._held:
            if not text:
                return ""
            trigger = self._pass.trigger
            if trigger is not None and trigger.search(self._before + text, begin) is None:
                self._before = text[-1]
                return text
        buffer = self._before + self._held + text
        too_long = len(self._held) > LONGEST_HELD
        output, certain = self._replace(buffer, begin, final=final or too_long)
        shown_before, self._shown = self._shown, 0
        self._before = buffer[max(0, certain - _CONTEXT) : certain]
        self._held = buffer[certain:]
        if self._held and self._pass.head is not None:
            head = self._pass.head.match(buffer, certain)
            self._shown = (len(buffer) if head is None else head.end()) - certain
            output += self._held[: self._shown]
        return output[shown_before:]

    def _replace(self, buffer: str, begin: int, *, final: bool) -> tuple[str, int]:
        """Redacts from ``begin``: the output, and up to where in the buffer it is certain."""
        end = len(buffer)
        certain = end if final else self._undecided_from(buffer, begin)
        output: list[str] = []
        done = search = begin
        while search <= end:
            found = self._pass.pattern.search(buffer, search)
            if found is None or found.start() >= certain:
                break
            start, stop = found.span()
            if stop == end and not final:
                certain = start
                break
            if start == stop:
                search = stop + 1
                continue
            output += (buffer[done:start], self._pass.mask(found))
            done = search = stop
            if certain < stop:
                certain = self._undecided_from(buffer, stop)
        output.append(buffer[done:certain])
        return "".join(output), certain

    def _undecided_from(self, buffer: str, begin: int) -> int:
        if self._patient:
            return begin
        # A timeout costs more than a short search takes.
        timeout = _SECONDS if len(buffer) - begin > _SHORT else None
        try:
            found = self._pass.undecided.search(buffer, begin, partial=True, timeout=timeout)
        except TimeoutError:
            # A pattern that backtracks without end cannot be followed as it streams.
            self._patient = True
            return begin
        return len(buffer) if found is None else found.start()


def _joined(patterns: Sequence[str]) -> list[str]:
    """The patterns in few: those without references, named groups or flags become one."""
    alone = [pattern for pattern in patterns if not _STANDS_ALONE.fullmatch(pattern)]
    joint = [f"(?:{pattern})" for pattern in patterns if pattern not in alone]
    return ["|".join(joint), *alone] if joint else alone


def _looking_ahead(pattern: str) -> str:
    """Edges of words, lines and text as lookarounds.

    In their own form ``regex`` would decide them at the end of a chunk as if the text ended there.
    """
    flags = regex.compile(pattern).flags
    if _LOCAL_FLAGS.search(pattern) or flags & regex.WORD:
        return pattern
    edges = _WORD_EDGES | _TEXT_END
    if flags & regex.MULTILINE:
        edges |= _LINE_END
    return "".join(edges.get(atom, atom) for atom in _ATOM.findall(pattern))


_MASKED = _Pass("|".join(map(pattern_of, MASKED)), trigger=trigger_of(MASKED))
_KEPT = _Pass(
    "|".join(map(pattern_of, KEPT)),
    trigger=trigger_of(KEPT),
    head="|".join(map(head_of, KEPT)),
)
