"""``langgraph dev`` serves the assistant offline: threads, runs, streams, history, forks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
_START_S = 90


@pytest.fixture
def server(live_home: Path, tmp_path: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (tmp_path / "dev.log").open("w")
    environment = os.environ | {
        "LANGGRAPH_CLI_NO_ANALYTICS": "1",
        "LANGSMITH_TRACING": "false",
        "NO_COLOR": "1",
    }
    command = [str(Path(sys.executable).with_name("langgraph")), "dev", "--no-browser"]
    command += ["--no-reload", "--port", str(port), "--config", str(ROOT / "langgraph.json")]
    child = subprocess.Popen(
        command, cwd=tmp_path, stdout=log, stderr=log, env=environment, start_new_session=True
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(_START_S * 4):
            if child.poll() is not None:
                pytest.fail((tmp_path / "dev.log").read_text())
            try:
                if httpx.get(url + "/ok", timeout=1, trust_env=False).status_code == 200:
                    break
            except httpx.HTTPError:
                time.sleep(0.25)
        else:
            pytest.fail("not up: " + (tmp_path / "dev.log").read_text())
        yield url
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        log.close()


def test_a_client_runs_streams_reads_history_and_forks(server: str) -> None:
    from langgraph_sdk import get_sync_client

    with get_sync_client(url=server) as client:
        _try_everything(client)


def _try_everything(client: Any) -> None:
    thread = client.threads.create()
    ask: dict[str, Any] = {
        "messages": [{"role": "user", "content": "What is the capital of Peru?"}]
    }
    state = client.runs.wait(thread["thread_id"], "assistant", input=ask | {"role": "router"})
    assert "Lima" in state["messages"][-1]["content"]
    assert state["decision"]["routing_decision"] == "HANDLE"

    again = {"messages": [{"role": "user", "content": "Say hello."}], "role": "router"}
    events = list(
        client.runs.stream(
            thread["thread_id"], "assistant", input=again, stream_mode=["messages-tuple", "custom"]
        )
    )
    kinds = {event.event for event in events}
    assert "messages" in kinds
    custom = [event.data for event in events if event.event == "custom"]
    assert any(data["type"] == "decision" for data in custom)
    streamed = "".join(data["text"] for data in custom if data["type"] == "text")
    assert streamed.strip()

    history = client.threads.get_history(thread["thread_id"], limit=50)
    assert len(history) > 8
    before_answer = next(h for h in history if h["next"] == ["answer"])
    forked = client.runs.wait(
        thread["thread_id"],
        "assistant",
        input=None,
        checkpoint_id=before_answer["checkpoint"]["checkpoint_id"],
    )
    assert forked["messages"][-1]["type"] == "ai"
