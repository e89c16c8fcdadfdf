"""``rolecall router``: measuring, explaining, correcting and training from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from rolecall.models.scripted import ScriptedReply, ScriptedRunner
from rolecall.routing.examples import Example, shipped

Run = Callable[..., Any]

ROWS = [
    {"prompt": "write a python function that sorts a list", "label": "CODING"},
    {"prompt": "hi there", "context": [], "label": "HANDLE"},
    {"prompt": "now in Rust", "context": ["write a binary search in Go"], "label": "CODING"},
    {"prompt": "thanks!", "context": ["prove that sqrt 2 is irrational"], "label": "HANDLE"},
    {"prompt": "Plan a week in Lisbon for four on 900 euros, day by day", "label": "REASONING"},
]
KEYS = (
    *("n", "accuracy", "macro_f1", "per_class", "ece", "auroc", "coverage", "abstained"),
    *("latency_ms", "control_accuracy"),
)


@pytest.fixture
def runner() -> Iterator[ScriptedRunner]:
    with ScriptedRunner(models=["tiny"]) as started:
        started.default = ScriptedReply("fine")
        yield started


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    return path


@pytest.fixture
def few_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training sees every thirtieth shipped example."""

    def some(split: str) -> list[Example]:
        return shipped(split)[::30]

    monkeypatch.setattr("rolecall.routing.training.encoded.shipped", some)


def test_eval_prints_the_documented_keys(run: Run, data: Path, runner: ScriptedRunner) -> None:
    done = run("router", "eval", "--data", str(data), "--strategy", "encoder", "--json")
    assert done.code == 0, done.err
    assert set(KEYS) <= set(done.json)
    assert done.json["n"] == 5
    assert done.json["accuracy"] == 1.0
    assert set(done.json["latency_ms"]) == {"p50", "p95"}
    assert {"coverage", "accuracy"} == set(done.json["coverage"][0])
    assert not [call for call in runner.calls if call.messages]


def test_eval_shows_people_a_table_and_the_wrong_decisions(run: Run, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text(json.dumps({"prompt": "hi there", "label": "CODING"}), encoding="utf-8")
    done = run("router", "eval", "--data", str(wrong), "--strategy", "encoder", "--errors", "3")
    assert done.code == 0, done.err
    assert "accuracy 0.000" in done.out
    assert "CODING was given HANDLE" in done.out


def test_eval_plots(run: Run, data: Path, tmp_path: Path) -> None:
    plots = tmp_path / "plots"
    done = run("router", "eval", "--data", str(data), "--strategy", "encoder", "--plot", str(plots))
    assert done.code == 0, done.err
    assert {path.name for path in plots.glob("*.png")} == {
        *("reliability.png", "risk_coverage.png", "confusion.png"),
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--strategy", "magic"], "no strategy 'magic'"),
    ],
)
def test_eval_refuses_what_it_cannot_do(run: Run, arguments: list[str], said: str) -> None:
    done = run("router", "eval", *arguments)
    assert done.code == 2
    assert said in done.err


def test_explain_says_what_drove_a_decision(run: Run) -> None:
    done = run("router", "explain", "now in Rust", "--context", ROWS[2]["context"][0], "--json")
    assert done.code == 0, done.err
    assert done.json["label"] == "CODING"
    assert done.json["pulls"]
    assert len(done.json["nearest"]) == 5
    assert "(the earlier messages)" in [p["text"] for p in done.json["passages"]]
    shown = run("router", "explain", "Plan a week in Lisbon. Four people.")
    assert "what pulls" in shown.out
    assert "nearest" in shown.out


def test_a_correction_is_learnt_and_can_be_taken_back(run: Run, few_examples: None) -> None:
    asked = run("ask", "fix the doorbell", "--json")
    said = run("router", "feedback", asked.json["trace_id"], "--should-be", "coding", "--json")
    assert said.code == 0, said.err
    assert said.json["corrections"] == 1
    trained = run("router", "train", "--from-traces", "--force", "--json")
    assert trained.code == 0, trained.err
    assert trained.json["used"] is True
    assert trained.json["corrections"] == 1
    assert {"accuracy", "ece"} <= set(trained.json["before"]) & set(trained.json["after"])
    explained = run("router", "explain", "fix the doorbell", "--json")
    assert explained.json["version"] == "0001"
    names = [row["name"] for row in run("router", "versions", "--json").json["versions"]]
    assert names == ["shipped", "0001"]
    assert run("router", "rollback", "--json").json["version"] == "shipped"
    assert run("router", "explain", "fix the doorbell", "--json").json["version"] == "shipped"


def test_a_worse_router_is_kept_but_not_put_in_use(
    run: Run, few_examples: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rolecall.routing.training.build._TOLERANCE", -1.0)  # nothing will do
    asked = run("ask", "hello", "--json")
    run("router", "feedback", asked.json["trace_id"], "--should-be", "coding")
    trained = run("router", "train", "--from-traces", "--json")
    assert trained.json["used"] is False
    assert trained.json["reasons_against"]
    status = run("router", "status", "--json").json
    assert (status["version"], status["corrections"]) == ("shipped", 1)
    assert "Not put in use" in run("router", "train", "--from-traces").out


def test_training_without_corrections_has_nothing_to_learn_from_traces(run: Run) -> None:
    done = run("router", "train", "--from-traces")
    assert done.code == 2
    assert "router feedback" in done.err


def test_rolling_back_the_shipped_router_is_refused(run: Run) -> None:
    done = run("router", "rollback")
    assert done.code == 2
    assert "no version before" in done.err


def test_status_knows_what_is_in_use(run: Run) -> None:
    found = run("router", "status", "--json").json
    assert found["version"] == "shipped"
    assert found["router_model"] == "tiny"
    assert found["router_model_measured"] is False
    assert found["drift"] == {"index": None, "n": 0, "warning": None}
    assert "too few decisions" in run("router", "status").out


def test_corrections_that_cannot_be_read_are_left_alone(run: Run, rolecall_home: Path) -> None:
    asked = run("ask", "hello", "--json")
    run("router", "feedback", asked.json["trace_id"], "--should-be", "coding")
    path = rolecall_home / "router" / "corrections.jsonl"
    path.write_text(path.read_text() + "garbage{\n")
    before = path.read_bytes()
    done = run("router", "feedback", asked.json["trace_id"], "--should-be", "reasoning")
    assert (done.code, path.read_bytes()) == (2, before)
    assert "mend what is wrong" in done.err
    assert "garbage" in path.read_text()
    assert "corrections.jsonl:2" in run("router", "status", "--json").json["problem"]
    assert run("router", "explain", "hello").code == 0


def test_a_label_that_is_no_role_is_named(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    rows = [{"prompt": "is this legal?", "label": "legal"}, {"prompt": "hi", "label": "handle"}]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8-sig")
    done = run("router", "eval", "--data", str(file), "--strategy", "encoder")
    assert done.code != 0
    assert "LEGAL (1)" in done.err
    assert "CODING" in done.err


def test_plots_that_cannot_be_written_are_refused_before_the_work(
    run: Run, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = run("router", "eval", "--data", str(data), "--plot", str(tmp_path / "file"))
    assert done.code == 2
    assert "is a file" in done.err


def test_few_prompts_are_not_called_a_measurement(run: Run, data: Path) -> None:
    done = run("router", "eval", "--data", str(data), "--strategy", "encoder")
    assert "too few prompts to tell (5)" in done.out


def test_an_empty_message_is_not_explained(run: Run) -> None:
    done = run("router", "explain", " ")
    assert done.code == 2
    assert "the question is empty" in done.err
    assert "ask" not in done.err


def test_agreeing_with_a_decision_is_no_correction(run: Run, runner: ScriptedRunner) -> None:
    asked = run("ask", "hello", "--role", "coding", "--json")
    done = run("router", "feedback", asked.json["trace_id"], "--should-be", "coding")
    assert done.code == 2
    assert "nothing to correct" in done.err


def test_a_version_in_use_that_is_gone_is_told(run: Run, rolecall_home: Path) -> None:
    (rolecall_home / "router").mkdir(parents=True)
    (rolecall_home / "router" / "current").write_text("0007\n", encoding="utf-8")
    done = run("router", "versions")
    assert "0007, is gone" in done.out
    assert "rolecall router rollback" in done.out


def test_two_trainings_at_once_are_refused(run: Run, rolecall_home: Path) -> None:
    (rolecall_home / "router").mkdir(parents=True)
    with FileLock(rolecall_home / "router" / "train.lock"):
        done = run("router", "train")
    assert done.code == 2
    assert "another process" in done.err
