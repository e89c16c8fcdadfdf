"""The marks that reasoning stands between, by format, and how they are found in a stream."""

from __future__ import annotations

from functools import lru_cache

import regex

TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
    "<|START_THINKING|>": "<|END_THINKING|>",
}
CLOSERS = tuple(TAGS.values())
OPENER_OF = {closer: opener for opener, closer in TAGS.items()}
LONE_CLOSER = regex.compile("|".join(regex.escape(closer) for closer in CLOSERS))

HEADER = regex.compile(
    r"(?:<\|start\|>assistant(?P<to> ?to=[\w.-]{1,80})?)?"
    r"<\|channel\|>(?P<channel>analysis|commentary|final)"
    r"(?P<rest>[^<]{0,120}(?:<\|constrain\|>[^<]{0,40})?)<\|message\|>"
)
# Harmony without its marks: the channel's name is glued to what is said on it.
BARE_ANALYSIS = regex.compile(r"analysis(?=[A-Z\"'])")
BARE_CALL = regex.compile(r"commentary to=(?P<to>[\w.-]{1,80}) ?(?:json|code)?\s{0,4}(?=\{)")
BARE_FINAL = "assistantfinal"
BARE_COMMENTARY = "assistantcommentary"
NEXT_MESSAGE = ("<|start|>", "<|channel|>")
MESSAGE_ENDS = ("<|end|>", "<|return|>", "<|call|>", *NEXT_MESSAGE)
_LONGEST = max(len(tag) for tag in (*TAGS, *CLOSERS, *MESSAGE_ENDS, BARE_COMMENTARY))


@lru_cache(maxsize=64)
def _any_of(tags: tuple[str, ...]) -> regex.Pattern[str]:
    return regex.compile("|".join(map(regex.escape, tags)))


def first_of(buffer: str, tags: tuple[str, ...]) -> tuple[str, str, str]:
    """``(before, tag, after)`` of the first tag; without one ``(certain, "", maybe a tag)``."""
    found = _any_of(tags).search(buffer)
    if found is not None:
        return buffer[: found.start()], found[0], buffer[found.end() :]
    for at in range(max(0, len(buffer) - _LONGEST), len(buffer)):
        if any(tag.startswith(buffer[at:]) for tag in tags):
            return buffer[:at], "", buffer[at:]
    return buffer, "", ""
