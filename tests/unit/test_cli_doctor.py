"""``rolecall doctor`` on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rolecall.cli.output import ago
from rolecall.models.scripted import Request, ScriptedReply, ScriptedRunner

Run = Callable[..., Any]


@pytest.fixture
def runner() -> Iterator[ScriptedRunner]:
    def say(request: Request) -> ScriptedReply:
        if request.top_logprobs:
            return ScriptedReply("A", logprobs={"A": -0.1, "B": -2.3})
        return ScriptedReply("\x1b[31mLisbon\x1b[0m")

    with ScriptedRunner(models=["tiny"]) as started:
        started.default = say
        yield started


def test_people_get_tables_with_words_and_remedies(run: Run) -> None:
    done = run("doctor", "--quick")
    assert done.code == 0, done.err
    assert "JSON schema" in done.out
    assert "✗ no" in done.out  # a word beside the colour
    assert "what to change" in done.out
    assert "→" in done.out
    assert "router" in done.out
    assert "✓ ok" in done.out


def test_json_is_one_object_with_the_documented_keys(run: Run, rolecall_home: Path) -> None:
    done = run("doctor", "--json")
    assert done.code == 0, done.err
    assert set(done.json) >= {"endpoints", "roles"}
    for endpoint in done.json["endpoints"]:
        assert set(endpoint) >= {
            *("endpoint", "runner", "version", "reachable", "models"),
            *("capabilities", "speed", "problems"),
        }
        for problem in endpoint["problems"]:
            assert set(problem) == {"what", "remedy"}
            assert problem["remedy"]
    for role in ("router", "reasoning", "coding"):
        assert done.json["roles"][role]["verdict"] in {"ok", "weak", "unfit", "unreachable"}
        assert done.json["roles"][role]["why"]
    assert "\x1b" not in done.out
    kept = json.loads((rolecall_home / "capabilities.json").read_text())
    assert [entry["model"] for entry in kept["entries"]] == ["tiny"]


def test_only_strict_makes_a_bad_verdict_an_exit_code(run: Run, runner: ScriptedRunner) -> None:
    assert run("doctor", "--quick", "--strict").code == 0
    runner.close()
    assert run("doctor").code == 0
    done = run("doctor", "--strict")
    assert done.code == 3
    assert "✗ unreachable" in done.out
    assert "start the runner" in done.out


def test_one_role_alone_and_an_unknown_one(run: Run) -> None:
    done = run("doctor", "--role", "coding", "--quick", "--json", "--no-write")
    assert list(done.json["roles"]) == ["coding"]
    wrong = run("doctor", "--role", "poetry")
    assert wrong.code == 2
    assert "router, reasoning, coding" in wrong.err


def test_a_damaged_capability_file_is_told_of_and_made_anew(run: Run, rolecall_home: Path) -> None:
    rolecall_home.mkdir()
    (rolecall_home / "capabilities.json").write_text("{")
    done = run("doctor", "--quick")
    assert done.code == 0
    assert "capabilities.json cannot be read" in " ".join(done.out.split())
    assert json.loads((rolecall_home / "capabilities.json").read_text())["entries"]


def test_an_embedded_model_without_weights_is_not_pulled(
    run: Run, tmp_path: Path, rolecall_home: Path
) -> None:
    stack = tmp_path / "embedded-only.yaml"
    stack.write_text("models: {router: {id: smollm2-135m, endpoint: embedded}}\n")
    done = run("doctor", "--stack", str(stack), "--json")
    assert done.code == 0
    assert done.json["roles"]["router"]["verdict"] == "unreachable"
    remedies = [problem["remedy"] for problem in done.json["endpoints"][0]["problems"]]
    assert remedies == ["rolecall models pull smollm2-135m"]
    assert not list(rolecall_home.glob("models/*.gguf"))


def test_the_age_of_what_was_seen_is_told(run: Run, runner: ScriptedRunner) -> None:
    assert run("stack", "check", "--json").json["models"][0]["examined_s"] is None
    run("doctor", "--quick")
    assert run("stack", "check", "--json").json["models"][0]["examined_s"] < 60
    assert "examined just now" in " ".join(run("stack", "check").out.split())
    runner.close()
    shown = " ".join(run("doctor").out.split())
    assert "examined just now" in shown
    assert "nothing answers there" in shown


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(5, "just now"), (61, "1 minute ago"), (7200, "2 hours ago"), (86_400 * 9, "9 days ago")],
)
def test_ages_are_said_in_words(seconds: float, said: str) -> None:
    assert ago(seconds) == said
