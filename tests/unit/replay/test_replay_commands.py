"""``rolecall replay`` as it is typed, and its reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from rolecall.errors import UnknownModel
from rolecall.models.scripted import ScriptedReply
from rolecall.replay.session import Session

CONFIRM = '''
from langgraph.types import interrupt
from rolecall.tools import safe_to_repeat

@safe_to_repeat
def confirm(what: str) -> str:
    """Ask the user.

    Args:
        what: what to confirm.
    """
    return str(interrupt("Really " + what + "?"))
'''


@pytest.fixture
def typed(run: Any, runner: Any, other: Any, other_brain: Any, tmp_path: Path) -> Any:
    """``rolecall ARGS`` in a home with thread ``one`` of two turns; ``b.yaml`` is stack B."""
    runner.models = ["tiny"]
    other.models = ["tiny"]
    runner.default = ScriptedReply("Merge *sort* is <b>stable</b>.")
    spec = {"id": "tiny", "endpoint": other.endpoint}
    models = dict.fromkeys(("router", "reasoning", "coding"), spec)
    (tmp_path / "b.yaml").write_text(yaml.safe_dump({"models": models}))
    run("ask", "Which sort is <stable>?", "--role", "reasoning", "--thread", "one")
    run("ask", "And in Rust | C?", "--role", "coding", "--thread", "one")

    def call(*arguments: str) -> Any:
        return run(*(str(tmp_path / "b.yaml") if a == "B" else a for a in arguments))

    return call


def test_one_turn_is_shown_side_by_side_and_kept(typed: Any) -> None:
    done = typed("replay", "one", "--stack", "B")
    assert done.code == 0
    told = " ".join(done.out.split())
    assert "Turn 2 of one" in told
    assert "then: scripted" in told
    assert "replay: b" in told
    assert "B says so" in told
    kept = typed("replay", "one", "--stack", "B", "--json").json["comparisons"][0]["replay_thread"]
    assert f"Kept as {kept[:7]}" in told
    listed = typed("threads", "list")
    assert "replay of one: And in Rust" in listed.out
    found = {
        row["thread_id"]: row["replay"]
        for row in typed("threads", "list", "--json").json["threads"]
    }
    assert (found[kept], found["one"]) == (True, False)
    assert typed("threads", "delete", kept, "--yes").code == 0


def test_several_turns_as_json(typed: Any) -> None:
    done = typed("replay", "one", "--stack", "B", "--all-turns", "--json")
    assert done.code == 0
    assert [c["turn"] for c in done.json["comparisons"]] == [1, 2]
    assert done.json["summary"]["answers"]["changed"] == 2
    assert done.json["left_out"] == []
    assert done.json["comparisons"][0]["replay"]["answer"] == "B says so"
    own = typed(
        "replay", "one", "--stack", "B", "--all-turns", "--own-history", "--discard", "--json"
    )
    assert [c["replay_thread"] for c in own.json["comparisons"]] == [None, None]


def test_all_threads_give_a_report_that_can_be_shown_again(typed: Any, tmp_path: Path) -> None:
    page, text = tmp_path / "all.html", tmp_path / "all.md"
    done = typed("replay", "--all", "--all-turns", "--stack", "B", "--report", str(page), "--json")
    assert (done.code, done.json["status"], done.json["report"]) == (0, "done", str(page))
    written = page.read_text()
    assert "Which sort is &lt;stable&gt;?" in written
    assert "<b>" not in written
    assert "http" not in written.replace("http://www.w3.org/2000/svg", "")
    assert "<svg" in written
    shown = typed("replay", "--show", "1", "--report", str(text))
    assert shown.code == 0
    assert "answers changed" in shown.out
    assert "And in Rust \\| C?" in text.read_text()
    assert "![Shares that stayed](all-shares.svg)" in text.read_text()
    assert (tmp_path / "all-shares.svg").read_text().startswith("<svg")
    runs = typed("replay", "--runs", "--json").json["runs"]
    assert [(row["id"], row["stack"], row["replayed"], row["turns"]) for row in runs] == [
        (1, "b", 2, 2)
    ]
    assert "2 of 2" in typed("replay", "--runs").out


def test_one_thread_in_a_report(typed: Any, tmp_path: Path) -> None:
    page = tmp_path / "one.md"
    assert typed("replay", "one", "--stack", "B", "--report", str(page)).code == 0
    assert "# Thread one replayed on b" in page.read_text()
    assert "Merge \\*sort\\* is &lt;b&gt;stable" in page.read_text()


def test_a_kept_replay_that_waits_is_told_with_how_to_resume_it(
    typed: Any, other_brain: Any, rolecall_home: Path
) -> None:
    (rolecall_home / "tools").mkdir()
    (rolecall_home / "tools" / "mine.py").write_text(CONFIRM)
    confirm = ScriptedReply(tool_calls=[{"name": "confirm", "args": {"what": "that"}}])
    other_brain.say(confirm)
    done = typed("replay", "one", "--stack", "B")
    assert done.code == 4
    told = "".join(done.out.split())
    kept = told.split("Keptas")[1].split(".Goon")[0]
    assert f'rolecallresume{kept}--answer"…"--stack' in told
    assert typed("resume", kept, "--answer", "yes", "--stack", "B").code == 0
    other_brain.say("fine", ScriptedReply(fault="refuse"))
    other_brain.default = ScriptedReply(fault="refuse")
    done = typed("replay", "one", "--stack", "B", "--all-turns", "--own-history")
    told = "".join(done.out.split())
    assert (done.code, "rolecallresumereplay-" in told, "--answer" in told) == (3, True, False)
    other_brain.default = "ok"
    other_brain.say(confirm)
    assert typed("replay", "--all", "--stack", "B").code == 4


def test_a_left_out_turn_counts_in_the_exit_code(
    typed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Session.run

    async def failing(self: Session, original: Any, target: str) -> Any:
        if original.row["number"] == 2:
            raise UnknownModel("no such model")
        return await run(self, original, target)

    monkeypatch.setattr(Session, "run", failing)
    done = typed("replay", "one", "--stack", "B", "--all-turns", "--json")
    assert (done.code, len(done.json["comparisons"])) == (2, 1)
    assert done.json["left_out"] == ["turn 2 of thread one: no such model"]


def test_an_endpoint_that_is_down_is_exit_3_and_a_run_goes_on_later(
    typed: Any, other_brain: Any
) -> None:
    other_brain.default = ScriptedReply(fault="refuse")
    down = typed("replay", "one", "--stack", "B")
    assert down.code == 3
    assert "no answer" in down.out
    stopped = typed("replay", "--all", "--stack", "B")
    assert stopped.code == 3
    assert "the same command asks the rest" in stopped.out
    assert "partial" in typed("replay", "--runs").out
    other_brain.default = "back"
    assert typed("replay", "--all", "--stack", "B", "--json").json["status"] == "done"


def test_wrong_usage_is_told_before_anything_is_asked(
    typed: Any, other: Any, tmp_path: Path
) -> None:
    for wrong, said in {
        ("one", "--all"): "name one thread",
        (): "name one thread",
        ("--all", "--at", "3"): "are for one thread",
        ("--all", "--discard"): "are for one thread",
        ("one", "--since", "7d"): "go with --all",
        ("one", "--own-history"): "--all-turns",
        ("one", "--report", "x.pdf"): "ends in .html or .md",
        ("one", "--report", str(tmp_path / "no" / "x.md")): "there is no folder",
        ("--all", "--since", "soon"): "expected 7d or a date",
        ("--show", "9"): "replay --runs",
    }.items():
        done = typed("replay", *wrong)
        assert (done.code, said in " ".join(done.err.split())) == (2, True), (wrong, done.err)
    assert typed("replay", "one", "--stack", "nowhere").code == 2
    assert json.loads(typed("replay", "nobody", "--json").out)["exit_code"] == 2
    assert other.calls == []
