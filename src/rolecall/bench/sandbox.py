"""Runs Python that a model wrote, where it can do no harm.

The code sees the system's libraries and an empty folder. It cannot read the home directory, write
outside its folder, open a socket, start a process or outlive its limit. ``jail`` does it on Linux,
``sandbox-exec`` on macOS. A way is used only after it has shown on this machine that it holds;
where none does, no code is run.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rolecall.bench.bounded import Ran, run_bounded
from rolecall.errors import RunnerFailed

SECONDS = 10
MEMORY_BYTES = 512 << 20

_JAIL = Path(__file__).with_name("jail.py")
_WAYS = {"Linux": ("namespaces", "landlock"), "Darwin": ("sandbox-exec",)}

# Each line must fail inside: what a way lets through makes it no way.
_ATTEMPTS = """
import json, os, socket, sys
given = json.load(sys.stdin)
held = {}
def attempt(name, act):
    try:
        act()
    except OSError:
        held[name] = True
    else:
        held[name] = False
def list_home():
    if given["seen"] not in os.listdir(given["home"]):  # the interpreter may live in it
        raise OSError
attempt("list the home directory", list_home)
attempt("read a file of the user", lambda: open(given["secret"]).read())
attempt("write outside", lambda: open(given["outside"], "w").write("x"))
attempt("change a file outside", lambda: os.chmod(given["secret"], 0o777))
attempt("open a socket", lambda: socket.create_connection(("127.0.0.1", given["port"]), 1))
attempt("send a packet", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
attempt("start a process", lambda: os.fork() or os._exit(0))
print(json.dumps(held))
"""

# What sandbox-exec is told: Apple's profile language.
_PROFILE = """(version 1)
(deny default)
(allow process-exec*)
(allow sysctl-read)
(allow mach-lookup)
(allow file-read-metadata)
(allow file-read* (subpath "/usr") (subpath "/System") (subpath "/Library/Frameworks")
  (subpath "/private/var/db/dyld") (literal "/dev/null") (literal "/dev/urandom") {prefixes})
(allow file-write* (literal "/dev/null"))
"""


class SandboxMissing(RunnerFailed):
    """This machine has no way to confine code; none is run."""


@dataclass(frozen=True)
class Sandbox:
    """A way to confine programs, which has shown that it holds."""

    way: str

    def run(
        self,
        program: str,
        given: Any = None,
        *,
        seconds: int = SECONDS,
        memory_bytes: int = MEMORY_BYTES,
    ) -> Ran:
        """Run a Python program.

        Args:
            program: its text.
            given: a JSON value that it gets on standard input.
            seconds: how long it may take, in all.
            memory_bytes: how much it may map.
        """
        with tempfile.TemporaryDirectory(prefix="rolecall-code-") as folder:
            command = _command(self.way, program, folder, seconds, memory_bytes)
            return run_bounded(command, folder, json.dumps(given).encode(), seconds, memory_bytes)


def find_sandbox(ways: tuple[str, ...] | None = None) -> Sandbox:
    """The first way of this machine that holds.

    Raises:
        SandboxMissing: there is none; the message says why for each.
    """
    tried: list[str] = []
    for way in _WAYS.get(platform.system(), ()) if ways is None else ways:
        if (fault := _fault(way)) is None:
            return Sandbox(way)
        tried.append(f"{way}: {fault}")
    why = "; ".join(tried) or f"{platform.system()} is not supported"
    raise SandboxMissing(
        f"code of models is not run here: nothing confines it ({why}). On Linux, user namespaces "
        "or Landlock (kernel 5.13) are needed; in a container, run bench outside of it"
    )


@cache
def _fault(way: str) -> str | None:
    """Why a way does not hold on this machine, or ``None``."""
    import socket

    with (
        tempfile.TemporaryDirectory(prefix="rolecall-check-", dir=_own_folder()) as folder,
        socket.socket() as server,
    ):
        server.bind(("127.0.0.1", 0))
        server.listen()
        secret = Path(folder, "secret")
        secret.write_text("x", encoding="ascii")
        given = {
            "home": str(Path.home()),
            "seen": Path(folder).name,
            "secret": str(secret),
            "outside": str(Path(folder, "outside")),
            "port": server.getsockname()[1],
        }
        try:
            ran = Sandbox(way).run(_ATTEMPTS, given)
        except OSError as error:
            return str(error)
    try:
        held: dict[str, bool] = json.loads(ran.output)
    except ValueError:
        last = ran.errors.strip().splitlines()
        return last[-1] if last else f"it ended with {ran.code}"
    through = [name for name, refused in held.items() if not refused]
    return f"lets code {', '.join(through)}" if through else None


def _own_folder() -> str | None:
    """A folder in the home directory where one can be made there, so that the check is true."""
    home = Path.home()
    return str(home) if os.access(home, os.W_OK) else None


def _command(way: str, program: str, folder: str, seconds: int, memory_bytes: int) -> list[str]:
    interpreter = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    prefix = os.path.realpath(sys.base_prefix)
    if way == "sandbox-exec":
        shown = f'(subpath "{prefix}") (literal "{interpreter}")'
        limits = (
            "import resource\n"
            f"resource.setrlimit(resource.RLIMIT_CPU, ({seconds + 1}, {seconds + 1}))\n"
            f"resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))\n"
        )
        profile = _PROFILE.format(prefixes=shown)
        return ["sandbox-exec", "-p", profile, interpreter, "-I", "-S", "-c", limits + program]
    given = {
        "interpreter": interpreter,
        "prefix": prefix,
        "root": folder,
        "seconds": seconds,
        "memory_bytes": memory_bytes,
        "program": program,
    }
    return [interpreter, "-I", "-S", "-B", str(_JAIL), way, json.dumps(given)]
