"""``rolecall threads …`` as it is typed: exported and imported, copied, checked, forked."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rolecall.models.scripted import ScriptedReply, ScriptedRunner

Run = Callable[..., Any]


@pytest.fixture
def used(run: Run, runner: ScriptedRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """``run`` in a home with thread ``one`` of two turns."""
    runner.models = ["tiny"]
    runner.default = ScriptedReply("Merge sort is stable.")
    run("ask", "Which sort is stable?", "--role", "reasoning", "--thread", "one")
    run("ask", "And in Rust?", "--role", "coding", "--thread", "one")
    return run


def test_threads_are_exported_and_imported(used: Run, tmp_path: Path) -> None:
    lines, text = tmp_path / "all.jsonl", tmp_path / "one.md"
    assert used("threads", "export", "--all", "--format", "jsonl", "-o", str(lines)).code == 0
    assert used("threads", "export", "one", "-o", str(text)).code == 0
    assert text.read_text().startswith("# Thread one\n\n## 1. ")
    assert [json.loads(line)["kind"] for line in lines.read_text().splitlines()][-1] == "end"
    whole = used("threads", "export", "one", "--json").json
    assert [t["question"] for t in whole["turns"]] == ["Which sort is stable?", "And in Rust?"]
    assert len(whole["steps"]) > 5
    assert [t["thread_id"] for t in used("threads", "export", "--all", "--json").json["threads"]]
    refused = used("threads", "import", str(lines))
    assert (refused.code, "--as" in refused.err) == (2, True)
    done = used("threads", "import", str(lines), "--as", "two", "--json")
    assert done.json["imported"][0]["turns"] == 2
    shown = used("threads", "show", "two", "--turn", "2", "--json").json["turns"]
    assert [t["question"] for t in shown] == ["And in Rust?"]
    assert used("threads", "import", str(text)).code == 5
    assert used("threads", "export").code == 2
    assert used("threads", "export", "nobody", "-o", str(tmp_path / "x")).code == 2
    assert not (tmp_path / "x").exists()


def test_a_copy_is_made_checked_and_put_back(
    used: Run, tmp_path: Path, rolecall_home: Path
) -> None:
    folder = tmp_path / "copies"
    folder.mkdir()
    written = used("threads", "backup", str(folder), "--json").json["written"]
    assert [Path(one["file"]).name for one in written] == ["threads.db", "telemetry.db"]
    assert used("threads", "backup", str(folder)).code == 2
    assert used("threads", "backup", str(folder), "--force").code == 0
    assert used("threads", "delete", "one", "--yes").code == 0
    moved = used("threads", "restore", str(folder / "threads.db"), "--json").json["restored"]
    assert Path(moved[0]["moved_to"]).exists()
    assert len(used("threads", "show", "one", "--json").json["turns"]) == 2
    assert used("threads", "check", "--strict").out.strip().endswith("ok")
    with closing(sqlite3.connect(rolecall_home / "threads.db")) as connection:
        connection.execute("UPDATE turns SET status = 'running' WHERE number = 2")
        connection.commit()
    found = used("threads", "check", "one", "--json").json
    assert (found["verdict"], found["findings"][0]["remedy"]) == ("weak", "rolecall resume one")
    assert used("threads", "check").code == 0
    assert used("threads", "check", "--strict").code == 5
    assert used("threads", "check", "--repair", "--strict").code == 0
    assert used("threads", "show", "one", "--json").json["turns"][1]["status"] == "interrupted"
    assert used("threads", "check", "nobody").code == 2


def test_a_question_is_edited_in_a_fork(used: Run) -> None:
    steps = used("threads", "show", "one", "--steps", "--turn", "2", "--json").json["steps"]
    assert steps
    at = steps[0]["checkpoint_id"]
    done = used("threads", "fork", "one", "--at", at, "--edit", "And in C?", "--new", "c", "--json")
    assert (done.json["thread_id"], done.json["answer"]) == ("c", "Merge sort is stable.")
    assert [t["question"] for t in used("threads", "show", "c", "--json").json["turns"]] == [
        "Which sort is stable?",
        "And in C?",
    ]
    inside = next(s for s in steps if s["next"] == ["coding"])
    ran = used("threads", "fork", "one", "--at", inside["checkpoint_id"], "--run", "--json")
    assert ran.json["path"] == ["coding", "synthesis"]
    threads = used("threads", "list", "--json").json
    finished = used("threads", "fork", "one", "--run")
    assert (finished.code, "nothing to run" in finished.err) == (2, True)
    assert used("threads", "list", "--json").json == threads
    assert used("threads", "fork", "one", "--run", "--edit", "x").code == 2
    assert used("threads", "fork", "one", "--role", "coding").code == 2
    found = used("threads", "search", "stab*", "--thread", "c", "--offset", "1", "--json").json
    assert [m["thread_id"] for m in found["matches"]] == ["c"]


def test_steps_are_paged_by_number_and_by_id(used: Run) -> None:
    steps = used("threads", "show", "one", "--steps", "--json").json["steps"]
    for before in (str(steps[2]["step"]), steps[2]["checkpoint_id"]):
        page = used("threads", "show", "one", "--steps", "-n", "2", "--before", before, "--json")
        assert page.json["steps"] == steps[3:5]
    assert used("threads", "show", "one", "--steps", "--before", "99").code == 2


def test_traces_are_not_put_in_the_place_of_threads(used: Run, rolecall_home: Path) -> None:
    refused = used("threads", "restore", str(rolecall_home / "telemetry.db"))
    assert (refused.code, "it has no threads" in refused.err) == (5, True)
    assert used("threads", "show", "one").code == 0


def test_a_turn_without_an_answer_says_how_to_go_on(
    used: Run, runner: ScriptedRunner, rolecall_home: Path
) -> None:
    runner.default = ScriptedReply(fault=500)
    assert used("ask", "Fail", "--thread", "one", "--role", "coding").code == 3
    assert "rolecall resume one" in used("threads", "show", "one").out
    assert "rolecall resume two" in used("threads", "fork", "one", "--new", "two").out


@pytest.mark.parametrize(
    "wrong",
    [
        ["list", "--offset", "9" * 30],
        ["show", "one", "--turn", "9" * 30],
        ["show", "one", "--before", "9" * 30],
        ["search", "sort", "--thread", "nobody"],
    ],
)
def test_a_number_or_thread_that_cannot_be_is_wrong_usage(used: Run, wrong: list[str]) -> None:
    assert used("threads", *wrong).code == 2
