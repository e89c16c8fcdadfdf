"""How long work reports its progress: one protocol, and the silent form of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """Shows long work. Implementations must accept calls from any thread."""

    def step(
        self, label: str, total: int | None = None, done: int = 0, unit: str = "bytes"
    ) -> AbstractContextManager[Callable[[int], None]]:
        """Open a line for one step; call the result with each amount that was done.

        Args:
            label: what is being done, such as ``Downloading qwen2.5-coder-0.5b``.
            total: the whole amount in ``unit``, or ``None`` for a spinner.
            done: what is already there (a resumed download).
        """
        ...


class SilentProgress:
    """Shows nothing."""

    @contextmanager
    def step(
        self, label: str, total: int | None = None, done: int = 0, unit: str = "bytes"
    ) -> Iterator[Callable[[int], None]]:
        yield lambda amount: None
