"""What the benchmarks share: percentiles and a home of their own."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from scipy.stats import binomtest


def p50(values: list[float]) -> float:
    """The median."""
    return statistics.median(values)


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return sorted(values)[min(len(values) - 1, int(len(values) * 0.95))]


def verdict(value: float, bound: float, *, at_most: bool = True) -> str:
    """Whether a ratio keeps its bound."""
    kept = value <= bound if at_most else value >= bound
    return f"{'ok' if kept else 'MISSED'} (target {'≤' if at_most else '≥'} {bound})"


def share(count: int, of: int) -> str:
    """A share in percent with its 95 % interval (Wilson 1927)."""
    if not of:
        return "none"
    low, high = binomtest(count, of).proportion_ci(method="wilson")
    return f"{count / of:6.1%}  [{low:.1%}, {high:.1%}]  ({count} of {of})"


@contextmanager
def temporary_home() -> Iterator[str]:
    """An empty ``ROLECALL_HOME``."""
    before = os.environ.get("ROLECALL_HOME")
    with tempfile.TemporaryDirectory() as home:
        os.environ["ROLECALL_HOME"] = home
        try:
            yield home
        finally:
            if before is None:
                del os.environ["ROLECALL_HOME"]
            else:
                os.environ["ROLECALL_HOME"] = before
