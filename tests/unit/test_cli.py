"""The command line: what goes to standard output, exit codes, messages for bad input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rolecall.models.scripted import ScriptedReply, ScriptedRunner

pytestmark = pytest.mark.alone

Run = Callable[..., Any]


@pytest.fixture
def runner() -> Iterator[ScriptedRunner]:
    with ScriptedRunner(models=["tiny"]) as started:
        started.default = ScriptedReply("Merge sort is stable.")
        yield started


def test_ask_prints_the_bare_answer_where_there_is_no_terminal(run: Run) -> None:
    done = run("ask", "Which sort is stable?", "--role", "reasoning")
    assert done.code == 0
    assert done.out == "Merge sort is stable.\n"
    assert "reasoning · tiny" in done.err


def test_ask_json_prints_exactly_the_documented_keys(run: Run) -> None:
    done = run("ask", "Which sort is stable?", "--role", "coding", "--json")
    assert done.code == 0
    assert done.err == ""
    assert set(done.json) == {
        "thread_id",
        "turn_id",
        "trace_id",
        "answer",
        "reasoning",
        "decision",
        "strategy",
        "path",
        "calls",
        "timings_ms",
        "finish_reason",
        "error",
        "waiting_for",
    }
    assert done.json["decision"] == {
        "routing_decision": "DELEGATE",
        "target_model": "CODING",
        "confidence": 1.0,
        "reason": "chosen by the user",
    }
    assert done.json["path"] == ["init", "router", "coding", "synthesis"]
    assert set(done.json["timings_ms"]) == {"total", "overhead"}


def test_the_question_comes_from_a_pipe(run: Run, runner: ScriptedRunner) -> None:
    done = run("ask", "--role", "reasoning", stdin="Wie geht's? ✓".encode())
    assert done.code == 0
    assert "Wie geht's? ✓" in str(runner.calls[-1].messages)


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "says"),
    [
        (("ask", ""), None, 2, "the question is empty"),
        (("ask", "  \n"), None, 2, "the question is empty"),
        (("ask",), b"", 2, "the question is empty"),
        (("ask",), b"\xff\xfe broken", 2, "not UTF-8"),
        (("ask", "bad \udcff argument"), None, 2, "not valid UTF-8"),
        (("ask",), b"x" * 5_000_000, 2, "5,000,000 characters"),
        (("ask", "hi", "--role", "legal"), None, 2, "there is no role 'legal'"),
        (("ask", "hi", "--stack", "embeded"), None, 2, "Did you mean embedded?"),
        (("ask", "hi", "--stack", "/no/such.yaml"), None, 2, "does not exist"),
        (("ask", "hi", "--thread", "../etc"), None, 2, "cannot name a thread"),
        (("ask", "hi", "--set", "turn.deadline_s=soon"), None, 2, "turn.deadline_s"),
        (("ask", "hi", "--set", "nonsense"), None, 2, "KEY=VALUE"),
        (("ask", "hi", "--nonsense"), None, 2, "No such option"),
        (("resume", "nowhere"), None, 2, "there is no thread 'nowhere'"),
        (("threads", "show", "nowhere"), None, 2, "there is no thread 'nowhere'"),
        (("threads", "fork", "nowhere"), None, 2, "there is no thread 'nowhere'"),
        (("threads", "delete", "nowhere", "--yes"), None, 2, "there is no thread 'nowhere'"),
        (("threads", "export", "nowhere"), None, 2, "there is no thread 'nowhere'"),
        (("trace", "show", "nothing"), None, 2, "there is no trace"),
        (("models", "pull", "qwen2.5-codr-0.5b"), None, 2, "qwen2.5-coder-0.5b"),
        (("graph", "--format", "gif"), None, 2, "there is no format 'gif'"),
        (("graph", "nothing"), None, 2, "there is no graph 'nothing'"),
    ],
)
def test_bad_input_gets_one_clear_message(
    run: Run, arguments: tuple[str, ...], stdin: bytes | None, code: int, says: str
) -> None:
    done = run(*arguments, stdin=stdin)
    assert done.code == code
    assert says in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert run("threads", "list", "--json").json == {"threads": []}


def test_a_refused_question_prints_json_for_scripts(run: Run) -> None:
    done = run("ask", "", "--json")
    assert done.code == 2
    assert "the question is empty" in done.json["error"]
    assert done.json["exit_code"] == 2


def test_a_dead_endpoint_is_exit_code_3_and_the_turn_can_be_resumed(
    run: Run, runner: ScriptedRunner
) -> None:
    runner.default = ScriptedReply(fault=500)
    done = run("ask", "hi", "--role", "reasoning", "--thread", "t1", "--json")
    assert done.code == 3
    assert done.json["thread_id"] == "t1"
    assert "rolecall resume t1" in done.json["error"]
    runner.default = ScriptedReply("Here again.")
    resumed = run("resume", "t1", "--json")
    assert resumed.code == 0
    assert resumed.json["answer"] == "Here again."
    assert resumed.json["path"] == ["reasoning", "synthesis"]


def test_an_unknown_model_id_lists_what_the_endpoint_has(
    run: Run, runner: ScriptedRunner, tmp_path: Path
) -> None:
    stack = tmp_path / "wrong.yaml"
    stack.write_text(f"models: {{router: {{id: huge, endpoint: '{runner.endpoint}'}}}}\n")
    done = run("ask", "hi", "--stack", str(stack))
    assert done.code == 2
    assert "has no model 'huge'. It has: tiny" in " ".join(done.err.split())


def test_threads_are_listed_shown_searched_exported_and_deleted(run: Run, tmp_path: Path) -> None:
    run("ask", "Which sort is stable?", "--role", "reasoning", "--thread", "sorts")
    run("ask", "And in Rust?", "--role", "coding", "--thread", "sorts")
    listed = run("threads", "list", "--json").json["threads"]
    assert [(t["thread_id"], t["turns"], t["status"]) for t in listed] == [("sorts", 2, "done")]
    assert "sorts" in run("threads", "list").out
    turns = run("threads", "show", "sorts", "--json").json["turns"]
    assert [t["question"] for t in turns] == ["Which sort is stable?", "And in Rust?"]
    assert "And in Rust?" in run("threads", "show", "sorts").out
    assert "And in Rust?" not in run("threads", "show", "sorts", "--before", "2").out
    found = run("threads", "search", "rust", "--json").json["matches"]
    assert [(m["thread_id"], m["number"]) for m in found] == [("sorts", 2)]
    exported = tmp_path / "sorts.md"
    run("threads", "export", "sorts", "--output", str(exported))
    assert "Merge sort is stable." in exported.read_text()
    assert len(run("threads", "export", "sorts", "--json").json["turns"]) == 2
    assert run("threads", "delete", "sorts", "--yes").code == 0
    assert run("threads", "list", "--json").json == {"threads": []}


def test_a_fork_goes_on_by_itself(run: Run) -> None:
    run("ask", "Which sort is stable?", "--role", "reasoning", "--thread", "one")
    steps = run("threads", "show", "one", "--steps", "--json").json["steps"]
    before_answer = next(s for s in steps if s["next"] == ["reasoning"])
    forked = run("threads", "fork", "one", "--at", str(before_answer["step"]), "--new", "two")
    assert forked.code == 0
    resumed = run("resume", "two", "--json")
    assert resumed.json["path"] == ["reasoning", "synthesis"]
    assert len(run("threads", "show", "one", "--json").json["turns"]) == 1


def test_a_trace_shows_decision_calls_and_times(run: Run) -> None:
    asked = run("ask", "Which sort is stable?", "--role", "coding", "--json").json
    listed = run("trace", "list", "--json").json["traces"]
    assert [t["trace_id"] for t in listed] == [asked["trace_id"]]
    shown = run("trace", "show", asked["trace_id"][:8], "--json").json
    assert shown["decisions"][0]["target_model"] == "CODING"
    assert shown["model_calls"][0]["model"] == "tiny"
    assert "coding called tiny" in run("trace", "show", asked["trace_id"]).out


def test_stacks_are_listed_shown_and_checked(run: Run) -> None:
    names = {s["name"] for s in run("stack", "list", "--json").json["stacks"]}
    assert {"embedded", "mixed", "all-mistral", "all-qwen", "single", "classroom"} <= names
    assert (
        run("stack", "show", "mixed", "--json").json["models"]["router"][1]["id"]
        == "ministral-3-3b"
    )
    checked = run("stack", "check", "--json").json["models"]
    assert {row["verdict"] for row in checked} == {"ok"}
    assert run("stack", "check", "--strict").code == 0


def test_stack_check_says_unreachable_and_unfit(
    run: Run, runner: ScriptedRunner, tmp_path: Path
) -> None:
    stack = tmp_path / "mixed-up.yaml"
    stack.write_text(
        f"models: {{router: {{id: huge, endpoint: '{runner.endpoint}'}}, "
        "reasoning: {id: x, endpoint: 'http://127.0.0.1:9/v1'}}\n"
    )
    verdicts = {
        r["role"]: r["verdict"] for r in run("stack", "check", str(stack), "--json").json["models"]
    }
    assert verdicts == {"router": "unfit", "reasoning": "unreachable"}
    assert run("stack", "check", str(stack)).code == 0
    assert run("stack", "check", str(stack), "--strict").code == 3


@pytest.mark.parametrize(
    ("form", "begins"),
    [("ascii", b" "), ("mermaid", b"---"), ("svg", b"<svg"), ("png", b"\x89PNG")],
)
def test_the_graph_is_drawn_offline(run: Run, tmp_path: Path, form: str, begins: bytes) -> None:
    file = tmp_path / f"graph.{form}"
    assert run("graph", "--format", form, "--output", str(file)).code == 0
    assert file.read_bytes().startswith(begins)
    if form != "png":
        assert "synthesis" in file.read_text()


def test_chat_answers_lines_from_a_pipe(run: Run, runner: ScriptedRunner) -> None:
    lines = ["/help", "/role reasoning", "Which sort is stable?", "/coding And in Rust?"]
    lines += ["/thread", "/trace", "/nonsense", "/quit", "never asked"]
    script = "\n".join(lines).encode()
    done = run("chat", "--thread", "talk", stdin=script)
    assert done.code == 0
    assert done.out.count("Merge sort is stable.") >= 2
    assert "There is no command /nonsense" in done.err
    turns = run("threads", "show", "talk", "--json").json["turns"]
    assert [t["role"] for t in turns] == ["reasoning", "coding"]


def test_a_bug_is_exit_code_1_with_the_trace_id(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from rolecall.models import attempts

    def broken(*args: Any) -> None:
        raise ZeroDivisionError("our own mistake")

    monkeypatch.setattr(attempts, "argument_schemas", broken)
    done = run("ask", "hi", "--role", "reasoning")
    assert done.code == 1
    assert "a bug in Rolecall" in done.err
    assert "trace" in done.err
