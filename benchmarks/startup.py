"""How long the command takes to say anything: ``rolecall --help`` against ``import typer``."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measure import p50, verdict

_RUNS = 15
_HEAVY = ("langgraph", "openai", "xllamacpp", "langchain_core")


def main() -> None:
    """Print the ratio and what ``import rolecall`` imports."""
    rolecall = str(Path(sys.executable).with_name("rolecall"))
    commands = {
        "import typer": [sys.executable, "-c", "import typer"],
        "rolecall --help": [rolecall, "--help"],
        "import rolecall": [sys.executable, "-c", "import rolecall"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(_RUNS):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times[name].append(time.perf_counter() - started)
    for name, values in times.items():
        print(f"{name:18} p50 {p50(values) * 1000:6.0f} ms")
    ratio = p50(times["rolecall --help"]) / p50(times["import typer"])
    print(f"rolecall --help / import typer = {ratio:.2f}  {verdict(ratio, 3.0)}")
    script = f"import rolecall, sys; print([m for m in {_HEAVY} if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout.strip()
    print(f"heavy modules that import rolecall brings: {found} (target [])")
