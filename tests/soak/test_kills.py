"""Two hundred kills at random moments: nothing accepted is lost, paid twice or done twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]


def test_two_hundred_kills_lose_and_repeat_nothing() -> None:
    command = [sys.executable, "-m", "benchmarks", "kills", "--times", "200"]
    if seed := os.environ.get("SEED"):
        command += ["--seed", seed]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
