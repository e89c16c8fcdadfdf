"""What of an answer is kept and what is shown."""

from __future__ import annotations

from typing import Any

import pytest

from rolecall.assistant import Assistant
from rolecall.models.scripted import ScriptedReply, ScriptedRunner

FIXED = {"routing": {"strategy": "fixed", "role": "reasoning"}}
SECRET = "sk-proj-" + "Ab1" * 16


def test_the_window_stays_bounded_while_the_transcript_keeps_everything(
    opened: Any, brain: Any, runner: ScriptedRunner, said_to: Any, turns: Any
) -> None:
    brain.default = "word " * 60
    sizes: list[int] = []
    with opened(FIXED | {"memory": {"window_tokens": 512}}) as assistant:
        for number in range(30):
            assistant.ask(f"question {number} " + "text " * 40, thread="t")
            sizes.append(sum(len(text) for _, text in said_to(runner.calls[-1])))
        assert max(sizes[15:]) <= max(sizes[:15])
        assert max(sizes) < 4 * 512 + 1000
        assert said_to(runner.calls[-1])[0][0] == "user"
        kept = turns(assistant, "t", limit=100)
    assert [t["number"] for t in kept] == list(range(1, 31))
    assert all(t["answer"].startswith("word word") for t in kept)


def test_secrets_are_blotted_out_in_the_stream_and_in_what_is_saved(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, turns: Any
) -> None:
    pieces = ["The key is ", SECRET[:10], SECRET[10:30], SECRET[30:], " as", " you", " asked"]
    brain.say(ScriptedReply(pieces=pieces), "ok")
    parts = list(assistant.stream("What is the key?", thread="t", role="reasoning"))
    streamed = "".join(p.text for p in parts if p.type == "text")
    reply = parts[-1].data["reply"]
    saved = turns(assistant, "t")[0]["answer"]
    assert streamed == reply.text == saved
    assert saved.startswith("The key is ")
    assert saved.endswith(" as you asked")
    assert SECRET[:20] not in saved
    assert SECRET[-8:] not in saved
    assistant.ask("And?", thread="t", role="reasoning")
    assert SECRET[10:30] not in str(runner.calls[-1].messages)
    assistant.flush()
    for path in assistant._path.parent.glob("*.db*"):
        assert SECRET[10:30].encode() not in path.read_bytes(), path


def test_an_own_pattern_is_blotted_out(opened: Any, brain: Any) -> None:
    brain.say("Call Project Heron now.")
    with opened({"filters": {"patterns": ["Project [A-Z]\\w+"]}}) as assistant:
        assert assistant.ask("Hi", role="reasoning").text == "Call [redacted] now."


def test_an_empty_answer_of_the_router_is_given_to_reasoning_once(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, said_to: Any, turns: Any
) -> None:
    brain.say("  ", "A real answer.")
    parts = list(assistant.stream("Hello", thread="t"))
    reply = parts[-1].data["reply"]
    assert reply.text == "A real answer."
    assert reply.path == ["init", "router", "answer", "reasoning", "synthesis"]
    assert reply.strategy == "escalation"
    assert reply.decision["target_model"] == "REASONING"
    assert len([p for p in parts if p.type == "decision"]) == 2
    (turn,) = turns(assistant, "t")
    assert turn["decision"]["target_model"] == "REASONING"
    assert turn["strategy"] == "escalation"
    assert said_to(runner.calls[-1]) == [("user", "Hello")]


def test_an_empty_answer_of_reasoning_is_not_given_on(assistant: Assistant, brain: Any) -> None:
    brain.say("", "")
    reply = assistant.ask("Hello")
    assert reply.path == ["init", "router", "answer", "reasoning", "synthesis"]
    assert (reply.text, reply.finish_reason) == ("", "empty")


@pytest.mark.parametrize(
    "said",
    [
        ScriptedReply("Because.", reasoning="Let me think about why."),
        ScriptedReply("<think>Let me think about why.</think>Because."),
        ScriptedReply("Because.", reasoning="Let me think about why.", reasoning_field="reasoning"),
    ],
    ids=["field", "tags", "other-field"],
)
def test_reasoning_is_never_in_the_answer(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, said: ScriptedReply, turns: Any
) -> None:
    brain.say(said)
    parts = list(assistant.stream("Why?", thread="t", role="reasoning"))
    reply = parts[-1].data["reply"]
    assert (reply.text, reply.reasoning) == ("Because.", "Let me think about why.")
    assert "".join(p.text for p in parts if p.type == "text") == "Because."
    assert "think" in "".join(p.text for p in parts if p.type == "reasoning")
    (turn,) = turns(assistant, "t")
    assert (turn["answer"], turn["reasoning"]) == ("Because.", "Let me think about why.")
    assistant.ask("And?", thread="t", role="reasoning")
    assert "Let me think" not in str(runner.calls[-1].body)
