"""The body of a step: what a checkpoint holds, with its larger values as references to parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import BaseMessage
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.serde.base import SerializerProtocol

from rolecall.threads.saver.encoding import compressed, digest, numbers_of, pack, ranges, unpack
from rolecall.threads.saver.serializer import NotDecodable

_INLINE_BYTES = 192
_SHORT = 128
_BESIDE = frozenset({"id", "ts", "channel_values"})  # in columns of their own, or split up

Reference = int | list[int]
"""One part's number, or those of a list of messages."""


@dataclass
class Part:
    """A value stored once in its line."""

    digest: bytes
    kind: str
    packed: bytes

    def stored(self) -> tuple[str, bytes]:
        """Its kind and bytes, as they are stored."""
        return compressed(self.kind, self.packed)


@dataclass
class Values:
    """A checkpoint's channel values, split up."""

    plain: dict[str, Any] = field(default_factory=dict)
    small: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    references: dict[str, Reference] = field(default_factory=dict)
    new: dict[str, Part | list[Part]] = field(default_factory=dict)


def split(
    serde: SerializerProtocol, values: Mapping[str, Any], known: Mapping[str, Reference]
) -> Values:
    """Split values up; those in ``known`` have their references already."""
    out = Values()
    for channel, value in values.items():
        if channel in known:
            out.references[channel] = known[channel]
        elif (
            value is None
            or isinstance(value, bool | int | float)
            or (type(value) is str and len(value) < _SHORT)
        ):
            out.plain[channel] = value
        elif _is_messages(value):
            out.new[channel] = [_part(*serde.dumps_typed(message)) for message in value]
        else:
            kind, packed = serde.dumps_typed(value)
            if len(packed) <= _INLINE_BYTES:
                out.small[channel] = (kind, packed)
            else:
                out.new[channel] = _part(kind, packed)
    return out


def pack_body(
    serde: SerializerProtocol, checkpoint: Checkpoint, values: Values
) -> tuple[str, bytes]:
    """A step's kind and bytes; every value has its reference by now."""
    ones = {c: r for c, r in values.references.items() if isinstance(r, int)}
    lists = {c: ranges(r) for c, r in values.references.items() if not isinstance(r, int)}
    rest = {key: value for key, value in checkpoint.items() if key not in _BESIDE}
    return pack(serde, [rest, values.plain, values.small, ones, lists])


@dataclass
class Body:
    """A step's body, unpacked as far as its references."""

    rest: dict[str, Any]
    plain: dict[str, Any]
    small: dict[str, tuple[str, bytes]]
    ones: dict[str, int]
    lists: dict[str, list[int]]

    def references(self) -> dict[str, Reference]:
        """Per channel."""
        return {**self.ones, **self.lists}

    def parts(self) -> set[int]:
        """The numbers of all parts that it refers to."""
        return set(self.ones.values()).union(*self.lists.values())

    def values(self, serde: SerializerProtocol, parts: Mapping[int, Any]) -> dict[str, Any]:
        """The channel values.

        Raises:
            NotDecodable: a part is missing, or a value cannot be rebuilt.
        """
        try:
            return {
                **self.plain,
                **{c: unpack(serde, kind, packed) for c, (kind, packed) in self.small.items()},
                **{c: parts[number] for c, number in self.ones.items()},
                **{c: [parts[n] for n in numbers] for c, numbers in self.lists.items()},
            }
        except KeyError as error:
            raise NotDecodable(f"part {error} is missing") from error


def unpack_body(serde: SerializerProtocol, kind: str, packed: bytes) -> Body:
    """A step's body.

    Raises:
        NotDecodable: the bytes are damaged or were written by another serializer.
    """
    found = unpack(serde, kind, packed)
    try:
        rest, plain, small, ones, lists = found
        return Body(rest, plain, small, ones, {c: numbers_of(runs) for c, runs in lists.items()})
    except (TypeError, ValueError, AttributeError) as error:
        raise NotDecodable(f"this is no step: {error}") from error


def digests(parts: Iterable[Part | list[Part]]) -> set[bytes]:
    """The digests of new parts."""
    return {
        part.digest for group in parts for part in (group if isinstance(group, list) else (group,))
    }


def _is_messages(value: Any) -> bool:
    return type(value) is list and bool(value) and all(isinstance(m, BaseMessage) for m in value)


def _part(kind: str, packed: bytes) -> Part:
    return Part(digest(kind, packed), kind, packed)
