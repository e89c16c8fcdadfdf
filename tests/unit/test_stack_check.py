"""The verdicts of a check on servers that answer without listing their models."""

from __future__ import annotations

from pathlib import Path

import pytest

from rolecall.config.schema import ModelSpec, Settings, Stack
from rolecall.models.check import check_stack
from rolecall.models.scripted import ScriptedRunner


async def _row(runner: ScriptedRunner) -> tuple[str, str]:
    spec = ModelSpec(id="tiny", endpoint=runner.endpoint)
    (row,) = await check_stack(Stack("t", Path("t"), "", {"coding": [spec]}, {}, Settings()))
    return row["verdict"], row["why"]


@pytest.mark.parametrize(
    ("status", "verdict", "why"),
    [
        (401, "unfit", "api_key_env"),
        (403, "unfit", "api_key_env"),
        (404, "ok", "the endpoint answers"),
        (500, "unreachable", "not ready"),
        (503, "unreachable", "loading"),
    ],
)
async def test_a_server_that_lists_nothing(status: int, verdict: str, why: str) -> None:
    with ScriptedRunner() as runner:
        runner.faults["/v1/models"] = status
        found = await _row(runner)
        assert runner.calls == []
    assert found[0] == verdict
    assert why in found[1]
