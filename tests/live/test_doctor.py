"""The doctor on real llama.cpp: what it is known to honour and to ignore."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.live, pytest.mark.enable_socket]

STACK = """\
models:
  router: &model
    {id: smollm2-135m, endpoint: embedded, context_length: 2048, timeout_s: 120}
  reasoning: *model
  coding: *model
"""


@pytest.fixture(scope="module")
def report(weights_home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One examination of SmolLM2-135M in all three roles, its file kept apart."""
    from rolecall.models.embedded.weights import Weights

    Weights().pull("smollm2-135m")  # the doctor itself downloads nothing
    stack = tmp_path_factory.mktemp("stack") / "small.yaml"
    stack.write_text(STACK, encoding="utf-8")
    command = [str(Path(sys.executable).with_name("rolecall")), "doctor", "--json", "--no-write"]
    done = subprocess.run(
        [*command, "--stack", str(stack)],
        check=True,
        capture_output=True,
        text=True,
        timeout=110,
        env={**os.environ, "ROLECALL_HOME": str(weights_home)},
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_llama_cpp_is_known_with_its_context(report: dict[str, Any]) -> None:
    (found,) = report["endpoints"]
    assert (found["runner"], found["endpoint"]) == ("llama.cpp", "embedded")
    assert found["version"]
    assert found["capabilities"]["context_length"] == 2048
    assert found["reachable"] is True


def test_schemas_are_obeyed_in_chat_completions_only(report: dict[str, Any]) -> None:
    (found,) = report["endpoints"]
    able = found["capabilities"]
    assert able["chat_completions"] is True
    assert able["responses"] is True
    assert able["json_schema"] == {"chat_completions": True, "responses": False}
    assert able["logprobs"]["chat_completions"] is True
    assert able["streaming_usage"] == {"chat_completions": True, "responses": True}
    assert able["embeddings"] is False
    assert able["truncation"] == "refuses"
    assert found["api"] == "chat_completions"
    assert found["notes"] == []


def test_speed_is_measured(report: dict[str, Any]) -> None:
    speed = report["endpoints"][0]["speed"]
    assert 0 < speed["ttft_ms"] < 60_000
    assert 1 < speed["tokens_per_s"] < 10_000
    assert speed["prefill_tokens_per_s"] > 1


def test_a_model_of_135_million_parameters_is_not_fit_to_reason(report: dict[str, Any]) -> None:
    assert report["roles"]["reasoning"]["verdict"] == "unfit"
    assert "of" in report["roles"]["reasoning"]["why"]
