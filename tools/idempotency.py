"""The idempotency key of a tool call: the same each time the same call is made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_key: ContextVar[str | None] = ContextVar("rolecall_idempotency_key", default=None)


def idempotency_key() -> str:
    """The key of the tool call that is running, 32 hexadecimal digits.

    It is the same when the call is made again after a crash, and another for every other call.
    Give it to a service that takes such keys, or write it beside what the tool does, and a second
    call does no harm:

        def pay(amount: float) -> str:
            headers = {"Idempotency-Key": idempotency_key()}
            return requests.post(URL, json={"amount": amount}, headers=headers).text

    A tool that takes a ``RunnableConfig`` finds it in ``config["configurable"]`` as well.

    Raises:
        RuntimeError: no tool call is running.
    """
    key = _key.get()
    if key is None:
        raise RuntimeError("idempotency_key() is for tools: no tool call is running here")
    return key


def key_of(call: str) -> str:
    """The key for what names a call."""
    return hashlib.blake2b(call.encode(), digest_size=16).hexdigest()


@contextmanager
def running(key: str) -> Iterator[None]:
    """What runs inside is the call with this key; threads need a copy of the context."""
    token = _key.set(key)
    try:
        yield
    finally:
        _key.reset(token)
