"""The embedded runner with a real model and real processes."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rolecall.models.embedded import records
from rolecall.models.embedded.runner import EmbeddedRunner, RunningServer

pytestmark = [pytest.mark.live, pytest.mark.enable_socket]
MODEL = "smollm2-135m"
ENSURE = (
    "from rolecall.models.embedded.runner import EmbeddedRunner\n"
    f"print(EmbeddedRunner().ensure({MODEL!r}, context_length=1024).pid)"
)


@pytest.fixture(autouse=True)
def runner(live_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddedRunner]:
    monkeypatch.setenv("ROLECALL_IDLE_S", "120")
    runner = EmbeddedRunner()
    runner.stop(MODEL)
    yield runner
    runner.stop(MODEL)


def ensure(runner: EmbeddedRunner, context: int = 1024) -> RunningServer:
    return runner.ensure(MODEL, context_length=context)


def ask(
    server: RunningServer, path: str, body: dict[str, object] | None = None
) -> dict[str, object]:
    request = urllib.request.Request(
        server.base_url + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {server.api_key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.load(response)
    assert isinstance(answer, dict)
    return answer


def servers_of(home: Path) -> list[int]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "rolecall.models.embedded.server" in command and str(home) in " ".join(command):
            found.append(process.pid)
    return found


def gone(pid: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not psutil.pid_exists(pid)


def test_a_server_answers_under_its_catalog_id_and_is_shared(runner: EmbeddedRunner) -> None:
    first = ensure(runner)
    assert ensure(runner) == first
    models = ask(first, "/v1/models")["data"]
    assert isinstance(models, list)
    assert [model["id"] for model in models] == [MODEL]
    messages = [{"role": "user", "content": "What is the capital of Australia?"}]
    answer = ask(first, "/v1/chat/completions", {"messages": messages, "max_tokens": 8})
    assert answer["choices"]
    assert runner.running() == [first]


def test_a_request_without_the_key_is_refused(runner: EmbeddedRunner) -> None:
    server = ensure(runner)
    with pytest.raises(urllib.error.HTTPError, match="401") as caught:
        urllib.request.urlopen(server.base_url + "/slots", timeout=10)
    caught.value.close()


def test_the_key_is_neither_on_the_command_line_nor_readable_by_others(
    runner: EmbeddedRunner,
) -> None:
    server = ensure(runner)
    assert server.api_key not in " ".join(psutil.Process(server.pid).cmdline())
    assert records.file_of(MODEL, "json").stat().st_mode & 0o077 == 0


def test_two_processes_at_once_share_one_server(runner: EmbeddedRunner) -> None:
    both = [
        subprocess.Popen([sys.executable, "-c", ENSURE], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    pids = {int(process.communicate(timeout=60)[0]) for process in both}
    assert len(pids) == 1
    assert servers_of(records.file_of(MODEL, "json").parents[1]) == list(pids)


def test_a_killed_server_is_replaced(runner: EmbeddedRunner) -> None:
    first = ensure(runner)
    psutil.Process(first.pid).kill()
    second = ensure(runner)
    assert second.pid != first.pid
    assert ask(second, "/health") == {"status": "ok"}


def test_a_server_that_hangs_is_replaced(
    runner: EmbeddedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ensure(runner)
    psutil.Process(first.pid).suspend()
    second = ensure(runner)
    assert second.pid != first.pid
    assert gone(first.pid, 5)


def test_a_server_whose_starter_was_killed_is_taken_over(runner: EmbeddedRunner) -> None:
    starter = subprocess.Popen([sys.executable, "-c", ENSURE], stdout=subprocess.DEVNULL)
    path = records.file_of(MODEL, "json")
    deadline = time.monotonic() + 30
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    starter.kill()
    starter.wait()
    record = records.read_record(path)
    assert record is not None
    assert ensure(runner).pid == record.pid


def test_a_larger_context_restarts_and_a_smaller_one_does_not(runner: EmbeddedRunner) -> None:
    small = ensure(runner, 1024)
    large = ensure(runner, 2048)
    assert large.pid != small.pid
    assert large.context_length == 2048
    assert not psutil.pid_exists(small.pid)
    assert ensure(runner, 512) == large


def test_a_context_beyond_the_catalogs_is_cut_to_it(runner: EmbeddedRunner) -> None:
    assert ensure(runner, 10**6).context_length == 8192


def test_one_request_may_use_the_whole_context(runner: EmbeddedRunner) -> None:
    server = ensure(runner, 1024)
    long = {"messages": [{"role": "user", "content": "tree " * 700}], "max_tokens": 4}
    assert ask(server, "/v1/chat/completions", long)["choices"]


def test_stop_leaves_no_process_and_no_record(runner: EmbeddedRunner) -> None:
    server = ensure(runner)
    assert [stopped.pid for stopped in runner.stop(MODEL)] == [server.pid]
    assert not psutil.pid_exists(server.pid)
    assert not records.file_of(MODEL, "json").exists()


def test_sigterm_ends_it_cleanly(runner: EmbeddedRunner) -> None:
    server = ensure(runner)
    psutil.Process(server.pid).terminate()
    assert gone(server.pid, 5)
    assert not records.file_of(MODEL, "json").exists()


def test_an_idle_server_ends_by_itself_but_not_while_it_works(
    runner: EmbeddedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLECALL_IDLE_S", "1")
    server = ensure(runner)
    began = time.monotonic()
    body: dict[str, object] = {
        "messages": [{"role": "user", "content": "Count to a thousand."}],
        "max_tokens": 400,
        "ignore_eos": True,
    }
    assert ask(server, "/v1/chat/completions", body)["choices"]
    assert time.monotonic() - began > 1.5
    assert gone(server.pid, 10)
    assert not records.file_of(MODEL, "json").exists()
    assert runner.running() == []
