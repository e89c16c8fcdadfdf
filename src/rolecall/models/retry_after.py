"""``Retry-After``: when a server that is busy wants to be asked again (RFC 9110, 10.2.3)."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpx

_SECONDS = re.compile(r"\d{1,15}(?:\.\d{1,15})?", re.ASCII)


def retry_after(value: str, now: float | None = None) -> float | None:
    """Seconds to wait, 0 or more; ``None`` when the value is none of the two forms.

    Args:
        value: a number of seconds (some servers send a fraction) or an HTTP date.
        now: Unix seconds.
    """
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        at = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    wait = at - (time.time() if now is None else now)
    return max(0.0, wait) if math.isfinite(wait) else None


def retry_after_of(error: BaseException) -> float | None:
    """What the response behind an error says, whichever library wrapped it."""
    for one in _behind(error):
        response = getattr(one, "response", None)
        if isinstance(response, httpx.Response):
            value = response.headers.get("Retry-After")
            return None if value is None else retry_after(value)
    return None


def _behind(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from; Ollama's client hides its cause with ``from None``."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
