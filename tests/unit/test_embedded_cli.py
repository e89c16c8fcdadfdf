"""``rolecall models`` and the progress lines, without a model or a network."""

import http.server
import io
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console
from typer.testing import CliRunner

from rolecall.cli.models import app
from rolecall.cli.progress import RichProgress
from rolecall.errors import ConfigError, DownloadFailed
from rolecall.models.embedded import records
from rolecall.models.embedded.weights import Weights

MODEL = "smollm2-135m"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROLECALL_HOME", str(tmp_path))
    monkeypatch.delenv("ROLECALL_OFFLINE", raising=False)
    return tmp_path


def run(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    answer = json.loads(result.stdout)
    assert isinstance(answer, dict)
    return answer


def pretend_running() -> None:
    """A record of a server that does not answer, kept by this very process."""
    created = psutil.Process().create_time()
    record = records.Record(MODEL, os.getpid(), created, 1, "key", 4096, time.time() - 60)
    records.write_record(record)


def test_list_tells_what_is_installed_and_running(home: Path) -> None:
    (home / "models").mkdir()
    (home / "models" / "smollm2-135m-instruct-q4_1.gguf").write_bytes(b"GGUF")
    pretend_running()
    rows = {row["id"]: row for row in run("list")["models"]}
    assert (rows[MODEL]["installed"], rows[MODEL]["running"]) == (True, True)
    assert rows[MODEL]["size_bytes"] == 98_362_432
    other = rows["qwen2.5-coder-0.5b"]
    assert (other["installed"], other["running"], other["path"]) == (False, False, None)


def test_ps_says_that_a_server_does_not_answer() -> None:
    pretend_running()
    (row,) = run("ps")["servers"]
    assert (row["model"], row["pid"], row["state"]) == (MODEL, os.getpid(), "unreachable")
    assert row["context_length"] == 4096
    assert row["memory_bytes"] > 0
    assert 59 < row["up_s"] < 90


def test_the_tables_name_every_model() -> None:
    shown = CliRunner().invoke(app, ["list"], catch_exceptions=False).stdout
    assert MODEL in shown
    assert "Apache-2.0" in shown


def test_stopping_nothing_is_no_error() -> None:
    assert run("stop") == {"stopped": []}
    said = CliRunner().invoke(app, ["stop", MODEL], catch_exceptions=False).stdout
    assert said == f"{MODEL} is not running.\n"


@pytest.mark.parametrize("command", ["stop", "pull"])
def test_an_unknown_model_is_a_config_error_with_a_hint(command: str) -> None:
    with pytest.raises(ConfigError, match=r"Did you mean smollm2-135m\?"):
        run(command, "smollm-135m")


def test_a_present_model_is_reported_as_one_object(home: Path) -> None:
    (home / "models").mkdir()
    path = home / "models" / "smollm2-135m-instruct-q4_1.gguf"
    path.write_bytes(b"GGUF")
    assert run("pull", MODEL)["pulled"] == [
        {"model": MODEL, "source": "present", "path": str(path), "endpoint": None}
    ]


def ollama(monkeypatch: pytest.MonkeyPatch, lines: list[dict[str, Any]]) -> list[Any]:
    """A fake Ollama for one request; returns what it was asked."""
    asked: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, json.loads(body)))
            answer = "".join(json.dumps(line) + "\n" for line in lines).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            return

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)

    def serve() -> None:
        with server:
            server.handle_request()

    server.timeout = 10
    threading.Thread(target=serve).start()
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{server.server_address[1]}")
    return asked


@pytest.mark.enable_socket
def test_a_tag_is_pulled_into_ollamas_own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = {"status": "pulling", "digest": "sha256:1", "total": 10}
    lines = [{"status": "pulling manifest"}, {**layer, "completed": 4}, {**layer, "completed": 10}]
    asked = ollama(monkeypatch, [*lines, {"status": "success"}])
    said = CliRunner().invoke(app, ["pull", "phi4"], catch_exceptions=False).stdout
    assert asked == [("/api/pull", {"model": "phi4", "stream": True})]
    assert "in Ollama's own store now, not in Rolecall's folder" in said


@pytest.mark.enable_socket
@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([{"error": "pull model manifest: file does not exist"}], "file does not exist"),
        ([{"status": "pulling manifest"}], "stopped before phi4 was complete"),
    ],
)
def test_what_ollama_could_not_do_is_passed_on(
    monkeypatch: pytest.MonkeyPatch, lines: list[dict[str, Any]], said: str
) -> None:
    ollama(monkeypatch, lines)
    with pytest.raises(DownloadFailed, match=said):
        Weights().pull("phi4")


def test_progress_is_plain_lines_when_nobody_watches() -> None:
    out = io.StringIO()
    with RichProgress(Console(file=out)).step("Downloading x", total=100) as advance:
        advance(100)
    first, second = out.getvalue().splitlines()
    assert first == "Downloading x ..."
    assert second.startswith("Downloading x: done in ")


def test_progress_on_a_terminal_shows_size_and_goes_away() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    progress = RichProgress(console)
    with (
        progress.step("Downloading x", total=2_000_000, done=500_000) as advance,
        progress.step("Starting y"),
    ):
        advance(500_000)
        assert progress._bars is not None
        progress._bars.refresh()
    assert "1.0/2.0 MB" in out.getvalue()
    assert progress._bars is None
