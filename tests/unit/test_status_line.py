"""The line under an answer: who gave it."""

from __future__ import annotations

from typing import Any

import pytest

from rolecall.cli.view import status_line
from rolecall.reply import Reply
from rolecall.routing.decision import Decision


def _answered_by(role: str, decided: str) -> Reply:
    calls: list[dict[str, Any]] = [
        {"role": "router", "model": "small", "status": "ok", "output_tokens": 1},
        {"role": decided, "model": "broken", "status": "error", "output_tokens": None},
        {"role": role, "model": "able", "status": "ok", "output_tokens": 7},
    ]
    decision = Decision.for_role(decided, 0.9, "why").model_dump()
    return Reply("t1", "u1", "r1", decision=decision, strategy="encoder", calls=calls)


@pytest.mark.parametrize("decided", ["coding", "router", "legal"])
def test_a_model_of_the_role_itself_answered(decided: str) -> None:
    assert status_line(_answered_by(decided, decided)).startswith(f"{decided} · able · ")


@pytest.mark.parametrize("decided", ["coding", "router", "legal"])
def test_a_model_of_another_role_stood_in(decided: str) -> None:
    line = status_line(_answered_by("reasoning", decided))
    assert line.startswith(f"reasoning in place of {decided} · able · ")


def test_without_any_call_the_decision_tells_the_role() -> None:
    decision = Decision.for_role("coding", 1.0, "why").model_dump()
    reply = Reply("t1", "u1", "r1", decision=decision, strategy="fixed")
    assert status_line(reply).startswith("coding · fixed · ")
