"""``make bench``: every benchmark, one after the other; names on the command line pick some.

Options behind the names go to the benchmark: ``python -m benchmarks tool_calls --cases 50``.
"""

from __future__ import annotations

import importlib
import sys
from itertools import takewhile

NAMES = (
    "startup",
    "threads",
    "first_token",
    "second_ask",
    "router",
    "escalation",
    "memory",
    "tool_calls",
    "structured",
    "doctor",
    "quick_bench",
    "client_overhead",
    "telemetry",
    "kills",
)


def main() -> None:
    """Run the benchmarks that are named, or all."""
    names = list(takewhile(lambda word: not word.startswith("-"), sys.argv[1:]))
    sys.argv[1:] = sys.argv[1 + len(names) :]  # what is left is the benchmark's
    for name in names or NAMES:
        print(f"\n=== {name} ===", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
