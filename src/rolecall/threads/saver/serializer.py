"""Reading back what was saved: strictly. What cannot be rebuilt is an error, never a guess.

LangGraph's own decoder hands out raw data, or ``None``, where a type is not allowed or cannot
be rebuilt. The bytes written here are the same as LangGraph's.
"""

from __future__ import annotations

import importlib
import threading
from typing import Any

import ormsgpack
from langgraph.checkpoint.serde._msgpack import SAFE_MSGPACK_METHODS, SAFE_MSGPACK_TYPES
from langgraph.checkpoint.serde.jsonplus import (
    EXT_CONSTRUCTOR_KW_ARGS,
    EXT_CONSTRUCTOR_POS_ARGS,
    EXT_CONSTRUCTOR_SINGLE_ARG,
    EXT_DELTA_SNAPSHOT,
    EXT_METHOD_SINGLE_ARG,
    EXT_PYDANTIC_V1,
    EXT_PYDANTIC_V2,
    JsonPlusSerializer,
)
from langgraph.types import Send


class NotDecodable(ValueError):
    """Saved bytes do not give back what was saved; the message says why."""


class StrictSerializer(JsonPlusSerializer):
    """LangGraph's serializer, which decodes allowed types or fails.

    Raises (from ``loads_typed``):
        NotDecodable: a type is not allowed or cannot be rebuilt, or the bytes are damaged.
    """

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The object that ``dumps_typed`` was given."""
        kind, packed = data
        _seen.problem = None
        try:
            if kind != "msgpack":
                return super().loads_typed(data)
            return self._unpack(packed)
        except Exception as error:  # the decoder does not pass on why a type was refused
            problem = _seen.problem or f"damaged {kind} data: {error}"
            raise NotDecodable(problem) from error

    def _unpack(self, packed: bytes) -> Any:
        return ormsgpack.unpackb(packed, ext_hook=self._rebuild, option=ormsgpack.OPT_NON_STR_KEYS)

    def _rebuild(self, code: int, packed: bytes) -> Any:
        try:
            return self._build(code, packed)
        except NotDecodable as error:
            _seen.problem = _seen.problem or str(error)
            raise

    def _build(self, code: int, packed: bytes) -> Any:
        if code not in _NAMED:
            if code == EXT_DELTA_SNAPSHOT or (value := self._unpack_ext_hook(code, packed)) is None:
                return self._unnamed(code, packed)
            return value
        module, name, given, *rest = self._unpack(packed)
        if code == EXT_METHOD_SINGLE_ARG:
            if (module, name, rest[0]) not in SAFE_MSGPACK_METHODS:
                raise NotDecodable(f"{module}.{name}.{rest[0]} may not be called")
            return getattr(_type(module, name), rest[0])(given)
        if not self._allows(module, name):
            raise NotDecodable(
                f"{module}.{name} is not among the types that may be decoded "
                "(allowed_msgpack_modules of the serializer)"
            )
        try:
            return _build(code, _type(module, name), given)
        except Exception as error:
            raise NotDecodable(f"{module}.{name} cannot be rebuilt: {error}") from error

    def _unnamed(self, code: int, packed: bytes) -> Any:
        if code == EXT_DELTA_SNAPSHOT:
            from langgraph.checkpoint.serde.types import _DeltaSnapshot

            return _DeltaSnapshot(self._unpack(packed))
        raise NotDecodable(f"extension type {code} cannot be rebuilt")

    def _allows(self, module: str, name: str) -> bool:
        allowed = self._allowed_msgpack_modules
        if (module, name) in SAFE_MSGPACK_TYPES or allowed is True:
            return True
        return bool(allowed) and (module, name) in (allowed or ())


_seen = threading.local()

_NAMED = frozenset(
    {
        EXT_CONSTRUCTOR_SINGLE_ARG,
        EXT_CONSTRUCTOR_POS_ARGS,
        EXT_CONSTRUCTOR_KW_ARGS,
        EXT_METHOD_SINGLE_ARG,
        EXT_PYDANTIC_V1,
        EXT_PYDANTIC_V2,
    }
)


def _type(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _build(code: int, kind: Any, given: Any) -> Any:
    if code == EXT_CONSTRUCTOR_SINGLE_ARG:
        return kind(given)
    if code == EXT_CONSTRUCTOR_POS_ARGS:
        if kind is Send and len(given) > 2:
            return Send(given[0], given[1], timeout=given[2])
        return kind(*given)
    if code == EXT_CONSTRUCTOR_KW_ARGS:
        return kind(**given)
    try:
        return kind(**given)
    except Exception:  # a model whose rules have grown stricter since: as LangGraph does
        construct = kind.construct if code == EXT_PYDANTIC_V1 else kind.model_construct
        return construct(**given)
