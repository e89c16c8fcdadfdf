"""How long ``rolecall doctor`` takes: on the embedded stack, and when nothing is up.

The embedded model is stopped first, so its start counts. Nothing is written.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import verdict
from rolecall.models.embedded.runner import EmbeddedRunner

_EMBEDDED_S = 60.0
_NOTHING_S = 3.0
_ROLES = ("router", "reasoning", "coding")


def main() -> None:
    """Print both times, what was found, and what the doctor could not see."""
    with tempfile.TemporaryDirectory() as folder:
        took, found = _doctor("--stack", str(_dead_stack(Path(folder))))
    unreachable = sum(not endpoint["reachable"] for endpoint in found["endpoints"])
    print(f"nothing is up ({unreachable} endpoints): {took:.1f} s  {verdict(took, _NOTHING_S)}")
    EmbeddedRunner().stop()
    took, found = _doctor("--stack", "embedded", "--no-write")
    print(f"three roles, embedded: {took:.1f} s  {verdict(took, _EMBEDDED_S)}")
    for endpoint in found["endpoints"]:
        print(f"  {endpoint['model']}: speed {endpoint['speed']}")
        right = {k: f"{v['right']}/{v['asked']}" for k, v in endpoint["quality"].items()}
        print(f"  right answers {right}; not seen: {endpoint['notes'] or 'nothing'}")
    for role, judged in found["roles"].items():
        print(f"  {role}: {judged['verdict']} ({judged['why']})")


def _dead_stack(folder: Path) -> Path:
    """Three endpoints on ports that were free a moment ago."""
    lines = ["models:"]
    for role in _ROLES:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        lines.append(f"  {role}: {{id: none, endpoint: 'http://127.0.0.1:{port}/v1'}}")
    path = folder / "dead.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _doctor(*arguments: str) -> tuple[float, dict[str, Any]]:
    command = [str(Path(sys.executable).with_name("rolecall")), "doctor", "--json", *arguments]
    started = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - started, json.loads(done.stdout)


if __name__ == "__main__":
    main()
