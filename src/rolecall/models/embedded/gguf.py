"""The few numbers of a GGUF file that decide how much memory it takes.

Source: the GGUF specification (ggml-org/ggml, docs/gguf.md), versions 2 and 3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAGIC = b"GGUF"
_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i",
    6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_MAX_STRING = 1 << 24
_FALLBACK_KV_BYTES_PER_TOKEN = 128 * 1024
_NEEDED = (
    "block_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.head_count",
    "embedding_length",
)

Value = int | float | bool | str | list["Value"]


@dataclass(frozen=True)
class Shape:
    """The dimensions of the key-value cache; lengths are elements per head."""

    layers: int
    kv_heads: int
    key_length: int
    value_length: int

    def kv_bytes(self, tokens: int) -> int:
        """Size of a 16-bit key-value cache, in bytes."""
        return tokens * self.layers * self.kv_heads * (self.key_length + self.value_length) * 2


def looks_like_gguf(path: Path) -> bool:
    """Whether the file starts as a GGUF file does."""
    try:
        with path.open("rb") as file:
            return file.read(4) == MAGIC
    except OSError:
        return False


def kv_cache_bytes(path: Path, tokens: int) -> int:
    """Size of the key-value cache for ``tokens``, in bytes; 128 KiB a token if unreadable."""
    try:
        return read_shape(path).kv_bytes(tokens)
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return tokens * _FALLBACK_KV_BYTES_PER_TOKEN


def read_shape(path: Path) -> Shape:
    """Read the dimensions from the file's metadata.

    Raises:
        ValueError, KeyError, struct.error: not GGUF, or a key is missing.
    """
    with path.open("rb") as file:
        values = _metadata(file)
    heads = _largest(values["attention.head_count"])
    kv_heads = _largest(values.get("attention.head_count_kv", heads))
    default_length = _largest(values["embedding_length"]) // max(1, heads)
    return Shape(
        layers=_largest(values["block_count"]),
        kv_heads=kv_heads,
        key_length=_largest(values.get("attention.key_length", default_length)),
        value_length=_largest(values.get("attention.value_length", default_length)),
    )


def _metadata(file: BinaryIO) -> dict[str, Value]:
    """Needed keys without their architecture prefix; stops before the tokenizer's long lists."""
    if file.read(4) != MAGIC:
        raise ValueError("not a GGUF file")
    _version, _tensors, pairs = struct.unpack("<IQQ", file.read(20))
    found: dict[str, Value] = {}
    for _ in range(pairs):
        key = _string(file)
        if key.startswith("tokenizer.") and found:
            break
        value = _value(file, _number(file, "<I"))
        name = key.partition(".")[2]
        if name in _NEEDED:
            found[name] = value
    return found


def _value(file: BinaryIO, kind: int) -> Value:
    if kind == _STRING:
        return _string(file)
    if kind == _ARRAY:
        item, count = struct.unpack("<IQ", file.read(12))
        return [_value(file, item) for _ in range(count)]
    if kind not in _SCALARS:
        raise ValueError(f"unknown GGUF value type {kind}")
    return _number(file, _SCALARS[kind])


def _string(file: BinaryIO) -> str:
    length = _number(file, "<Q")
    if length > _MAX_STRING:
        raise ValueError("a GGUF string is longer than the file can hold")
    return file.read(length).decode("utf-8", "replace")


def _number(file: BinaryIO, form: str) -> int:
    (number,) = struct.unpack(form, file.read(struct.calcsize(form)))
    return number  # type: ignore[no-any-return]


def _largest(value: Value) -> int:
    """Some models give one number per layer; the largest is the safe one."""
    if isinstance(value, list):
        return max((_largest(item) for item in value), default=0)
    return int(value)
