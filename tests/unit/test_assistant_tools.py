"""Tools inside a turn: run, failing, bounded, and asking the user."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import StructuredTool, ToolException

from rolecall.assistant import Assistant
from rolecall.database import DatabaseFile
from rolecall.errors import NoModelReachable, UsageError
from rolecall.models.scripted import Request, ScriptedReply, ScriptedRunner
from rolecall.nodes.tool_runner import _tool_for
from rolecall.telemetry.schema import migrations
from rolecall.telemetry.traces import Traces


def call(name: str, **args: Any) -> ScriptedReply:
    return ScriptedReply(tool_calls=[{"name": name, "args": args}])


def tool_results(request: Request) -> list[str]:
    return [m.get("content") or "" for m in request.messages if m["role"] == "tool"]


def counted(home: Path, label: str) -> int:
    path = home / f"count-{label}"
    return len(path.read_text()) if path.exists() else 0


def test_tool_calls_of_one_message_all_run(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, rolecall_home: Path
) -> None:
    calls = [{"name": "count", "args": {"label": label}} for label in ("a", "b", "c")]
    brain.say(ScriptedReply(tool_calls=calls), "all done")
    reply = assistant.ask("count all", role="reasoning")
    assert reply.text == "all done"
    assert tool_results(runner.calls[-1]) == ["a counted", "b counted", "c counted"]
    assert [counted(rolecall_home, label) for label in "abc"] == [1, 1, 1]
    assert reply.path.count("tool_runner") == 3


def test_a_resume_after_a_failure_does_not_repeat_finished_tools(
    assistant: Assistant, brain: Any, rolecall_home: Path
) -> None:
    brain.say(call("count", label="a"), *[ScriptedReply(fault=500)] * 4, "after")
    with pytest.raises(NoModelReachable):
        assistant.ask("count", thread="t", role="reasoning")
    assert assistant.resume("t").text == "after"
    assert counted(rolecall_home, "a") == 1


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (call("broken", why="no luck"), "ValueError: no luck"),
        (call("no_such_tool"), "there is no tool 'no_such_tool'"),
        (call("count", wrong=1), "wrong arguments"),
        (call("leave", code=3), "SystemExit"),
        (
            ScriptedReply(tool_calls=[{"name": "count", "args": "label is half"}]),
            "not a JSON object",
        ),
    ],
    ids=["raises", "unknown", "arguments", "exits", "no JSON"],
)
def test_a_failing_tool_answers_the_model(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, wanted: ScriptedReply, told: str
) -> None:
    brain.say(wanted, "I could not")
    assert assistant.ask("try", role="reasoning").text == "I could not"
    (result,) = tool_results(runner.calls[-1])
    assert result.startswith("Error: ")
    assert told in result


def test_a_slow_tool_is_given_up(opened: Any, brain: Any, runner: ScriptedRunner) -> None:
    brain.say(call("dawdle", seconds=1.5), "too slow")
    with opened({"turn": {"tool_timeout_s": 0.2}}) as assistant:
        assert assistant.ask("wait", role="reasoning").text == "too slow"
    assert "no result within 0.2 seconds" in tool_results(runner.calls[-1])[0]


def test_tool_rounds_are_bounded(opened: Any, brain: Any, runner: ScriptedRunner) -> None:
    def more(request: Request) -> ScriptedReply:
        if not request.body.get("tools"):
            return ScriptedReply("enough")
        return call("count", label=f"n{len(request.messages)}")

    brain.default = more
    with opened({"turn": {"max_tool_rounds": 3}}) as assistant:
        reply = assistant.ask("go on", role="reasoning")
    assert reply.text == "enough"
    assert reply.path.count("tool_runner") == 3


def test_the_same_call_again_and_again_is_stopped(
    assistant: Assistant, brain: Any, rolecall_home: Path
) -> None:
    def again(request: Request) -> ScriptedReply:
        return call("count", label="same") if request.body.get("tools") else ScriptedReply("stop")

    brain.default = again
    assert assistant.ask("loop", role="reasoning").text == "stop"
    assert counted(rolecall_home, "same") == 2


def test_a_tool_that_asks_the_user_waits_and_goes_on(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, turns: Any
) -> None:
    brain.say(call("ask_user", question="Which town?"), "Then Cusco.")
    reply = assistant.ask("Plan it", thread="t", role="reasoning")
    assert (reply.waiting_for, reply.text, reply.error) == ("Which town?", "", None)
    assert turns(assistant, "t")[0]["status"] == "interrupted"
    with pytest.raises(UsageError, match="Which town") as unanswered:
        assistant.resume("t")
    told = unanswered.value.reply
    assert told is not None
    assert (told.waiting_for, told.turn_id) == ("Which town?", reply.turn_id)
    done = assistant.resume("t", "Cusco")
    assert (done.text, done.turn_id, done.waiting_for) == ("Then Cusco.", reply.turn_id, None)
    assert tool_results(runner.calls[-1]) == ["the user said Cusco"]
    assert turns(assistant, "t")[0]["status"] == "done"


def test_another_assistant_can_give_the_answer(opened: Any, brain: Any) -> None:
    brain.say(call("ask_user", question="Which town?"), "Then Cusco.")
    with opened() as first:
        parts = list(first.stream("Plan it", thread="t", role="reasoning"))
        assert [p.data["question"] for p in parts if p.type == "waiting"] == ["Which town?"]
    with opened() as second:
        assert second.resume("t", "Cusco").text == "Then Cusco."


def test_two_tools_of_one_message_ask_one_after_the_other(
    assistant: Assistant, brain: Any, runner: ScriptedRunner, rolecall_home: Path
) -> None:
    calls = [
        {"name": "ask_user", "args": {"question": "From?"}},
        {"name": "ask_user", "args": {"question": "To?"}},
        {"name": "count", "args": {"label": "once"}},
    ]
    brain.say(ScriptedReply(tool_calls=calls), "Booked.")
    first = assistant.ask("Book it", thread="t", role="reasoning")
    second = assistant.resume("t", "Lima")
    assert {first.waiting_for, second.waiting_for} == {"From?", "To?"}
    assert assistant.resume("t", "Cusco").text == "Booked."
    assert counted(rolecall_home, "once") == 1
    told = tool_results(runner.calls[-1])
    assert sorted(told) == ["once counted", "the user said Cusco", "the user said Lima"]


def test_a_new_question_leaves_a_waiting_tool_behind(
    assistant: Assistant, brain: Any, runner: ScriptedRunner
) -> None:
    brain.say(call("ask_user", question="Which town?"), "Something else.")
    assistant.ask("Plan it", thread="t", role="reasoning")
    assert assistant.ask("Never mind", thread="t", role="reasoning").text == "Something else."
    assert "tool_calls" not in str(runner.calls[-1].messages)


def test_a_made_up_call_is_not_run_and_stands_in_the_trace(
    opened: Any, brain: Any, rolecall_home: Path
) -> None:
    made_up = '{"name": "count", "arguments": {"label": "zebra"}}'
    brain.say(ScriptedReply(made_up), "Hello to you!")
    with opened({}) as assistant:
        parts = list(assistant.stream("Good morning!", role="reasoning"))
    assert counted(rolecall_home, "zebra") == 0
    assert [part.data["name"] for part in parts if part.type == "not_meant"] == ["count"]
    assert parts[-1].data["reply"].text == "Hello to you!"
    file = DatabaseFile(rolecall_home / "telemetry.db", migrations)
    trace = Traces(file).show(parts[0].data["trace_id"])
    file.close()
    assert [(t["name"], t["status"]) for t in trace["tool_calls"]] == [("count", "not_meant")]
    assert len(trace["model_calls"]) == 2


def test_a_tool_with_a_plain_json_schema_is_validated_too() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    tool = StructuredTool(name="double", description="", args_schema=schema, func=lambda n: 2 * n)
    call = {"name": "double", "args": {"n": "many"}, "id": "1"}
    with pytest.raises(ToolException, match="wrong arguments: n: 'many' is not of type 'integer'"):
        _tool_for({"double": tool}, call)
    call["args"] = {"n": 4}
    assert _tool_for({"double": tool}, call) is tool
