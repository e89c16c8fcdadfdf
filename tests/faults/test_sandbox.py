"""Code under test can do no harm: each way of confining it is tried with what it must refuse."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rolecall.bench import sandbox
from rolecall.bench.bounded import OUTPUT_BYTES, run_bounded
from rolecall.bench.sandbox import Sandbox, SandboxMissing, find_sandbox

pytestmark = pytest.mark.skipif(platform.system() != "Linux", reason="the ways of Linux")

MB = 1 << 20


def _held(way: str) -> bool:
    return sandbox._fault(way) is None


@pytest.fixture(params=["namespaces", "landlock"])
def box(request: pytest.FixtureRequest) -> Sandbox:
    """Each way that this machine has."""
    if not _held(request.param):
        pytest.skip(f"{request.param}: {sandbox._fault(request.param)}")
    return Sandbox(request.param)


def test_this_machine_has_a_way() -> None:
    assert find_sandbox().way in {"namespaces", "landlock"}


def test_code_runs_and_gets_what_it_is_given(box: Sandbox) -> None:
    program = (
        "import json, sys, threading, asyncio, re, heapq\nprint(json.load(sys.stdin)['n'] * 2)"
    )
    ran = box.run(program, {"n": 21})
    assert (ran.output, ran.ended) == ("42\n", "done"), ran.errors


def test_threads_and_event_loops_work(box: Sandbox) -> None:
    program = (
        "import asyncio, threading\n"
        "t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()\n"
        "async def f(): return 'loop'\nprint(asyncio.run(f()))"
    )
    assert box.run(program).output == "thread\nloop\n"


def test_the_home_directory_cannot_be_read(box: Sandbox) -> None:
    file = Path.home() / f".rolecall-test-{os.getpid()}"
    file.write_text("secret", encoding="ascii")
    try:
        program = (
            "import json, os, sys\npath = json.load(sys.stdin)\n"
            "try: print(open(path).read())\nexcept OSError: print('refused')\n"
            "try: print(os.path.basename(path) in os.listdir(os.path.dirname(path)))\n"
            "except OSError: print(False)"
        )
        assert box.run(program, str(file)).output == "refused\nFalse\n"
    finally:
        file.unlink()


@pytest.mark.parametrize("place", ["/tmp", "/var/tmp", "/dev/shm", "/usr", "/etc"])
def test_nothing_is_written_outside(box: Sandbox, place: str) -> None:
    name = f"{place}/rolecall-test-{os.getpid()}"
    program = (
        "import json, sys\n"
        "try: open(json.load(sys.stdin), 'w').write('x'); print('written')\n"
        "except OSError: print('refused')"
    )
    assert box.run(program, name).output == "refused\n"
    assert not Path(name).exists()


def test_a_file_outside_keeps_its_mode_and_text(box: Sandbox, tmp_path: Path) -> None:
    file = tmp_path / "kept"
    file.write_text("kept", encoding="ascii")
    mode = file.stat().st_mode
    program = (
        "import json, os, sys\npath = json.load(sys.stdin)\n"
        "for act in (lambda: os.chmod(path, 0), lambda: os.truncate(path, 0),\n"
        "            lambda: os.remove(path), lambda: os.utime(path, (0, 0))):\n"
        "    try: act(); print('done')\n"
        "    except OSError: print('refused')"
    )
    assert box.run(program, str(file)).output == "refused\n" * 4
    assert (file.read_text(), file.stat().st_mode) == ("kept", mode)


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"])
def test_no_socket_opens(box: Sandbox, family: str) -> None:
    program = (
        f"import socket\ntry: socket.socket(socket.{family}, socket.SOCK_DGRAM); print('open')\n"
        "except OSError: print('refused')"
    )
    assert box.run(program).output == "refused\n"


def test_a_server_on_loopback_is_out_of_reach(box: Sandbox) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        program = (
            "import json, socket, sys\n"
            "try: socket.create_connection(('127.0.0.1', json.load(sys.stdin)), 2); print('open')\n"
            "except OSError: print('refused')"
        )
        assert box.run(program, server.getsockname()[1]).output == "refused\n"


def test_code_does_not_outlive_its_limit(box: Sandbox) -> None:
    program = (
        "import os, signal, time\nprint(os.getpid(), flush=True)\n"
        "for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)\n"
        "while True: time.sleep(1)"
    )
    started = time.monotonic()
    ran = box.run(program, seconds=2)
    assert ran.ended == "timeout"
    assert time.monotonic() - started < 7
    assert not Path(f"/proc/{ran.output.strip()}").exists()  # no process namespace: the same number


def test_a_busy_loop_ends_too(box: Sandbox) -> None:
    assert box.run("while True: pass", seconds=1).ended == "timeout"


@pytest.mark.parametrize(
    "start",
    [
        "os.fork()",
        "os.posix_spawn('/usr/bin/env', ['env'], {})",
        "subprocess.Popen([sys.executable, '-c', 'pass'])",
        "multiprocessing.Process(target=print).start()",
    ],
)
def test_no_process_starts(box: Sandbox, start: str) -> None:
    program = (
        f"import multiprocessing, os, subprocess, sys\nfor _ in range(3):\n"
        f"    try: {start}; print('started')\n    except OSError: print('refused')"
    )
    assert box.run(program).output == "refused\n" * 3


def test_threads_without_end_stop_at_the_memory_limit(box: Sandbox) -> None:
    program = (
        "import threading, time\ncount = 0\ntry:\n"
        "    while True:\n"
        "        threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); count += 1\n"
        "except (RuntimeError, MemoryError): print('stopped', count < 1000, flush=True)\n"
        "import os; os._exit(0)"
    )
    assert box.run(program).output == "stopped True\n"


def test_memory_is_bounded(box: Sandbox) -> None:
    program = (
        "try: print(len(bytearray(1 << 30)))\nexcept MemoryError: print('refused', flush=True)"
    )
    assert box.run(program).output == "refused\n"


def test_the_disk_cannot_be_filled(box: Sandbox) -> None:
    program = (
        "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nwritten = 0\ntry:\n"
        "    for name in range(10_000):\n"
        "        with open(str(name), 'wb', buffering=0) as file:\n"
        "            for _ in range(64): written += file.write(bytes(1 << 20))\n"
        "except OSError: pass\nprint(written)"
    )
    assert int(box.run(program).output) <= 16 * MB


def test_files_can_be_written_in_the_folder_of_namespaces() -> None:
    if not _held("namespaces"):
        pytest.skip("no namespaces here")
    program = "open('note', 'w').write('mine')\nprint(open('note').read())"
    assert Sandbox("namespaces").run(program).output == "mine\n"


def test_output_is_bounded(box: Sandbox) -> None:
    ran = box.run("while True: print('x' * 65536)", seconds=20)
    assert ran.ended == "output"
    assert len(ran.output) == OUTPUT_BYTES


def test_no_signal_reaches_another_process(box: Sandbox) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        program = (
            "import json, os, signal, sys\n"
            "try: os.kill(json.load(sys.stdin), signal.SIGKILL); print('sent')\n"
            "except OSError: print('refused')"
        )
        assert box.run(program, other.pid).output == "refused\n"
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_the_environment_is_empty(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "abc")
    assert "abc" not in box.run("import os\nprint(dict(os.environ))").output


def test_memory_in_use_ends_a_program_where_nothing_else_bounds_it(tmp_path: Path) -> None:
    program = "import time\nkept = bytearray(300 << 20)\ntime.sleep(60)"
    ran = run_bounded([sys.executable, "-c", program], str(tmp_path), b"", 30, 200 * MB)
    assert ran.ended == "memory"


def test_where_no_way_holds_code_is_refused_with_the_reasons(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sandbox, "_fault", lambda way: "not permitted")
    with pytest.raises(SandboxMissing, match="namespaces: not permitted; landlock: not permitted"):
        find_sandbox()


def test_a_way_that_lets_code_through_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself: an unconfined Python counts as no sandbox."""

    def unconfined(way: str, program: str, folder: str, seconds: int, memory: int) -> list[str]:
        return [sys.executable, "-I", "-c", program]

    monkeypatch.setattr(sandbox, "_command", unconfined)
    fault = sandbox._fault.__wrapped__("namespaces")
    assert fault is not None
    assert "read a file of the user" in fault
    assert "open a socket" in fault
