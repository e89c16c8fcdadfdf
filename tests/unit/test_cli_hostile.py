"""The command line under hostile input: loops, escape sequences, odd ids, odd streams."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rolecall.cli.output import printable
from rolecall.models.scripted import ScriptedReply, ScriptedRunner

pytestmark = pytest.mark.alone

ROLECALL = str(Path(sys.executable).with_name("rolecall"))


@pytest.fixture
def runner() -> Iterator[ScriptedRunner]:
    with ScriptedRunner(models=["x[/]y"]) as started:
        started.default = ScriptedReply("fine")
        yield started


@pytest.fixture
def stack(runner: ScriptedRunner, tmp_path: Path) -> str:
    spec = f"{{id: 'x[/]y', endpoint: '{runner.endpoint}'}}"
    file = tmp_path / "scripted.yaml"
    file.write_text(f"models: {{router: {spec}, reasoning: {spec}, coding: {spec}}}\n")
    return str(file)


def run(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROLECALL, *arguments], capture_output=True, text=True, timeout=60, **more
    )


def test_a_model_that_only_calls_tools_is_bounded(runner: ScriptedRunner, stack: str) -> None:
    runner.default = ScriptedReply(
        tool_calls=[{"name": "calculator", "args": {"expression": "1+1"}}]
    )
    done = run("ask", "hi", "-s", stack, "-r", "coding", "--json")
    assert done.returncode == 0
    outcome = json.loads(done.stdout)
    assert outcome["finish_reason"] == "tool_rounds"
    assert "rounds of tool calls" in outcome["answer"]


def test_an_id_that_looks_like_markup_is_only_text(stack: str) -> None:
    asked = run("ask", "hi [/] there", "-s", stack, "-r", "coding")
    assert (asked.returncode, asked.stdout) == (0, "fine\n")
    assert "x[/]y" in asked.stderr
    assert "x[/]y" in run("stack", "check", stack).stdout
    assert "[/]" in run("threads", "list").stdout


@pytest.mark.parametrize("text", ["\x1b]0;pwned\x07", "\x9b31m", "\x1b[2J", "a\x08b"])
def test_no_escape_sequence_is_printable(text: str) -> None:
    shown = printable({"answer": [f"before\n\t{text} after"]})["answer"][0]
    assert shown.startswith("before\n\t")
    assert all(c in "\n\t" or c.isprintable() for c in shown)


def test_resume_on_a_stack_without_the_role_says_so(
    runner: ScriptedRunner, stack: str, tmp_path: Path
) -> None:
    runner.default = ScriptedReply(fault=500)
    assert run("ask", "hi", "-s", stack, "-r", "coding", "--thread", "t").returncode == 3
    runner.default = ScriptedReply("fine")
    only_router = tmp_path / "only-router.yaml"
    only_router.write_text(f"models: {{router: {{id: 'x[/]y', endpoint: '{runner.endpoint}'}}}}\n")
    refused = run("resume", "t", "-s", str(only_router), "--json")
    assert refused.returncode == 2
    assert "a role that stack only-router does not have" in json.loads(refused.stdout)["error"]
    assert json.loads(run("resume", "t", "-s", stack, "--json").stdout)["answer"] == "fine"


def test_proxies_of_the_environment_are_not_used(stack: str) -> None:
    proxies = {"ALL_PROXY": "socks5://127.0.0.1:9", "HTTPS_PROXY": "garbage://"}
    done = run("ask", "hi", "-s", stack, "-r", "coding", env=os.environ | proxies)
    assert (done.returncode, done.stdout) == (0, "fine\n")


def test_a_wrong_command_line_is_json_for_scripts() -> None:
    done = run("ask", "hi", "--nope", "--json")
    assert done.returncode == 2
    assert "--nope" in json.loads(done.stdout)["error"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_output_that_is_full_is_told_in_one_line(options: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [ROLECALL, "bench", "list", *options],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert done.returncode == 5
    assert done.stderr.startswith("rolecall: cannot write the output: No space left")
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_leaves_does_not_fail_the_turn(runner: ScriptedRunner, stack: str) -> None:
    runner.default = ScriptedReply("word " * 500)
    with subprocess.Popen(
        [ROLECALL, "ask", "hi", "-s", stack, "-r", "coding", "--thread", "left"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        assert child.stdout is not None
        child.stdout.read(1)
        child.stdout.close()
        assert child.wait(timeout=60) == 0
    turns = json.loads(run("threads", "show", "left", "--json").stdout)["turns"]
    assert [turn["status"] for turn in turns] == ["done"]


def test_a_tool_that_never_returns_does_not_keep_the_process(
    runner: ScriptedRunner, stack: str, tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "wait.py").write_text(
        'import time\n\ndef wait_for_ever() -> str:\n    """Wait."""\n    time.sleep(3600)\n'
        '    return "never"\n'
    )
    runner.enqueue(ScriptedReply(tool_calls=[{"name": "wait_for_ever", "args": {}}]), "went on")
    settings = ["--set", "turn.tool_timeout_s=1", "--set", f"tools_folder={tools}"]
    done = run("ask", "hi", "-s", stack, "-r", "coding", *settings)
    assert (done.returncode, done.stdout) == (0, "went on\n")


def test_merge_keys_that_explode_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 {x: 1}"]
    for level in range(1, 11):
        lines.append(f"a{level}: &a{level}\n  <<: [{', '.join([f'*a{level - 1}'] * 9)}]")
    bomb = tmp_path / "bomb.yaml"
    bomb.write_text("\n".join(lines) + "\n")
    done = run("ask", "hi", "-s", str(bomb))
    assert done.returncode == 2
    assert "merge keys" in done.stderr


def test_files_go_along_with_the_question(
    runner: ScriptedRunner, stack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rolecall.cli.turns import question_from
    from rolecall.errors import BadInput

    log = tmp_path / "app.log"
    log.write_text("disk full")
    assert run("ask", "What failed?", "-s", stack, "-r", "coding", "-f", str(log)).returncode == 0
    assert "disk full" in str(runner.calls[-1].messages)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe")))
    assert question_from("Q", ["-"]) == "Q\n\n--- - ---\nfrom a pipe"
    with pytest.raises(BadInput, match="cannot read"):
        question_from("Q", [str(tmp_path / "missing")])
