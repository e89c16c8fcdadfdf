"""The second ``ask`` starts no model; an idle server leaves no process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from rolecall.models.embedded.runner import EmbeddedRunner

_MODEL = "qwen2.5-coder-0.5b"
_IDLE_S = 5


def main() -> None:
    """Print process ids before and after, and the time until an idle server is gone."""
    runner = EmbeddedRunner()
    runner.stop(_MODEL)
    environment = {**os.environ, "ROLECALL_IDLE_S": str(_IDLE_S)}
    command = [str(Path(sys.executable).with_name("rolecall")), "ask", "hi", "--role", "router"]
    pids, times = [], []
    for _ in range(2):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=environment)
        times.append(time.perf_counter() - started)
        pids.append([s.pid for s in runner.running() if s.model == _MODEL])
    same = pids[0] == pids[1] and len(pids[0]) == 1
    print(f"first ask {times[0]:.1f} s, second {times[1]:.1f} s; server processes {pids}")
    print(f"the second ask started no model: {'ok' if same else 'MISSED'}")
    pid, started = pids[1][0], time.perf_counter()
    while psutil.pid_exists(pid) and time.perf_counter() - started < 60:
        time.sleep(0.5)
    gone = not psutil.pid_exists(pid)
    print(
        f"idle stop after {_IDLE_S} s: process gone in {time.perf_counter() - started:.1f} s: "
        f"{'ok' if gone else 'MISSED'}"
    )
