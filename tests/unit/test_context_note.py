"""What a user sees when a conversation is longer than the model can read."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from rolecall.assistant import Assistant
from rolecall.cli.view import TurnView
from rolecall.errors import ContextTooLong
from rolecall.models.scripted import ScriptedRunner
from rolecall.reply import Part
from rolecall.telemetry.open import open_traces

LONG = "lorem ipsum " * 150


def _notes(parts: list[Part]) -> list[str]:
    return [part.data["note"] for part in parts if part.type == "note"]


def test_a_turn_tells_what_its_model_was_not_sent(
    opened: Any, brain: Any, runner: ScriptedRunner
) -> None:
    brain.default = LONG
    with opened({"memory": {"window_tokens": 20_000}}, context_length=3000) as assistant:
        for _ in range(4):
            parts = list(assistant.stream(LONG, thread="t1", role="coding"))
    (note,) = _notes(parts)
    assert re.fullmatch(r"the oldest \d messages were left out: the model reads 3,000 tokens", note)
    errors = open_traces().show(parts[-1].data["reply"].trace_id)["errors"]
    assert [error["message"] for error in errors if error["type"] == "ContextCut"] == [note]
    assert parts[-1].data["reply"].error is None
    sent = runner.calls[-1].messages
    assert [message["role"] for message in sent[:2]] == ["system", "user"]


def test_an_ordinary_turn_has_no_note(opened: Any, brain: Any) -> None:
    with opened() as assistant:
        assert _notes(list(assistant.stream("Hello", role="coding"))) == []


def test_a_question_that_no_model_can_read_is_saved_and_says_what_to_do(
    opened: Any, brain: Any, turns: Any
) -> None:
    with opened(context_length=1500) as assistant:
        with pytest.raises(ContextTooLong, match=r"newest message(.|\n)*resume t1") as caught:
            assistant.ask(LONG * 10, thread="t1", role="coding")
        assert turns(assistant, "t1")[-1]["status"] == "failed"
    assert caught.value.exit_code == 4


def test_a_question_that_is_too_long_for_the_router_model_is_still_answered(
    runner: ScriptedRunner, stack_for: Any, brain: Any
) -> None:
    brain.route = "CODING"
    stack = stack_for(runner)
    small = stack.models["router"][0].model_copy(update={"context_length": 1500})
    stack = replace(stack, models={**stack.models, "router": [small]})
    with Assistant.open(stack) as assistant:
        reply = assistant.ask(LONG * 6)
    assert reply.error is None
    assert reply.path[2] == "coding"


def test_the_terminal_shows_the_note() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    with TurnView(console, console) as view:
        view.show(Part("note", {"note": "the oldest message was left out"}))
    assert "the oldest message was left out" in out.getvalue()
