"""A conversation of one runner is replayed on another, whatever API each speaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rolecall.assistant import Assistant
from rolecall.config.schema import Settings, Stack
from rolecall.models.scripted import ScriptedReply, ScriptedRunner
from rolecall.replay import replay

ROLES = ("router", "reasoning", "coding")


@pytest.fixture
def stack_on(tmp_path: Path, spec_of: Any) -> Any:
    def stack(name: str, runner: ScriptedRunner, api: str) -> Stack:
        from rolecall.config.schema import Role

        models = {role: [spec_of(runner, api=api)] for role in ROLES}
        roles = {role: Role(role, f"You are {role}.", "", ()) for role in ROLES}
        settings = Settings.model_validate(
            {"workspace": str(tmp_path), "routing": {"strategy": "llm"}}
        )
        return Stack(name, tmp_path / name, "", models, roles, settings)

    return stack


def test_a_turn_with_a_tool_call_is_replayed_over_every_wire(
    wire: Any, runner: ScriptedRunner, stack_on: Any
) -> None:
    call = ScriptedReply(tool_calls=[{"name": "calculator", "args": {"expression": "6*7"}}])
    with ScriptedRunner(dialect="chat_completions") as first:
        first.default = _calls_once(call, "It is 42.")
        with Assistant.open(stack_on("a", first, "chat_completions")) as assistant:
            assistant.ask("What is 6*7?", "t", "reasoning")
            assistant.ask("Sure?", "t", "reasoning")
    runner.default = _calls_once(call, "42 it is.")
    whole, second = replay("t", stack_on("b", runner, wire.api), all_turns=True)
    assert (whole.original.answer, whole.replay.answer) == ("It is 42.", "42 it is.")
    assert [tool.name for tool in whole.replay.tools] == ["calculator"]
    assert whole.replay.tools == whole.original.tools
    assert (second.turn, second.replay.answer) == (2, "42 it is.")
    assert {request.path for request in runner.calls} == {wire.path}
    for side in (whole.original, whole.replay):
        assert side.tokens is not None
        assert side.tokens > 0


def _calls_once(call: ScriptedReply, answer: str) -> Any:
    """Calls the tool until the conversation holds a result."""

    def says(request: Any) -> ScriptedReply | str:
        told = any(
            message.get("role") == "tool" or message.get("type") == "function_call_output"
            for message in request.messages
        )
        return answer if told else call

    return says
