"""How a tool call in text begins: told from the first characters, before the rest has arrived.

The expressions are made for partial matching: no match means that this is no call whatever
follows, a partial match that more text decides, a full match that it must be read as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import regex

ANY_NAME = r"[\w.\-:/]{1,64}"

# Qwen and Hermes, GLM (<arg_key>), and the plural and <tools> that small models make of it.
TAG = (
    r"<(?:tool_calls?|tools|function_calls?)>\s*"
    rf"(?:[\[{{]|```|<(?:function|invoke|name)\b|<tool_call>|{ANY_NAME}\s*<arg_key>)"
)
# Qwen-Coder and Llama write <function=name>, others name it in an attribute.
FUNCTION = rf"<(?:function|invoke)(?:=|\s+name=)[\"']?{ANY_NAME}[\"']?\s*>"
NAME = rf"<name>\s*{ANY_NAME}\s*</name>\s*<(?:arguments|parameters)>"
# Mistral's tokenizers, version 3 (a list) and from version 11 on (name, then arguments).
MISTRAL = rf"\[TOOL_CALLS\]\s*(?:[\[{{]|{ANY_NAME}(?:\[CALL_ID\]\w{{1,64}})?(?:\[ARGS\])?\s*\{{)"
# Llama's tag; Granite's and Phi-4-mini's, LFM2's, Command R's, each with JSON or Python behind it.
LLAMA_TAG = r"<\|(?:python_tag|tool_call|tool_call_start|START_ACTION)\|>"
LLAMA = rf"{LLAMA_TAG}\s*(?:[\[{{]|{ANY_NAME}\()"
# gpt-oss: a message on the commentary channel, sent to a function.
HARMONY = (
    rf"(?:<\|start\|>assistant ?to={ANY_NAME}<\|channel\|>(?:commentary|analysis)[^<]{{0,80}}"
    rf"|(?:<\|start\|>assistant)?<\|channel\|>(?:commentary|analysis) to={ANY_NAME}[^<]{{0,80}})"
    r"(?:<\|constrain\|>[^<]{0,40})?<\|message\|>"
)
_INLINE = "|".join((TAG, FUNCTION, MISTRAL, LLAMA, HARMONY))
_MARKED = f"{NAME}|{_INLINE}"
FENCE = r"```[ \t]*(?:json|tool_calls?|tool_code|tool|xml)?\s*"


@dataclass(frozen=True)
class Openers:
    """What may begin a call, by where it stands in the reply."""

    at_start: regex.Pattern[str]
    stranger: regex.Pattern[str]
    after_lead: regex.Pattern[str]
    at_line: regex.Pattern[str]
    inline: regex.Pattern[str]


def openers_for(names: Iterable[str]) -> Openers:
    """The openers for these tools."""
    return _compiled(tuple(sorted(names, key=lambda name: (-len(name), name))))


@lru_cache(maxsize=64)
def _compiled(names: tuple[str, ...]) -> Openers:
    known = "|".join(map(regex.escape, names))
    quoted = rf"[\"'](?:functions\.)?(?:{known})[\"']"
    item = (
        r"\{\s*[\"']?(?:"
        r"(?:arguments|parameters|args|input)[\"']?\s*:\s*[\"'{]"
        rf"|(?:name|tool_name|function_name)[\"']?\s*:\s*{quoted}"
        rf"|(?:function|tool|tool_call|function_call)[\"']?\s*:\s*(?:\{{|{quoted})"
        r"|tool_calls[\"']?\s*:\s*\["
        r"|type[\"']?\s*:\s*[\"'](?:function|tool_call|tool_use)[\"']"
        r"|id[\"']?\s*:\s*[\"']call)"
    )
    json = rf"(?:\[\s*)?{item}"
    python = rf"(?:\[\s*)?(?:{known})\("
    stranger = (
        r"(?:\[\s*)?\{\s*[\"']?name[\"']?\s*:\s*"
        rf"[\"']{ANY_NAME}[\"']\s*,\s*[\"']?(?:arguments|parameters)[\"']?\s*:\s*\{{"
    )
    printed = rf"(?:print\()?(?:default_api\.)?{python}"
    fenced = rf"{FENCE}(?:{json}|{_MARKED})|```[ \t]*tool_code\s*{printed}"
    after_lead = f"{json}|{fenced}|{_MARKED}"
    return Openers(
        at_start=regex.compile(f"{after_lead}|{python}|(?:{FENCE})?{stranger}"),
        stranger=regex.compile(f"(?:{FENCE})?{stranger}"),
        after_lead=regex.compile(after_lead),
        at_line=regex.compile(_MARKED),
        inline=regex.compile(_INLINE),
    )
