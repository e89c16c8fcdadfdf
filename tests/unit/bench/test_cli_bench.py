"""``rolecall bench`` on the scripted runner."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rolecall.bench.store import BenchBusy, alone, open_store
from rolecall.models.scripted import ScriptedReply, ScriptedRunner

pytestmark = pytest.mark.usefixtures("one_model")

Run = Callable[..., Any]

CASES = [
    {"prompt": "Say four.", "answer": "four", "id": "four"},
    {"prompt": "Say five.", "answer": "five", "id": "five"},
    {"prompt": "Say what you like.", "id": "free"},
]


@pytest.fixture
def cases(tmp_path: Path) -> str:
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(case) + "\n" for case in CASES))
    return str(path)


def test_own_cases_are_scored_and_what_expects_nothing_is_unscored(
    run: Run, runner: ScriptedRunner, cases: str
) -> None:
    runner.default = ScriptedReply("Four.")
    done = run("bench", "--cases", cases, "--json")
    assert done.code == 0
    (row,) = done.json["rows"]
    assert (row["suite"], row["role"], row["score"]) == ("mine", "reasoning", 0.5)
    assert (row["cases"], row["scored"], row["unscored"], row["errors"]) == (3, 2, 1, 0)
    assert row["interval"][0] <= 0.5 <= row["interval"][1]
    assert row["output_tokens"] > 0
    assert row["seconds"] > 0
    assert "1 unscored" in " ".join(run("bench", "show").out.split())
    assert "five" in run("bench", "show", "1", "--wrong").out
    assert {call.body["temperature"] for call in runner.calls} == {0.0}
    assert {call.body["seed"] for call in runner.calls} == {0}


def test_a_second_run_is_compared_letter_by_letter(
    run: Run, runner: ScriptedRunner, cases: str
) -> None:
    runner.default = ScriptedReply("Four.")
    assert run("bench", "--cases", cases, "--json").json["repeat"] is None
    same = run("bench", "--cases", cases, "--json").json["repeat"]
    assert (same["run"], same["pairs"], same["identical"], same["different"]) == (1, 3, 3, [])
    runner.default = lambda request: "five" if "five" in request.text else "Four."
    told = run("bench", "--cases", cases)
    assert "The same as run 2: 2 of 3 answers are identical, 1 scores changed" in told.out
    assert "the runner answered otherwise: mine five (0 % → 100 %)" in told.out


def test_models_are_compared_on_the_same_cases_and_bare(run: Run, two: str, cases: str) -> None:
    options = ("--stack", two, "--cases", cases, "--model", "all", "--bare", "--json")
    body = run("bench", *options).json
    scores = {(row["model"], row["arm"]): row["score"] for row in body["rows"]}
    assert scores == {
        ("plain", "rolecall"): 0.5,
        ("plain", "bare"): 0.5,
        ("good", "rolecall"): 1.0,
        ("good", "bare"): 1.0,
    }
    assert {line["difference"] for line in body["orchestration"]} == {0.0}
    assert [line["difference"] for line in body["compared"]] == [0.5, 0.5]
    (line,) = body["attribution"]
    assert (line["of_model"], line["of_orchestration"]) == (0.5, 0.0)
    difference = run("bench", "diff", "last@plain", "1@good@Q4", "--json").json
    assert difference["second"] == "run 1, stack two (good@Q4)"
    assert difference["suites"][0]["better"] == ["five"]
    assert not difference["suites"][0]["significant"]
    told = run("bench", "diff", "two@plain", "two@good").out
    assert "not significant" in " ".join(told.split())


def test_reports_are_whole_offline_and_escaped(
    run: Run, runner: ScriptedRunner, tmp_path: Path, cases: str
) -> None:
    spec = {"id": "<b>x|y</b>", "endpoint": runner.endpoint}
    stack = tmp_path / "odd.yaml"
    stack.write_text(yaml.safe_dump({"models": {"router": spec, "reasoning": spec}}))
    runner.models = ["<b>x|y</b>"]
    page, text = tmp_path / "r.html", tmp_path / "r.md"
    done = run("bench", "--stack", str(stack), "--cases", cases, "--report", str(page))
    assert str(page) in done.out
    assert run("bench", "show", "last", "--report", str(text)).code == 0
    html = page.read_text(encoding="utf-8")
    assert html.count("<svg") == 2
    assert "<b>x" not in html
    assert not re.search(r"(?:src|href)=|@import|url\(", html)
    markdown = text.read_text(encoding="utf-8")
    assert "x\\|y" in markdown
    for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", markdown):
        assert (tmp_path / name).read_text(encoding="utf-8").startswith("<svg")
    assert markdown.count("](") == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--suite", "chess"], "there is no suite 'chess'"),
        (["--model", "none", "--suite", "speed"], "no stack has a model 'none'; models: tiny"),
        (["--role", "legal", "--suite", "speed"], "no role legal"),
        (["--set", "gsm8k"], "expected NAME=FILE"),
        (["--set", "chess=x"], "no loader for 'chess'"),
        (["--cases", "none.jsonl"], "none.jsonl cannot be read"),
        (["--report", "x.pdf"], "ends in .html or .md"),
        (["--stack", "none.yaml"], "none.yaml"),
    ],
)
def test_wrong_usage_says_what_would_be_right(run: Run, options: list[str], told: str) -> None:
    done = run("bench", *options)
    assert done.code == 2
    assert told in " ".join(done.err.split())


def test_a_wrong_case_is_told_before_anything_is_asked(
    run: Run, runner: ScriptedRunner, tmp_path: Path
) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "x", "anser": 1}\n')
    done = run("bench", "--cases", str(path))
    assert (done.code, runner.calls) == (2, [])
    assert "mine.jsonl:1: anser" in done.err.replace("\n", "")


def test_after_a_fresh_run_the_same_command_does_not_go_back_to_the_stopped_one(
    run: Run, runner: ScriptedRunner, cases: str
) -> None:
    runner.default = ScriptedReply(fault="refuse")
    assert run("bench", "--cases", cases, "--json").json["status"] == "partial"
    runner.default = ScriptedReply("four")
    assert run("bench", "--cases", cases, "--fresh", "--json").json["run"] == 2
    again = run("bench", "--cases", cases, "--json").json
    assert (again["run"], again["resumed"], again["repeat"]["identical"]) == (3, 0, 3)


def test_two_stacks_of_one_name_cannot_be_told_apart(
    run: Run, two: str, cases: str, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "two.yaml"
    other.parent.mkdir()
    other.write_text(Path(two).read_text())
    done = run("bench", "--stack", two, "--stack", str(other), "--cases", cases)
    assert (done.code, "two stacks are named 'two'" in done.err) == (2, True)
    same = run("bench", "--stack", two, "--stack", two, "--cases", cases, "--json").json
    assert [row["cases"] for row in same["rows"]] == [3]


def test_a_model_on_two_endpoints_is_asked_on_both(
    run: Run, runner: ScriptedRunner, cases: str, tmp_path: Path
) -> None:
    address = runner.endpoint.replace("127.0.0.1", "localhost")
    specs = [{"id": "tiny", "endpoint": where} for where in (runner.endpoint, address)]
    stack = tmp_path / "both.yaml"
    stack.write_text(yaml.safe_dump({"models": {"router": specs[0], "reasoning": specs}}))
    body = run("bench", "--stack", str(stack), "--cases", cases, "--model", "all", "--json").json
    assert [row["endpoint"] for row in body["rows"]] == [runner.endpoint, address]


def test_own_cases_cannot_pass_for_a_built_in_suite(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "coding.yaml"
    path.write_text("- {prompt: x, answer: 1}\n")
    done = run("bench", "--cases", str(path))
    assert (done.code, "rename the file" in done.err) == (2, True)


def test_a_role_that_a_stack_lacks_is_left_out_and_said(
    run: Run, runner: ScriptedRunner, tmp_path: Path
) -> None:
    stack = tmp_path / "small.yaml"
    spec = {"id": "tiny", "endpoint": runner.endpoint}
    stack.write_text(yaml.safe_dump({"models": {"router": spec, "reasoning": spec}}))
    done = run("bench", "--stack", str(stack), "--suite", "coding", "--suite", "speed", "--json")
    assert done.code == 0
    assert done.json["left_out"] == ["coding: stack small has no role coding"]
    assert {row["suite"] for row in done.json["rows"]} == {"speed"}


def test_without_a_sandbox_no_code_is_run_and_that_is_said(
    run: Run, runner: ScriptedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rolecall.bench.sandbox._WAYS", {})
    done = run("bench", "--suite", "coding", "--suite", "speed", "--quick", "--json")
    assert done.code == 0
    assert "5 cases with tests: code of models is not run here" in done.json["left_out"][0]
    assert {row["suite"] for row in done.json["rows"]} == {"speed"}


def test_two_benchmarks_do_not_measure_each_other(run: Run, cases: str) -> None:
    with alone():
        done = run("bench", "--cases", cases)
        assert done.code == BenchBusy.exit_code
        assert "another benchmark is running" in done.err
    assert run("bench", "--cases", cases).code == 0


def test_runs_are_listed_and_a_missing_one_is_told(run: Run, cases: str) -> None:
    assert "no runs yet" in run("bench", "list").out
    run("bench", "--cases", cases)
    (listed,) = run("bench", "list", "--json").json["runs"]
    assert (listed["status"], listed["answered"], listed["plan"]["cases"]) == ("done", 3, 3)
    assert "3 of 3" in run("bench", "list").out
    for command in (("show", "7"), ("show", "x"), ("diff", "1", "7"), ("diff", "1", "none")):
        assert run("bench", *command).code == 2
    for odd in ("9" * 30, "²"):
        assert run("bench", "show", odd).code == run("bench", "diff", "1", odd).code == 2
    assert run("bench", "list", "--limit", "9" * 20).code == 2


def test_a_label_is_asked_of_the_router(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text('{"prompt": "Hello there!", "label": "HANDLE"}\n')
    done = run("bench", "--cases", str(path), "--json")
    assert done.code == 0
    assert [(row["role"], row["score"]) for row in done.json["rows"]] == [("router", 1.0)]


def test_a_stack_is_compared_by_its_newest_run_with_answers(
    run: Run, runner: ScriptedRunner, cases: str
) -> None:
    first = run("bench", "--cases", cases, "--json").json
    stack = first["rows"][0]["stack"]
    store = open_store()
    try:  # a run that was stopped before any answer
        asyncio.run(store.begin("another", store.run(1)["plan"], fresh=True))
    finally:
        store.close()
    same = run("bench", "diff", stack, "1", "--json").json
    assert same["first"] == same["second"]
    assert "The same as" not in run("bench", "show", "last").out


def test_too_few_cases_are_said_to_be_too_few(run: Run, runner: ScriptedRunner) -> None:
    runner.default = ScriptedReply("No idea.")
    done = run("bench", "--suite", "reasoning", "--role", "reasoning", "--limit", "3", "--json")
    (verdict,) = done.json["verdicts"]
    assert "bench reasoning 0 of 3: too few to judge" in verdict["why"]
    assert "reasoning and" not in verdict["why"]
