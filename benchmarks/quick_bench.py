"""How long ``rolecall bench --quick`` takes on the embedded stack, and whether it repeats itself.

Runs twice, in a home of its own with the weights of yours. ``--stack NAME`` takes another stack.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import temporary_home, verdict
from rolecall.home import home

_MOST_S = 300.0


def main() -> None:
    """Print both times, the scores, and how many answers were the same."""
    parser = argparse.ArgumentParser(prog="quick_bench")
    parser.add_argument("--stack", default="embedded")
    stack = parser.parse_args().stack
    weights = home() / "models"
    with temporary_home() as folder:
        if weights.is_dir():
            Path(folder, "models").symlink_to(weights)
        try:
            first, second = _run(stack), _run(stack)
        finally:
            _rolecall("models", "stop")
    for name, (took, body) in (("first", first), ("second", second)):
        asked = sum(row["cases"] for row in body["rows"])
        told = sum(row["output_tokens"] for row in body["rows"])
        read = sum(row["input_tokens"] for row in body["rows"])
        print(
            f"{name} run: {took:.0f} s for {asked} cases, {read:,} tokens read, {told:,} written  "
            f"{verdict(took, _MOST_S)}"
        )
    for row in second[1]["rows"]:
        if row["score"] is not None:
            low, high = row["interval"]
            score = f"{row['score']:5.0%}  [{low:.0%}, {high:.0%}]"
            print(f"  {row['role']:<10} {row['suite']:<13} {score}  {row['seconds']:.0f} s")
    for line in second[1]["verdicts"]:
        print(f"  {line['role']}: {line['verdict']} ({line['why']})")
    repeat = second[1]["repeat"]
    same, pairs = repeat["identical"], repeat["pairs"]
    print(f"identical answers: {same} of {pairs}  {verdict(same / pairs, 1.0, at_most=False)}")
    for row in repeat["different"]:
        print(f"  differs: {row['suite']} {row['case_id']}")


def _run(stack: str) -> tuple[float, dict[str, Any]]:
    started = time.perf_counter()
    out = _rolecall("bench", "--quick", "--stack", stack, "--json")
    return time.perf_counter() - started, json.loads(out)


def _rolecall(*arguments: str) -> str:
    command = [str(Path(sys.executable).with_name("rolecall")), *arguments]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    return done.stdout


if __name__ == "__main__":
    main()
