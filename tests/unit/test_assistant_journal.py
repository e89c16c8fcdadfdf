"""A turn that died goes on without paying twice and without doing twice what cannot be undone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from rolecall.assistant import Assistant
from rolecall.errors import UsageError
from rolecall.models.scripted import ScriptedReply, ScriptedRunner
from rolecall.nodes import specialist

TOOLS = '''
import asyncio, os, time
from pathlib import Path
from langchain_core.runnables import RunnableConfig
from langgraph.types import interrupt
from pydantic import BaseModel, field_validator
from rolecall.tools import idempotency_key, safe_to_repeat

HOME = Path(os.environ["ROLECALL_HOME"])

def _did(what, seconds=0.0):
    """Notes an effect; how long it takes the first time, and no time later."""
    before = HOME / "effects"
    again = before.exists() and what in before.read_text().split()
    with before.open("a") as file:
        file.write(f"{what} {idempotency_key()}\\n")
    return 0.0 if again else seconds

async def pay(to: str, seconds: float = 0.0) -> str:
    """Pay.

    Args:
        to: whom.
        seconds: how long it takes.
    """
    await asyncio.sleep(_did(to, seconds))
    return f"paid {to}"

def send(to: str, seconds: float, config: RunnableConfig) -> str:
    """Send.

    Args:
        to: whom.
        seconds: how long it takes.
    """
    assert config["configurable"]["idempotency_key"] == idempotency_key()
    time.sleep(_did(to, seconds))
    return f"sent {to}"

@safe_to_repeat
async def look(at: str, seconds: float = 0.0) -> str:
    """Look.

    Args:
        at: what.
        seconds: how long it takes.
    """
    await asyncio.sleep(_did(at, seconds))
    return f"saw {at}"

class Approval(BaseModel):
    approved: bool
    reason: str = ""

    @field_validator("reason")
    @classmethod
    def _short(cls, value):
        if len(value) > 20:
            raise ValueError("a reason has at most 20 letters")
        return value

def approve(what: str) -> str:
    """Ask for approval.

    Args:
        what: what is to be approved.
    """
    answer = interrupt(f"May I {what}?", response_schema=Approval)
    _did(what)
    return f"approved: {answer.approved} {answer.reason}".strip()
'''


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "tools-that-do"
    folder.mkdir()
    (folder / "mine.py").write_text(TOOLS, encoding="utf-8")
    return {"tools_folder": str(folder), "turn": {"stop_within_s": 0.05}}


@pytest.fixture
def effects(rolecall_home: Path) -> Callable[[], list[tuple[str, str]]]:
    """What tools did so far: whom or what, and the call's key."""

    def done() -> list[tuple[str, str]]:
        path = rolecall_home / "effects"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(line.split()[0], line.split()[-1]) for line in lines]

    return done


@pytest.fixture
def dies(effects: Any) -> Callable[..., None]:
    """``dies(assistant, question, n)``: asks, and the run ends when tools did ``n`` things."""

    def die(assistant: Assistant, question: str, after: int = 1) -> None:
        parts = assistant.stream(question, thread="t", role="reasoning")
        for part in parts:
            if part.type == "tool_started":
                break
        until = time.monotonic() + 10
        while len(effects()) < after:
            assert time.monotonic() < until
            time.sleep(0.01)
        parts.close()  # type: ignore[attr-defined]

    return die


def call(name: str, **args: Any) -> dict[str, Any]:
    return {"name": name, "args": args}


def told(runner: ScriptedRunner) -> list[str]:
    return [m.get("content") or "" for m in runner.calls[-1].messages if m["role"] == "tool"]


def rows(assistant: Assistant) -> list[tuple[str, str, str]]:
    found = assistant._file.submit(lambda db: list(db.query("SELECT * FROM journal")))
    return [(row["kind"], row["key"], row["status"]) for row in found.result()]


def once(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    """The next call of a function raises: what stands before it has happened, and no more."""
    real = getattr(module, name)

    def fail(*_: Any, **__: Any) -> Any:
        monkeypatch.setattr(module, name, real)
        raise RuntimeError("the process dies here")

    monkeypatch.setattr(module, name, fail)


# --- model calls ------------------------------------------------------------------------------


def test_a_model_is_not_asked_again_for_an_answer_that_was_journaled(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    brain.say(ScriptedReply("Merge sort is.", reasoning="hm"), "something else")
    with monkeypatch.context() as patched:
        once(patched, specialist, "with_unreadable_calls")
        with pytest.raises(RuntimeError):
            assistant.ask("Which sort is stable?", thread="t", role="reasoning")
        asked = len(runner.calls)
        parts = list(assistant.stream_resume("t"))
    reply = parts[-1].data["reply"]
    assert (reply.text, reply.reasoning, reply.calls) == ("Merge sort is.", "hm", [])
    assert [p.data["role"] for p in parts if p.type == "journaled"] == ["reasoning"]
    assert "".join(p.text for p in parts if p.type == "text") == "Merge sort is."
    assert len(runner.calls) == asked
    assert rows(assistant) == []


def test_a_journaled_answer_with_a_tool_call_goes_on_with_the_tool(
    assistant: Assistant, brain: Any, effects: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    brain.say(ScriptedReply(tool_calls=[call("pay", to="Ann")]), "Paid.")
    with monkeypatch.context() as patched:
        once(patched, specialist, "with_unreadable_calls")
        with pytest.raises(RuntimeError):
            assistant.ask("Pay Ann", thread="t", role="reasoning")
        assert assistant.resume("t").text == "Paid."
    assert [what for what, _ in effects()] == ["Ann"]


def test_the_router_model_is_not_asked_again(
    assistant: Assistant, brain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rolecall.nodes.report import Report

    brain.route = "CODING"
    with monkeypatch.context() as patched:
        once(patched, Report, "decided")
        with pytest.raises(RuntimeError):
            assistant.ask("Write a sort", thread="t")
        assert brain.routed == 1
        reply = assistant.resume("t")
    assert brain.routed == 1
    assert reply.decision is not None
    assert (reply.decision["target_model"], reply.strategy) == ("CODING", "llm")
    assert reply.path == ["router", "coding", "synthesis"]


def test_a_failed_call_is_asked_for_again(
    assistant: Assistant, brain: Any, runner: ScriptedRunner
) -> None:
    from rolecall.errors import NoModelReachable

    brain.say(*[ScriptedReply(fault=500)] * 4, "now")
    with pytest.raises(NoModelReachable):
        assistant.ask("Hello", thread="t", role="reasoning")
    assert rows(assistant) == []
    assert assistant.resume("t").text == "now"


def test_a_fork_asks_its_models_anew(
    assistant: Assistant, brain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    brain.say("first", "second")
    with monkeypatch.context() as patched:
        once(patched, specialist, "with_unreadable_calls")
        with pytest.raises(RuntimeError):
            assistant.ask("Hello", thread="t", role="reasoning")
        assistant.fork("t", new="f")
        assert assistant.resume("f").text == "second"
        assert assistant.resume("t").text == "first"


def test_a_finished_turn_leaves_its_unrepeatable_tool_calls_and_no_answers(
    assistant: Assistant, brain: Any
) -> None:
    calls = [call("pay", to="Ann"), call("look", at="sky")]
    brain.say(ScriptedReply(tool_calls=calls), "Done.")
    assistant.ask("Do it", thread="t", role="reasoning")
    assert [(kind, status) for kind, _, status in rows(assistant)] == [("tool", "done")]
    assistant.delete("t")
    assert rows(assistant) == []


# --- tools ------------------------------------------------------------------------------------


def test_a_half_done_call_is_a_question_and_a_wrong_answer_is_refused(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, effects: Any, dies: Any, turns: Any
) -> None:
    brain.say(ScriptedReply(tool_calls=[call("pay", to="Ann", seconds=30)]), "I left it.")
    dies(assistant, "Pay Ann")
    waiting = assistant.resume("t")
    asked = waiting.waiting_for
    assert (asked["tool"], asked["arguments"]["to"]) == ("pay", "Ann")
    assert asked["since"][:4] == time.strftime("%Y")
    assert waiting.choices == ["again", "skip", "result: TEXT"]
    assert turns(assistant, "t")[0]["status"] == "interrupted"
    with pytest.raises(UsageError, match="again, skip, result: TEXT"):
        assistant.resume("t")
    with pytest.raises(UsageError, match=r"Expected one of: again, skip, result: TEXT.*still wait"):
        assistant.resume("t", "whatever")
    assert assistant.resume("t", "Skip").text == "I left it."
    assert [what for what, _ in effects()] == ["Ann"]
    assert "may or may not have happened" in told(runner)[0]


def test_a_half_done_call_is_made_again_with_the_same_key_when_the_user_says_so(
    opened: Any, brain: Any, effects: Any, dies: Any
) -> None:
    brain.say(ScriptedReply(tool_calls=[call("pay", to="Ann", seconds=30)]), "Paid.")
    with opened() as first:
        dies(first, "Pay Ann")
        assert first.resume("t").waiting_for["tool"] == "pay"
    with opened() as second:
        assert second.resume("t", "again").text == "Paid."
    (one, key), (two, same) = effects()
    assert (one, two, key) == ("Ann", "Ann", same)


def test_the_user_can_say_what_a_half_done_call_gave(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, effects: Any, dies: Any
) -> None:
    brain.say(ScriptedReply(tool_calls=[call("pay", to="Ann", seconds=30)]), "Good.")
    dies(assistant, "Pay Ann")
    assistant.resume("t")
    assert assistant.resume("t", "result: the bank says it was paid").text == "Good."
    assert told(runner) == ["the bank says it was paid"]
    assert len(effects()) == 1


def test_of_two_half_done_calls_each_is_asked_about(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, effects: Any, dies: Any
) -> None:
    calls = [
        call("pay", to="Ann", seconds=30),
        call("pay", to="Bob", seconds=30),
        call("pay", to="Cy"),
    ]
    brain.say(ScriptedReply(tool_calls=calls), "Good.")
    dies(assistant, "Pay them", after=3)
    first = assistant.resume("t")
    second = assistant.resume("t", "skip")
    who = {reply.waiting_for["arguments"]["to"] for reply in (first, second)}
    assert who == {"Ann", "Bob"}
    assert assistant.resume("t", "skip").text == "Good."
    assert sorted(what for what, _ in effects()) == ["Ann", "Bob", "Cy"]
    assert told(runner)[2] == "paid Cy"
    assert len({key for _, key in effects()}) == 3


def test_a_tool_that_is_safe_to_repeat_is_repeated_without_a_question(
    assistant: Assistant, brain: Any, effects: Any, dies: Any
) -> None:
    brain.say(ScriptedReply(tool_calls=[call("look", at="sky", seconds=30)]), "Blue.")
    dies(assistant, "Look")
    assert assistant.resume("t").text == "Blue."
    (one, key), (two, same) = effects()
    assert (one, two, key) == ("sky", "sky", same)


def test_a_call_that_ended_after_its_turn_was_stopped_counts_as_done(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, effects: Any, dies: Any
) -> None:
    brain.say(ScriptedReply(tool_calls=[call("send", to="Ann", seconds=0.3)]), "Sent.")
    dies(assistant, "Write to Ann")
    until = time.monotonic() + 10
    while ("tool", "done") not in {(kind, status) for kind, _, status in rows(assistant)}:
        assert time.monotonic() < until
        time.sleep(0.02)
    parts = list(assistant.stream_resume("t"))
    assert parts[-1].data["reply"].text == "Sent."
    assert told(runner) == ["sent Ann"]
    assert len(effects()) == 1


def test_a_call_that_took_too_long_may_have_happened_and_the_model_hears_so(
    opened: Any, brain: Any, runner: ScriptedRunner
) -> None:
    for name, perhaps in (("pay", True), ("look", False)):
        args = {"to" if name == "pay" else "at": name, "seconds": 30}
        brain.say(ScriptedReply(tool_calls=[call(name, **args)]), "Too slow.")
        with opened({"turn": {"tool_timeout_s": 0.2}}) as assistant:
            assert assistant.ask("Go", role="reasoning").text == "Too slow."
        assert "no result within 0.2 seconds" in told(runner)[0]
        assert ("may or may not have happened" in told(runner)[0]) == perhaps


def test_a_fork_of_a_half_done_turn_asks_too_and_does_not_repeat_what_is_done(
    assistant: Assistant, brain: Any, effects: Any, dies: Any
) -> None:
    calls = [call("pay", to="Ann", seconds=30), call("pay", to="Bob")]
    brain.say(ScriptedReply(tool_calls=calls))
    dies(assistant, "Pay them", after=2)
    assistant.fork("t", new="f")
    for thread in ("f", "t"):
        assert assistant.resume(thread).waiting_for["arguments"]["to"] == "Ann"
        assert assistant.resume(thread, "skip").text == "ok"
    assert sorted(what for what, _ in effects()) == ["Ann", "Bob"]


def test_the_next_turn_knows_of_the_calls_that_an_abandoned_one_left(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, dies: Any
) -> None:
    calls = [call("pay", to="Ann", seconds=30), call("pay", to="Bob"), call("look", at="sky")]
    brain.say(ScriptedReply(tool_calls=calls), "I see.")
    dies(assistant, "Pay them", after=3)
    assert assistant.ask("What did you do?", thread="t", role="reasoning").text == "I see."
    said = [m for m in runner.calls[-1].messages if m["role"] == "assistant"]
    (note,) = [m["content"] for m in said]
    assert "pay(to='Ann', seconds=30): it may or may not have happened" in note
    assert "pay(to='Bob'): paid Bob" in note
    assert "look" not in note
    assert not any(m.get("tool_calls") for m in said)


# --- questions of tools -----------------------------------------------------------------------


def test_an_answer_is_checked_against_what_the_tool_wants(
    opened: Callable[..., AbstractContextManager[Assistant]],
    brain: Any,
    runner: ScriptedRunner,
    effects: Any,
) -> None:
    brain.say(ScriptedReply(tool_calls=[call("approve", what="leave")]), "Gone.")
    with opened() as first:
        parts = list(first.stream("Go", thread="t", role="reasoning"))
        (waiting,) = [p for p in parts if p.type == "waiting"]
        assert waiting.data == {"question": "May I leave?", "choices": ["yes", "no"]}
        reply = parts[-1].data["reply"]
        assert json.loads(json.dumps(reply.as_json()))["answer_schema"]["required"] == ["approved"]
    with opened() as second:
        for wrong in ("perhaps", '{"approved": "perhaps"}', '{"reason": "x"}'):
            with pytest.raises(UsageError, match="still waits"):
                second.resume("t", wrong)
        # what only the tool's own class finds wrong is refused as well
        long = {"approved": True, "reason": "because it is far too late now"}
        with pytest.raises(UsageError, match=r"at most 20 letters.*still waits"):
            second.resume("t", long)
        assert effects() == []
        assert second.resume("t", '{"approved": true, "reason": "late"}').text == "Gone."
    assert told(runner) == ["approved: True late"]
    assert [what for what, _ in effects()] == ["leave"]


def test_a_tool_that_asked_is_not_asked_about_when_it_runs_again(
    assistant: Assistant, brain: Any, effects: Any
) -> None:
    brain.say(ScriptedReply(tool_calls=[call("approve", what="leave")]), "Gone.")
    assistant.ask("Go", thread="t", role="reasoning")
    assert [status for kind, _, status in rows(assistant) if kind == "tool"] == ["waiting"]
    assert assistant.resume("t", "yes").text == "Gone."
    assert len(effects()) == 1


def test_the_command_line_shows_what_can_be_answered(
    run: Any, brain: Any, runner: ScriptedRunner, settings: dict[str, Any]
) -> None:
    runner.models = ["tiny"]
    tools = ("--set", f"tools_folder={settings['tools_folder']}")
    brain.say(ScriptedReply(tool_calls=[call("approve", what="leave")]), "Gone.")
    asked = run("ask", "Go", "--thread", "t", "--role", "reasoning", "--json", *tools)
    assert asked.code == 4
    assert asked.json["waiting_for"] == "May I leave?"
    assert asked.json["choices"] == ["yes", "no"]
    wrong = run("resume", "t", "--answer", "perhaps", *tools)
    assert wrong.code == 2
    assert "yes, no" in " ".join(wrong.err.split())
    done = run("resume", "t", "--answer", "yes", *tools)
    assert (done.code, done.out.strip()) == (0, "Gone.")


def test_outside_of_a_tool_there_is_no_key() -> None:
    from rolecall.tools import idempotency_key

    with pytest.raises(RuntimeError, match="no tool call"):
        idempotency_key()
