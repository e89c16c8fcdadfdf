"""Tool calls behind a marker of a chat template, such as ``<tool_call>`` or ``[TOOL_CALLS]``."""

from __future__ import annotations

import re
from collections.abc import Callable

from rolecall.models.text.call_openers import (
    ANY_NAME,
    FUNCTION,
    HARMONY,
    LLAMA,
    LLAMA_TAG,
    MISTRAL,
    NAME,
    TAG,
)
from rolecall.models.text.call_shapes import TextCall, Tools, bare_name, calls_from, named_call
from rolecall.models.text.loose_json import read_value
from rolecall.models.text.python_calls import python_calls

Found = tuple[list[TextCall], int]
"""The calls, and where in the text they end."""

_TAG = re.compile(TAG)
_TAG_HEAD = re.compile(r"<(\w+)>\s*(?:```(?:json|xml)?\s*)?(?:<tool_call>\s*)?")
_TAG_END = re.compile(r"(?:\s*```)?(?:\s*</(?:tool_calls?|tools|function_calls?)>)*")
_FUNCTION = re.compile(FUNCTION)
_FUNCTION_HEAD = re.compile(rf"<\w+(?:=|\s+name=)[\"']?({ANY_NAME})[\"']?\s*>\s*")
_FUNCTION_END = re.compile(r"\s*</(?:function|invoke)>")
_PARAMETER = re.compile(
    r"\s*<parameter(?:=|\s+name=)[\"']?([\w.\-]+)[\"']?[^>\n]*>(.*?)"
    r"(?:</parameter>|(?=<parameter[= ]|</(?:function|invoke|tool_call)>))",
    re.DOTALL,
)
_GLM_HEAD = re.compile(rf"({ANY_NAME})\s*(?=<arg_key>)")
_GLM_KEY = re.compile(r"\s*<arg_key>([^<]{1,200})</arg_key>\s*<arg_value>")
_GLM_VALUE_END = "</arg_value>"
_NAME = re.compile(NAME)
_NAME_HEAD = re.compile(rf"<name>\s*({ANY_NAME})\s*</name>\s*<(?:arguments|parameters)>\s*")
_NAME_END = re.compile(r"\s*</(?:arguments|parameters)>")
_MISTRAL = re.compile(MISTRAL)
_MISTRAL_HEAD = re.compile(
    rf"\[TOOL_CALLS\]\s*(?:({ANY_NAME})(?:\[CALL_ID\]\w{{1,64}})?(?:\[ARGS\])?\s*)?"
)
_LLAMA = re.compile(LLAMA)
_LLAMA_HEAD = re.compile(rf"{LLAMA_TAG}\s*")
_LLAMA_END = re.compile(
    r"\s*<\|(?:eom_id|eot_id|end_of_text|/tool_call|tool_call_end|END_ACTION)\|>"
)
_BETWEEN = re.compile(r"[\s,;]*(?=[\[{])")
_HARMONY = re.compile(HARMONY)
_HARMONY_TO = re.compile(rf"to=({ANY_NAME})")
_HARMONY_END = re.compile(r"\s*<\|(?:call|end)\|>")


def read_marked(text: str, at: int, tools: Tools, *, known_only: bool = False) -> Found | None:
    """The calls behind the marker at ``text[at]``, if it is one and calls stand behind it."""
    for opener, read in _FORMS:
        if opener.match(text, at):
            found = read(text, at, tools)
            if found is None or (known_only and any(c.name not in tools for c in found[0])):
                return None
            return found
    return None


def read_objects(
    text: str, at: int, tools: Tools, *, known_only: bool, stop: int | None = None
) -> Found | None:
    """Calls as JSON at ``text[at]``: an object, a list, or several one after another."""
    calls: list[TextCall] = []
    end = at
    while (value := read_value(text, at, stop)) is not None:
        found = calls_from(value[0], tools, known_only=known_only)
        if found is None:
            break
        calls += found
        end = value[1]
        between = _BETWEEN.match(text, end)
        if between is None:
            break
        at = between.end()
    return (calls, end) if calls else None


def _read_tag(text: str, at: int, tools: Tools) -> Found | None:
    head = _TAG_HEAD.match(text, at)
    if head is None:
        return None
    body = head.end()
    closer = text.find(f"</{head[1]}>", body)
    found = (
        read_objects(text, body, tools, known_only=False, stop=None if closer < 0 else closer)
        or _read_function(text, body, tools)
        or _read_name(text, body, tools)
        or _read_glm(text, body, tools)
    )
    return None if found is None else (found[0], _after(_TAG_END, text, found[1]))


def _read_function(text: str, at: int, tools: Tools) -> Found | None:
    head = _FUNCTION_HEAD.match(text, at)
    if head is None:
        return None
    name, position = bare_name(head[1]), head.end()
    arguments: object = None
    if text[position : position + 1] == "{":
        closer = text.find("</", position)
        value = read_value(text, position, None if closer < 0 else closer)
        if value is None:
            return None
        arguments, position = value
        end = _after(_FUNCTION_END, text, position)
    else:
        pairs: dict[str, object] = {}
        while (pair := _PARAMETER.match(text, position)) is not None:
            pairs[pair[1]] = _typed(_unpadded(pair[2]), tools, name, pair[1])
            position = pair.end()
        end = _after(_FUNCTION_END, text, position)
        if end == position and not pairs:
            return None
        arguments = pairs or None
    call = named_call(name, arguments, tools)
    return None if call is None else ([call], _after(_TAG_END, text, end))


def _read_glm(text: str, at: int, tools: Tools) -> Found | None:
    head = _GLM_HEAD.match(text, at)
    if head is None:
        return None
    name, position = bare_name(head[1]), head.end()
    pairs: dict[str, object] = {}
    while (key := _GLM_KEY.match(text, position)) is not None:
        end = text.find(_GLM_VALUE_END, key.end())
        if end < 0:
            break
        value = text[key.end() : end].strip()
        pairs[key[1].strip()] = _typed(value, tools, name, key[1].strip())
        position = end + len(_GLM_VALUE_END)
    return ([TextCall(name, pairs)], position) if pairs else None


def _read_name(text: str, at: int, tools: Tools) -> Found | None:
    head = _NAME_HEAD.match(text, at)
    if head is None:
        return None
    closer = text.find("</", head.end())
    value = read_value(text, head.end(), None if closer < 0 else closer)
    call = None if value is None else named_call(bare_name(head[1]), value[0], tools)
    if value is None or call is None:
        return None
    return [call], _after(_NAME_END, text, value[1])


def _read_mistral(text: str, at: int, tools: Tools) -> Found | None:
    head = _MISTRAL_HEAD.match(text, at)
    if head is None:
        return None
    if head[1] is None:
        return read_objects(text, head.end(), tools, known_only=False)
    value = read_value(text, head.end())
    call = None if value is None else named_call(bare_name(head[1]), value[0], tools)
    return None if value is None or call is None else ([call], value[1])


def _read_llama(text: str, at: int, tools: Tools) -> Found | None:
    head = _LLAMA_HEAD.match(text, at)
    if head is None:
        return None
    found = read_objects(text, head.end(), tools, known_only=False)
    if found is None:
        end_of_turn = _LLAMA_END.search(text, head.end())
        stop = len(text) if end_of_turn is None else end_of_turn.start()
        calls = python_calls(text[head.end() : stop], tools, known_only=False)
        found = (calls, stop) if calls else None
    return None if found is None else (found[0], _after(_LLAMA_END, text, found[1]))


def _read_harmony(text: str, at: int, tools: Tools) -> Found | None:
    head = _HARMONY.match(text, at)
    to = None if head is None else _HARMONY_TO.search(head[0])
    if head is None or to is None:
        return None
    value = read_value(text, head.end())
    call = None if value is None else named_call(bare_name(to[1]), value[0], tools)
    return None if value is None or call is None else ([call], _after(_HARMONY_END, text, value[1]))


_FORMS: tuple[tuple[re.Pattern[str], Callable[[str, int, Tools], Found | None]], ...] = (
    (_TAG, _read_tag),
    (_FUNCTION, _read_function),
    (_NAME, _read_name),
    (_MISTRAL, _read_mistral),
    (_LLAMA, _read_llama),
    (_HARMONY, _read_harmony),
)


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return at if found is None else found.end()


def _unpadded(value: str) -> str:
    """Without the one line break that Qwen-Coder's template puts on either side."""
    return value.removeprefix("\n").removesuffix("\n")


def _typed(value: str, tools: Tools, name: str, parameter: str) -> object:
    """XML has no types: the parameter's schema says whether the text is JSON."""
    schema = tools.get(name, {}).get("properties", {}).get(parameter, {})
    if schema.get("type", "string") == "string":
        return value
    decoded = read_value(f"[{value.strip()}]")
    items = None if decoded is None else decoded[0]
    return items[0] if isinstance(items, list) and len(items) == 1 else value
