"""Many processes on one home and one thread: every turn is answered once, in its order."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rolecall import bridge
from rolecall.assistant import Assistant
from rolecall.models.scripted import Request, ScriptedReply, ScriptedRunner

CROWD = """
import multiprocessing, sys
import langchain_openai, rolecall.models.role_model
from rolecall.assistant import Assistant

stack, turns, *names = sys.argv[1:]
fork = multiprocessing.get_context("fork")  # the imports are made once
together = fork.Barrier(len(names))

def ask(name):
    with Assistant.open(stack) as assistant:
        together.wait(100)
        for number in range(int(turns)):
            question = f"{name}-{number}"
            for thread in ("t", name):
                reply = assistant.ask(question, thread=thread, role="reasoning")
                assert reply.text == f"heard {question}", reply.text

crowd = [fork.Process(target=ask, args=(name,)) for name in names]
for process in crowd:
    process.start()
for process in crowd:
    process.join()
sys.exit(sum(process.exitcode != 0 for process in crowd))
"""


def heard(request: Request) -> ScriptedReply:
    return ScriptedReply(f"heard {request.messages[-1]['content']}")


@pytest.mark.alone
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("processes", "turns"), [(4, 3), pytest.param(20, 10, marks=pytest.mark.soak)]
)
def test_processes_that_share_a_thread_lose_and_double_nothing(
    processes: int, turns: int, runner: ScriptedRunner, stack_file: Any, rolecall_home: Path
) -> None:
    runner.default = heard
    stack = stack_file(runner, {"turn": {"wait_for_thread_s": 300}})
    names = [f"p{number}" for number in range(processes)]
    crowd = subprocess.run(
        [sys.executable, "-c", CROWD, str(stack), str(turns), *names],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert (crowd.returncode, crowd.stderr) == (0, "")

    with Assistant.open(stack) as assistant:
        rows = bridge.run(assistant.transcript.turns("t", 1000))
        asked = [row["question"] for row in rows]
        assert len(asked) == processes * turns
        assert {(row["status"], row["answer"]) for row in rows} == {
            ("done", f"heard {question}") for question in asked
        }
        assert [row["number"] for row in rows] == list(range(1, processes * turns + 1))
        for name in names:
            places = [n for n, question in enumerate(asked) if question.startswith(f"{name}-")]
            assert [asked[n] for n in places] == [f"{name}-{k}" for k in range(turns)]
            # nobody is passed over: who has had a turn goes to the end of the line
            assert max(b - a for a, b in pairwise(places)) <= 2 * processes
            own = bridge.run(assistant.transcript.turns(name, 1000))
            assert [row["question"] for row in own] == [asked[n] for n in places]
            assert {row["status"] for row in own} == {"done"}
        # and each model was told what was said before, in order
        assert assistant.ask("last", thread="t", role="reasoning").text == "heard last"
        told = [m["content"] for m in runner.calls[-1].messages if m["role"] == "user"]
        assert told == [*asked, "last"][-len(told) :]
        assert len(told) > 5
    assert len(runner.calls) == 2 * processes * turns + 1
    for path in rolecall_home.glob("*.db"):
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",), path
        connection.close()
