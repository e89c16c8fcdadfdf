"""What threads cost: one turn, 50 at once, one long thread, several processes on one home."""

from __future__ import annotations

import importlib
import sys

_PARTS = ("turn", "thread_cost", "processes")


def main() -> None:
    """Print every figure beside its target; takes about ten minutes."""
    for name in _PARTS:
        print(f"\n--- {name} ---", flush=True)
        sys.argv[1:] = []  # each part has options of its own, for when it runs alone
        importlib.import_module(f"benchmarks.{name}").main()
