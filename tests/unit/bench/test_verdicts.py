"""One judgement for doctor, stack check and bench."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from rolecall.bench.suites import SUITES
from rolecall.bench.verdicts import verdicts
from rolecall.doctor.quality import QUESTIONS, Score
from rolecall.doctor.verdict import FEWEST_CASES, NEEDS, judge, needs_of
from rolecall.models.capabilities import Capability, CapabilityFile, Speed

Rows = Callable[..., list[dict[str, Any]]]


def test_every_threshold_is_of_a_suite_or_question_that_exists() -> None:
    for needs in [*NEEDS.values(), needs_of("legal")]:
        assert set(needs.suites) <= set(SUITES)
        assert set(needs.kinds) <= set(QUESTIONS)
        for bar in [*needs.suites.values(), *needs.kinds.values()]:
            assert 0 <= bar.weak < bar.ok <= 1


@pytest.mark.parametrize(("right", "verdict"), [(20, "ok"), (10, "weak"), (1, "unfit")])
def test_a_suite_decides(right: int, verdict: str) -> None:
    found = judge("coding", None, {}, suites={"coding": Score(right, 20)})
    assert found[0] == verdict
    assert f"bench coding {right} of 20" in found[1]


def test_what_rolecall_mends_makes_no_model_unfit() -> None:
    assert judge("reasoning", None, {}, suites={"structured": Score(0, 20)})[0] == "weak"


def test_a_suite_counts_before_the_doctors_questions_of_that_kind() -> None:
    asked = {"coding": Score(7, 7), "following": Score(6, 6)}
    assert judge("coding", None, asked)[0] == "ok"
    assert judge("coding", None, asked, suites={"coding": Score(1, 20)})[0] == "unfit"
    few = {"coding": Score(0, FEWEST_CASES - 1)}
    assert judge("coding", None, asked, suites=few)[0] == "ok"


def test_measured_speed_and_stated_context_count() -> None:
    fine = {"coding": Score(20, 20)}
    slow = Speed(tokens_per_s=1.0)
    assert judge("coding", None, {}, suites=fine, speed=slow)[0] == "weak"
    assert judge("coding", None, {}, 1024, suites=fine) == (
        "weak",
        "reads 1024 tokens, 4096 are wanted",
    )
    assert judge("coding", None, {}, 512, suites=fine)[0] == "unfit"


def test_a_run_names_the_best_of_each_role(rows: Rows) -> None:
    asked = rows([1] * 10 + [0] * 10, model="fair")
    asked += rows([1] * 20, model="good")
    asked += rows([1] * 20, model="bare", arm="bare") + rows([0] * 20, suite="own")
    found = {line["model"]: line for line in verdicts(asked, {})}
    assert set(found) == {"fair", "good"}
    assert (found["fair"]["verdict"], found["fair"]["best"]) == ("weak", False)
    assert (found["good"]["verdict"], found["good"]["best"]) == ("ok", True)


def test_what_the_doctor_saw_counts_in_a_runs_verdicts(rows: Rows) -> None:
    seen = Capability(
        endpoint="http://localhost:1",
        model="m",
        fingerprint="f",
        context_length=512,
        apis={"chat_completions": {"works": True}},  # type: ignore[dict-item]
        quality={"following": (0, 6)},
        measured_at=time.time(),
    )
    CapabilityFile().put([seen])
    (line,) = verdicts(rows([1] * 20), {})
    assert line["verdict"] == "unfit"
    assert "following 0 of 6" in line["why"]
    assert "reads 512 tokens" in line["why"]
