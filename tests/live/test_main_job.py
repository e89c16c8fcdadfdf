"""The main job on the real embedded model: ask, answer, tools, kill, resume, fork."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rolecall import Assistant

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

ROLECALL = str(Path(sys.executable).with_name("rolecall"))


@pytest.fixture
def assistant(live_home: Path) -> Iterator[Assistant]:
    with Assistant.open("embedded") as opened:
        yield opened


def test_the_fast_path_answers_a_simple_question(assistant: Assistant) -> None:
    reply = assistant.ask("What is the capital of Peru?", role="router")
    assert "Lima" in reply.text
    assert reply.path == ["init", "router", "answer", "synthesis"]
    assert reply.decision is not None
    assert reply.decision["routing_decision"] == "HANDLE"


def test_the_reasoning_role_answers(assistant: Assistant) -> None:
    reply = assistant.ask("Compare a bicycle and a car for a short commute.", role="reasoning")
    assert len(reply.text) > 100
    assert reply.path[2] == "reasoning"
    assert reply.calls[-1]["output_tokens"] > 20


def test_the_router_sends_sql_to_the_coding_role(assistant: Assistant) -> None:
    reply = assistant.ask("Write a SQL query that finds duplicate emails")
    assert reply.strategy == "encoder"
    assert reply.decision is not None
    assert reply.decision["target_model"] == "CODING"
    assert "GROUP BY" in reply.text.upper()


def test_the_calculator_is_called_and_its_result_reaches_the_answer(assistant: Assistant) -> None:
    parts = list(assistant.stream("What is 1234 * 5678?", role="router"))
    finished = [p.data for p in parts if p.type == "tool_finished"]
    assert [f["name"] for f in finished] == ["calculator"]
    assert finished[0]["status"] == "success"
    assert "7006652" in finished[0]["result"].replace(",", "")
    reply = parts[-1].data["reply"]
    assert "7006652" in reply.text.replace(",", "")
    assert reply.path == ["init", "router", "answer", "tool_runner", "answer", "synthesis"]


def test_a_thread_remembers_and_a_fork_leaves_it_alone(assistant: Assistant) -> None:
    first = assistant.ask("My name is Ada. Greet me.", role="router")
    fork = assistant.fork(first.thread_id)
    reply = assistant.ask("What is my name?", thread=fork, role="router")
    assert "Ada" in reply.text
    exported = subprocess.run(
        [ROLECALL, "threads", "export", first.thread_id, "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert len(json.loads(exported.stdout)["turns"]) == 1


def test_a_turn_killed_in_the_middle_resumes(live_home: Path) -> None:
    command = [
        ROLECALL,
        "ask",
        "Explain step by step how a bicycle works, part by part.",
        "--role",
        "reasoning",
        "--thread",
        "killed",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.read(20), "the answer has begun"
        child.send_signal(signal.SIGKILL)
    resumed = subprocess.run(
        [ROLECALL, "resume", "killed", "--json"], check=True, capture_output=True, text=True
    )
    outcome = json.loads(resumed.stdout)
    assert outcome["thread_id"] == "killed"
    assert len(outcome["answer"]) > 100
    assert outcome["path"] == ["reasoning", "synthesis"], "finished steps did not run again"
    turns = json.loads(
        subprocess.run(
            [ROLECALL, "threads", "show", "killed", "--json"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )["turns"]
    assert [turn["status"] for turn in turns] == ["done"]


def test_ctrl_c_stops_the_generation_at_the_server(live_home: Path) -> None:
    command = [ROLECALL, "ask", "Count from 1 to 500.", "--role", "reasoning"]
    with subprocess.Popen(
        [*command, "--thread", "stopped"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        assert child.stdout is not None
        assert child.stdout.read(5)
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=30) == 130
    time.sleep(1)
    shown = subprocess.run(
        [ROLECALL, "models", "ps", "--json"], check=True, capture_output=True, text=True
    )
    assert [server["state"] for server in json.loads(shown.stdout)["servers"]] == ["idle"]


def test_the_second_ask_starts_no_model(live_home: Path) -> None:
    pids = []
    for _ in range(2):
        asked = subprocess.run(
            [ROLECALL, "ask", "hi", "--role", "router", "--json"],
            check=True,
            capture_output=True,
            text=True,
        )
        assert json.loads(asked.stdout)["error"] is None
        shown = subprocess.run(
            [ROLECALL, "models", "ps", "--json"], check=True, capture_output=True, text=True
        )
        pids.append([server["pid"] for server in json.loads(shown.stdout)["servers"]])
    assert pids[0] == pids[1]
    assert len(pids[0]) == 1
