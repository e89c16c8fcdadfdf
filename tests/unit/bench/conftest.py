"""Rows of results made by hand, and stacks on the scripted runner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from rolecall.models.scripted import Request, ScriptedRunner

Rows = list[dict[str, Any]]


@pytest.fixture
def rows() -> Callable[..., Rows]:
    """``rows([1, 0], model="a", …)``: one row per score, ``None`` is unscored."""

    def make(scores: Sequence[float | None], **more: Any) -> Rows:
        base: dict[str, Any] = {
            "run": 1,
            "subject": "s1",
            "stack": "mine",
            "role": "coding",
            "model": "m",
            "endpoint": "http://localhost:1/v1",
            "quantization": None,
            "arm": "rolecall",
            "suite": "coding",
            "about": None,
            "why": "",
            "answer": "text",
            "input_tokens": 10,
            "output_tokens": 20,
            "calls": 1,
            "seconds": 2.0,
            "ttft_ms": 100.0,
            "tokens_per_s": 10.0,
            "memory_bytes": None,
            "at": 1.0,
        }
        return [
            {
                **base,
                "case_id": f"case-{number}",
                "case_digest": f"digest-{number}",
                "status": "unscored" if score is None else "ok",
                "score": score,
                **more,
            }
            for number, score in enumerate(scores)
        ]

    return make


@pytest.fixture
def one_model(runner: ScriptedRunner) -> None:
    """What the stack of ``run`` names is there."""
    runner.models = ["tiny"]


@pytest.fixture
def two(runner: ScriptedRunner, tmp_path: Path) -> str:
    """A stack whose reasoning role has two models: only ``good`` says five."""
    models = [
        {"id": "plain", "endpoint": runner.endpoint, "quantization": "Q8"},
        {"id": "good", "endpoint": runner.endpoint, "quantization": "Q4"},
    ]
    runner.models = ["plain", "good"]

    def answer(request: Request) -> str:
        good = request.model == "good" and "five" in request.text
        return "five" if good else "four"

    runner.default = answer
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump({"models": {"router": models[:1], "reasoning": models}}))
    return str(path)
