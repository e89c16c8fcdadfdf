"""What turns and calls are measured against: a scripted server and LiteLLM's Router, each in a
process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_ROOT = Path(__file__).parents[1]
_LITELLM = _ROOT / ".live" / "litellm"
_SERVER = """
import sys
from rolecall.models.scripted import ScriptedReply, ScriptedRunner
with ScriptedRunner() as runner:
    runner.default = ScriptedReply(sys.argv[1])
    print(runner.url, flush=True)
    sys.stdin.read()
"""


@contextmanager
def scripted_server(answer: str) -> Iterator[str]:
    """The address of a server without a model and without latency, which always says ``answer``."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", _SERVER, answer]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().decode().strip()
        process.stdin.close()


class Router:
    """LiteLLM's Router in its own process: one command a line in, one number a line out."""

    def __init__(self, commands: IO[str], numbers: IO[str]) -> None:
        self._commands = commands
        self._numbers = numbers

    def ask(self, command: str) -> float:
        """The number that answers a command; see ``litellm_router``."""
        self._commands.write(command + "\n")
        self._commands.flush()
        return float(json.loads(self._numbers.readline()))


@contextmanager
def litellm_router(url: str) -> Iterator[Router | None]:
    """LiteLLM's Router on a server; ``None`` where it cannot be installed."""
    made = subprocess.run(["make", "-s", "-C", str(_ROOT), "litellm"], check=False)
    if made.returncode:
        yield None
        return
    command = [_LITELLM / "bin" / "python", Path(__file__).with_name("litellm_router.py"), url]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Router(process.stdin, process.stdout)
        process.stdin.close()
