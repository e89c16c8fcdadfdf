"""Suites as LangSmith experiments that stay here."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from rolecall.bench.offline import evaluate_offline
from rolecall.bench.suites import SUITES, from_file
from rolecall.errors import UsageError


def test_a_suite_is_evaluated_without_key_or_network(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[Any] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: looked_up.append(a) or [])
    right = {case.prompt: case.answer for case in SUITES["reasoning"].cases()}

    def answer(prompt: str) -> str:
        given = right[prompt]
        return f"Answer: {given[0] if isinstance(given, list) else given}"

    rows = list(evaluate_offline(answer, "reasoning", quick=True))
    assert [row["evaluation_results"]["results"][0].score for row in rows] == [1.0] * 6
    rows = list(evaluate_offline(lambda prompt: "no idea", "reasoning", limit=2))
    (found,) = rows[0]["evaluation_results"]["results"]
    assert (found.key, found.score) == ("right", 0.0)
    assert found.comment.startswith("got")
    assert looked_up == []


def test_what_expects_nothing_has_no_score(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("- prompt: say what you like\n")
    (row,) = evaluate_offline(lambda prompt: "hello", from_file(path, "reasoning"))
    assert row["evaluation_results"]["results"][0].score is None


def test_answers_that_are_no_texts_are_refused() -> None:
    with pytest.raises(UsageError, match="suite tools are no texts"):
        evaluate_offline(lambda prompt: "", "tools")
