"""The questions with known answers, and what the verdicts make of them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from rolecall.doctor.quality import QUESTIONS, Score
from rolecall.doctor.verdict import NEEDS, judge, needs_of
from rolecall.models.capabilities import Capability

# By question (its first words): an answer that is right, and one that is not.
ANSWERS = {
    "Answer with one word: which colour": ("White.", "Snow is white"),
    "Write the word lantern": ("LANTERN", "Lantern"),
    "Answer only YES or NO": ("YES", "No"),
    "Name three animals": ("cat, dog, horse", "cat\ndog\nhorse"),
    "Reply with the number 58": ("58", "The number is 58"),
    "Name one metal": ("Iron DONE", "DONE: iron"),
    "Write two lines": ("north\nsouth", "north south"),
    "What is the capital of Portugal": ("It is Lisbon.", "Madrid"),
    "Translate 'good night'": ("Buenas noches", "Buenos dias"),
    "How many minutes are there in two": ("120 minutes", "60"),
    "What is the opposite of 'early'": ("Late.", "later on, perhaps never"),
    "How is 'tomorow'": ("tomorrow", "tomorow"),
    "Which month comes after": ("November", "December"),
    "Which is the largest ocean": ("The Pacific Ocean", "The Atlantic"),
    "What is 15 plus 28": ("15 + 28 = 43", "42"),
    "Ana is older than Ben": ("Carl", "Ana"),
    "A bus leaves": ("85", "125"),
    "A coat costs": ("30 euros", "10"),
    "All glips": ("No.", "Yes"),
    "Three boxes": ("29", "36"),
    "Today is Wednesday": ("Saturday", "Friday"),
    "Which number comes next": ("162", "108"),
    "A rope of 30": ("10", "15"),
    "What does this Python code print": ("6", "abcabc"),
    "Which SQL keyword": ("SELECT DISTINCT", "UNIQUE"),
    "Write a Python expression": ("```python\nxs[ : : -1]\n```", "xs.reverse()"),
    "Write a Python function double": (
        "```python\ndef double(n):\n    return n * 2\n```",
        "def double(n): print(n)",
    ),
    "What is the value of this": ("[0, 1, 4, 9]", "[1, 4, 9, 16]"),
    "Which exception": ("`KeyError`", "IndexError"),
    "Which HTTP status": ("404 Not Found", "400"),
    "Which git command": ("git status", "git log"),
}
ALL = [question for kind in QUESTIONS.values() for question in kind]


@pytest.mark.parametrize("question", ALL, ids=lambda question: question.text[:30])
def test_a_right_answer_passes_and_a_wrong_one_does_not(question: Any) -> None:
    right, wrong = next(pair for start, pair in ANSWERS.items() if question.text.startswith(start))
    assert question.right(right)
    assert not question.right(wrong)
    assert not question.right("")


def test_code_is_read_and_never_run() -> None:
    check = next(q for q in ALL if "double(n)" in q.text).right
    assert not check("def double(n): return")
    assert not check("import os; os.abort()")
    assert not check("def double(n: return n" * 50)


def test_each_kind_has_enough_questions_and_each_role_asks_for_kinds_that_exist() -> None:
    assert all(6 <= len(questions) <= 8 for questions in QUESTIONS.values())
    for needs in [*NEEDS.values(), needs_of("legal")]:
        assert set(needs.kinds) <= set(QUESTIONS)


def seen(**more: Any) -> Capability:
    values: dict[str, Any] = {
        "endpoint": "embedded",
        "model": "m",
        "fingerprint": "f",
        "apis": {"chat_completions": {"works": True, "logprobs": True}},
        "measured_at": time.time(),
    }
    return Capability.model_validate(values | more)


def scores(share: float) -> dict[str, Score]:
    return {kind: Score(round(share * 8), 8) for kind in QUESTIONS}


@pytest.mark.parametrize(
    ("role", "share", "verdict"),
    [
        ("router", 1.0, "ok"),
        ("router", 0.6, "weak"),
        ("router", 0.2, "unfit"),
        ("reasoning", 0.9, "ok"),
        ("reasoning", 0.5, "weak"),
        ("reasoning", 0.1, "unfit"),
        ("coding", 0.0, "unfit"),
        ("legal", 0.8, "ok"),
    ],
)
def test_right_answers_decide_the_verdict(role: str, share: float, verdict: str) -> None:
    assert judge(role, seen(context_length=8192), scores(share))[0] == verdict


def test_the_worst_finding_counts_and_is_told() -> None:
    low = {**scores(1.0), "following": Score(1, 8)}
    assert judge("coding", seen(), low) == ("unfit", "following 1 of 8")
    assert judge("coding", seen(context_length=2048), scores(1.0)) == (
        "weak",
        "reads 2048 tokens, 4096 are wanted",
    )
    assert judge("coding", seen(context_length=512), scores(1.0))[0] == "unfit"
    assert judge("coding", seen(context_length=65536), scores(1.0), 1024)[0] == "weak"
    assert judge("router", seen(speed={"ttft_ms": 9000}), scores(1.0))[0] == "weak"
    assert judge("router", seen(speed={"tokens_per_s": 1.5}), scores(1.0))[0] == "weak"


def test_a_model_that_gives_no_answer_is_unfit_and_an_unmeasured_one_is_not_blamed() -> None:
    silent = seen(apis={"chat_completions": {"works": False}})
    assert judge("router", silent, {})[0] == "unfit"
    assert judge("router", seen(), {})[0] == "ok"


def test_a_router_model_that_must_choose_needs_scores_or_a_schema() -> None:
    blind = seen(apis={"chat_completions": {"works": True, "logprobs": False}})
    assert judge("router", blind, scores(1.0))[0] == "ok"
    assert judge("router", blind, scores(1.0), by_label=True)[0] == "weak"
    assert judge("router", seen(), scores(1.0), by_label=True)[0] == "ok"
