"""Bytes of parts and steps: LangGraph's serialisation, compressed where that pays.

A small text compresses badly alone, because what all messages have in common makes up much of it:
that is given to zlib as a preset dictionary (RFC 1950, section 2.2). The dictionary is part of
the format and never changes; another one would get another mark.
"""

from __future__ import annotations

import json
import zlib
from hashlib import blake2b
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

from rolecall.threads.saver.serializer import NotDecodable

_MARK = "/z1"
_LEVEL = 3
_WORTH_BYTES = 64
_RAW = -15

_DICTIONARY = (
    b"__pregel_tasks\xa8metadata\xa4data\xa6action\xa6result\xa6status\xa7success\xa5error"
    b"\xb0langchain_core.messages.tool\xabToolMessage\xactool_call_id\xa8artifact\xc0"
    b"\xaatool_calls\x90\xb2invalid_tool_calls\x90\xa4args\xa4name\xa2id\xa4type\xa9tool_call"
    b"input_token_details\x80\xb4output_token_details\x80\xa9reasoning\xaacache_read"
    b"routing_decision\xa8DELEGATE\xa6HANDLE\xactarget_model\xa9REASONING\xa6CODING"
    b"\xaaconfidence\xcb?\xf0\x00\x00\x00\x00\x00\x00\xa6reason\xb2chosen by the user"
    b"\xa4role\xa5router\xa9reasoning\xa6coding\xa6answer\xadfinish_reason\xa4stop\xa6length"
    b"\xa7turn_id\xa8trace_id\xa8question\xaastarted_at\xa8decision\xa8strategy\xa5fixed"
    b"\xa6hybrid\xa7encoder\xa3llm\xa7speaker\xabtool_rounds\xa8active_s\xa7summary"
    b"channel_versions\xadversions_seen\xb0updated_channels\xa1v\x04"
    b"__input__\x80\xa9__start__\x81\xa9__start__\x01\xa4init\x81\xaebranch:to:init"
    b"\x81\xb0branch:to:router\x81\xb0branch:to:answer\x81\xb3branch:to:reasoning"
    b"\x81\xb0branch:to:coding\x81\xb5branch:to:tool_runner\x81\xb3branch:to:synthesis"
    b"\xa8messages\xbdlangchain_core.messages.human\xacHumanMessage\x86\xa7content"
    b"\xb1additional_kwargs\x80\xb1response_metadata\x80\xa4type\xa5human\xa4name\xc0"
    b"\xa2id\xd9)question-\xb3model_validate_json"
    b"\xbalangchain_core.messages.ai\xa9AIMessage\x89\xa7content\xb1additional_kwargs\x80"
    b"\xb1reasoning_content\xb1response_metadata\x83\xaamodel_name\xaemodel_provider"
    b"\xa6openai\xadfinish_reason\xa4stop\xa4type\xa2ai\xa4name\xc0\xa2id\xd9*lc_run--"
    b"\xaatool_calls\x90\xb2invalid_tool_calls\x90\xaeusage_metadata\x83\xacinput_tokens"
    b"\xadoutput_tokens\xactotal_tokens\xb3model_validate_json"
)


def pack(serde: SerializerProtocol, value: Any) -> tuple[str, bytes]:
    """A value's kind and bytes, as they are stored."""
    kind, packed = serde.dumps_typed(value)
    return compressed(kind, packed)


def unpack(serde: SerializerProtocol, kind: str, body: bytes) -> Any:
    """The value.

    Raises:
        NotDecodable: the bytes do not give it back.
    """
    kind, packed = plain(kind, body)
    try:
        return serde.loads_typed((kind, packed))
    except NotDecodable:
        raise
    except Exception as error:  # a serializer of the user's own
        raise NotDecodable(str(error)) from error


def metadata_of(text: Any) -> dict[str, Any]:
    """A step's metadata.

    Raises:
        NotDecodable: the text is damaged.
    """
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise NotDecodable(f"damaged metadata: {error}") from error
    if not isinstance(found, dict):
        raise NotDecodable("damaged metadata: not an object")
    return found


def readable_metadata(text: Any) -> dict[str, Any]:
    """A step's metadata; nothing where it is damaged."""
    try:
        return metadata_of(text)
    except NotDecodable:
        return {}


def compressed(kind: str, packed: bytes) -> tuple[str, bytes]:
    """The smaller of the bytes as they are and compressed."""
    if len(packed) < _WORTH_BYTES:
        return kind, packed
    work = zlib.compressobj(_LEVEL, wbits=_RAW, zdict=_DICTIONARY)
    smaller = work.compress(packed) + work.flush()
    return (kind + _MARK, smaller) if len(smaller) < len(packed) else (kind, packed)


def plain(kind: str, body: bytes) -> tuple[str, bytes]:
    """What :func:`compressed` was given.

    Raises:
        NotDecodable: the bytes are damaged.
    """
    if not isinstance(kind, str) or not isinstance(body, bytes):
        raise NotDecodable("a value is not of the type it was saved with")
    if not kind.endswith(_MARK):
        return kind, body
    work = zlib.decompressobj(wbits=_RAW, zdict=_DICTIONARY)
    try:
        packed = work.decompress(body)
    except zlib.error as error:
        raise NotDecodable(f"damaged compressed data: {error}") from error
    if not work.eof:
        raise NotDecodable("compressed data is cut off")
    return kind.removesuffix(_MARK), packed


def digest(kind: str, packed: bytes) -> bytes:
    """What identifies a part in its line: 16 bytes of BLAKE2b over kind and bytes."""
    return blake2b(packed, digest_size=16, person=kind.encode()[:16]).digest()


def ranges(numbers: list[int]) -> list[int]:
    """Numbers as runs: start, length, start, length, …"""
    runs: list[int] = []
    for number in numbers:
        if runs and number == runs[-2] + runs[-1]:
            runs[-1] += 1
        else:
            runs += (number, 1)
    return runs


def numbers_of(runs: list[int]) -> list[int]:
    """What :func:`ranges` was given."""
    return [
        number
        for start, length in zip(runs[::2], runs[1::2], strict=True)
        for number in range(start, start + length)
    ]
