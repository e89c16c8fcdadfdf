"""``rolecall stack check`` judges by what was measured, and names the best candidate."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from rolecall.bench.candidates import Candidate, _best, _significant
from rolecall.bench.standing import Standing
from rolecall.bench.store import BenchStore
from rolecall.config.load import load_stack
from rolecall.doctor.quality import Score
from rolecall.doctor.verdict import needs_of
from rolecall.models.capabilities import ApiSeen, Capability
from rolecall.models.scripted import Request, ScriptedRunner

Run = Callable[..., Any]


def test_stack_check_judges_by_what_was_measured_and_suggests_the_best(
    run: Run, runner: ScriptedRunner, two: str
) -> None:
    before = run("stack", "check", two, "--json").json
    assert {row["verdict"] for row in before["models"]} == {"ok"}
    assert before["suggestions"] == {}

    def answer(request: Request) -> str:
        said = re.search(r"What is (\d+)\?", request.text)
        return f"Answer: {said[1]}" if said and request.model == "good" else "Answer: no idea"

    runner.default = answer
    suite = [{"prompt": f"What is {n}?", "answer": n, "match": "number"} for n in range(20)]
    with pytest.MonkeyPatch.context() as patch:
        from rolecall.bench.cases import Case
        from rolecall.bench.suites import SUITES, Suite

        made = [Case.model_validate(case) for case in suite]
        patch.setitem(SUITES, "reasoning", Suite("reasoning", "reasoning", lambda: made))
        run("bench", "--stack", two, "--suite", "reasoning", "--model", "all", "--json")
    found = run("stack", "check", two, "--json").json
    verdicts = {row["model"]: row["verdict"] for row in found["models"] if row["role"] != "router"}
    assert verdicts == {"plain": "unfit", "good": "ok"}
    best = found["suggestions"]["reasoning"]
    assert (best["model"], best["known_from"], best["preferred"]) == ("good", "bench", False)
    assert best["significant"] is True
    told = " ".join(run("stack", "check", two).out.split())
    assert "reasoning: good at" in told
    assert "significantly better than the first" in told
    assert run("stack", "check", two, "--strict").code == 3


@dataclass
class Kept(Standing):
    """A standing whose results need no store."""

    results: list[dict[str, Any]] = field(default_factory=list)

    def rows(self, store: BenchStore, suite: str) -> list[dict[str, Any]]:
        return self.results


@pytest.fixture
def pair(two: str, rows: Any) -> list[Candidate]:
    """The first model of a role, which is right on every case, and one that never is."""
    found = []
    for spec, right in zip(load_stack(two).models["reasoning"], (1, 0), strict=True):
        kept = Kept(results=rows([right] * 20, role="reasoning", suite="reasoning"))
        kept.scores["reasoning"] = Score(20 * right, 20)
        found.append(Candidate("reasoning", spec, True, kept, None))
    return found


def test_significantly_worse_is_not_better(pair: list[Candidate]) -> None:
    first, second = pair
    store: Any = object()
    assert _significant("reasoning", second, pair, first.spec, store) is False
    assert _significant("reasoning", first, pair, second.spec, store) is True


def test_one_that_was_measured_further_is_no_better_than_a_first_that_does(
    pair: list[Candidate], two: str
) -> None:
    first, second = pair
    questions = dict.fromkeys(needs_of("reasoning").kinds, (9, 9))
    seen = Capability(
        endpoint=first.spec.endpoint,
        model="plain",
        fingerprint="",
        apis={"chat_completions": ApiSeen(works=True)},
        quality=questions,
        measured_at=0.0,
    )
    examined = replace(first, standing=None, seen=seen)
    assert (examined.known_from, second.known_from) == ("doctor", "bench")
    assert _best("reasoning", [examined, second], load_stack(two), None) is None


def test_a_model_that_only_the_endpoint_offers_can_be_the_best(
    run: Run, runner: ScriptedRunner, two: str, tmp_path: Path
) -> None:
    from rolecall.models.capabilities import Capability, CapabilityFile

    root = runner.endpoint.removesuffix("/v1")
    for name, right in (("plain", 2), ("good", 6)):
        entry = {
            "endpoint": root,
            "model": name,
            "fingerprint": "f",
            "apis": {"chat_completions": {"works": True}},
            "quality": {"reasoning": (right, 7), "following": (6, 6)},
            "measured_at": 1.0,
        }
        CapabilityFile().put([Capability.model_validate(entry)])
    spec = {"id": "plain", "endpoint": runner.endpoint}
    stack = tmp_path / "one.yaml"
    stack.write_text(yaml.safe_dump({"models": {"router": spec, "reasoning": spec}}))
    best = run("stack", "check", str(stack), "--json").json["suggestions"]["reasoning"]
    assert (best["model"], best["known_from"], best["listed"]) == ("good", "doctor", False)
    assert best["significant"] is None


def test_results_that_cannot_be_read_do_not_keep_stack_check(run: Run, rolecall_home: Path) -> None:
    rolecall_home.mkdir(exist_ok=True)
    (rolecall_home / "bench.db").write_bytes(b"no database" * 1000)
    done = run("stack", "check", "--json")
    assert (done.code, done.json["suggestions"]) == (0, {})
    assert "left out" in done.err
    assert run("bench", "list").code == 5
