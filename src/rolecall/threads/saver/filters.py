"""Filters on a checkpoint's metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rolecall.threads.saver.encoding import readable_metadata

_KEY = re.compile(r"[A-Za-z0-9_.-]+")


def check_filter(filter: Mapping[str, Any] | None) -> None:  # noqa: A002 - LangGraph's name
    """Refuse keys that no metadata can have.

    Raises:
        ValueError: a key is more than letters, digits, ``.``, ``_`` and ``-``.
    """
    for key in filter or ():
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} cannot be a key of a checkpoint's metadata")


def matches(metadata_json: str, filter: Mapping[str, Any] | None) -> bool:  # noqa: A002 - LangGraph's name
    """Whether metadata holds all that a filter names; a dotted key looks inside."""
    if not filter:
        return True
    metadata = readable_metadata(metadata_json)
    return all(_dig(metadata, key) == value for key, value in filter.items())


def _dig(metadata: Any, key: str) -> Any:
    if isinstance(metadata, dict) and key in metadata:
        return metadata[key]
    head, dot, rest = key.partition(".")
    return _dig(metadata.get(head), rest) if dot and isinstance(metadata, dict) else None
