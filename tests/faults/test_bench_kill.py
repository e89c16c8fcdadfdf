"""A benchmark that is interrupted or killed keeps what was answered, and goes on with the rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from rolecall.bench.store import is_running, open_store
from rolecall.models.scripted import Request, ScriptedReply, ScriptedRunner

CASES = 6
_WAIT_S = 60.0


@pytest.fixture
def command(runner: ScriptedRunner, tmp_path: Path) -> list[str]:
    """``rolecall bench`` on own cases, of which the fourth takes long at first."""
    runner.models = ["tiny"]
    spec = {"id": "tiny", "endpoint": runner.endpoint, "tool_check": "never"}
    stack, cases = tmp_path / "stack.yaml", tmp_path / "mine.jsonl"
    stack.write_text(yaml.safe_dump({"models": {"router": spec, "reasoning": spec}}))
    lines = [{"prompt": f"Case {n}", "answer": "yes"} for n in range(CASES)]
    cases.write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = ("bench", "--stack", str(stack), "--cases", str(cases), "--json")
    return [str(Path(sys.executable).with_name("rolecall")), *arguments]


def _asked(runner: ScriptedRunner) -> list[str]:
    return [call.text for call in runner.calls]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_a_stopped_benchmark_goes_on_where_it_was(
    runner: ScriptedRunner, command: list[str], number: signal.Signals
) -> None:
    def slow(request: Request) -> ScriptedReply:
        return ScriptedReply("yes", delay_s=60.0 if request.text == "Case 3" else 0.0)

    runner.default = slow
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    until = time.monotonic() + _WAIT_S
    while "Case 3" not in _asked(runner):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=_WAIT_S)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "What was answered is kept" in err
        assert json.loads(out)["exit_code"] == 130

    store = open_store()
    (stopped,) = store.runs()
    store.close()
    assert (stopped["status"], stopped["answered"], is_running()) == ("stopped", 3, False)

    runner.default = ScriptedReply("yes")
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    body = json.loads(done.stdout)
    assert (body["run"], body["status"], body["resumed"]) == (stopped["id"], "done", 3)
    assert (body["rows"][0]["cases"], body["rows"][0]["score"]) == (CASES, 1.0)
    assert _asked(runner)[4:] == [f"Case {n}" for n in range(3, CASES)]
