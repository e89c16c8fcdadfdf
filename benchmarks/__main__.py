"""``make bench``: every benchmark, one after the other; names on the command line pick some."""

from __future__ import annotations

import importlib
import sys

NAMES = ("startup", "turn", "first_token", "second_ask", "router", "escalation")


def main() -> None:
    """Run the benchmarks that are named, or all."""
    for name in sys.argv[1:] or NAMES:
        print(f"\n=== {name} ===", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main()
