"""Damaged, read-only and full disks: an error with a way out, and nothing saved before is lost."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rolecall import bridge
from rolecall.assistant import Assistant
from rolecall.config.schema import Stack
from rolecall.errors import RolecallError, StateError
from rolecall.models.scripted import ScriptedReply, ScriptedRunner
from rolecall.threads.backup import back_up

pytestmark = pytest.mark.alone

FIXED = {"routing": {"strategy": "fixed", "role": "reasoning"}}


@pytest.fixture
def stack(runner: ScriptedRunner, stack_for: Any) -> Stack:
    loaded: Stack = stack_for(runner, FIXED)
    return loaded


@pytest.fixture
def used_home(stack: Stack, rolecall_home: Path) -> Path:
    """A home with one finished turn and no files of a running process."""
    with Assistant.open(stack) as assistant:
        assistant.ask("Hello", thread="t")
    return rolecall_home


def questions(stack: Stack, thread: str = "t") -> list[str]:
    with Assistant.open(stack) as assistant:
        return [t["question"] for t in bridge.run(assistant.transcript.turns(thread, 1000))]


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mount is not permitted here: {done.stderr.strip()}")


# --- damaged --------------------------------------------------------------------------------------


def test_garbage_in_place_of_the_threads(stack: Stack, used_home: Path) -> None:
    path = used_home / "threads.db"
    path.write_bytes(os.urandom(8192))
    with pytest.raises(StateError, match=r"threads\.db.*damaged.*Move threads\.db") as error:
        Assistant.open(stack)
    assert error.value.exit_code == 5
    before = path.read_bytes()
    path.rename(path.with_suffix(".broken"))  # what the message says
    with Assistant.open(stack) as assistant:
        assert assistant.ask("Hello", thread="t").text == "ok"
    assert path.with_suffix(".broken").read_bytes() == before


def test_threads_truncated_in_half(stack: Stack, used_home: Path) -> None:
    path = used_home / "threads.db"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StateError, match="damaged") as error, Assistant.open(stack) as assistant:
        assistant.ask("Again", thread="t")
    assert error.value.exit_code == 5
    for left in used_home.glob("threads.db*"):
        left.unlink()
    path.write_bytes(whole)
    assert questions(stack) == ["Hello"]


def test_pages_overwritten_in_the_middle(stack: Stack, used_home: Path) -> None:
    path = used_home / "threads.db"
    whole = bytearray(path.read_bytes())
    whole[4096:] = os.urandom(len(whole) - 4096)
    path.write_bytes(whole)
    with pytest.raises(StateError, match="damaged"), Assistant.open(stack) as assistant:
        assistant.ask("Again", thread="t")


def test_an_empty_file_is_a_new_database(stack: Stack, rolecall_home: Path) -> None:
    rolecall_home.mkdir()
    (rolecall_home / "threads.db").touch()
    with Assistant.open(stack) as assistant:
        assert assistant.ask("Hello").text == "ok"


def test_damaged_telemetry_never_fails_a_turn(stack: Stack, used_home: Path) -> None:
    (used_home / "telemetry.db").write_bytes(os.urandom(8192))
    with Assistant.open(stack) as assistant:
        assert assistant.ask("Again", thread="t").text == "ok"
        assistant.flush()
        assert "telemetry.db" in str(assistant._recorder.problem)
    assert questions(stack) == ["Hello", "Again"]


# --- read-only ------------------------------------------------------------------------------------


def test_a_home_that_is_a_file(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        monkeypatch.setenv("ROLECALL_HOME", str(home))
        with pytest.raises(StateError, match="Set ROLECALL_HOME") as error:
            Assistant.open(stack)
        assert error.value.exit_code == 5


@pytest.fixture
def read_only_home(used_home: Path) -> Iterator[Path]:
    mount("--bind", str(used_home), str(used_home))
    try:
        mount("-o", "remount,bind,ro", str(used_home))
        yield used_home
    finally:
        subprocess.run(["umount", "-l", str(used_home)], check=True)


def test_a_read_only_home(stack: Stack, read_only_home: Path) -> None:
    remedy = r"ROLECALL_HOME|writ"
    with pytest.raises(StateError, match=remedy) as error, Assistant.open(stack) as assistant:
        assistant.ask("Again", thread="t")
    assert error.value.exit_code == 5


def test_what_was_saved_is_there_when_it_is_writable_again(stack: Stack, used_home: Path) -> None:
    mount("--bind", str(used_home), str(used_home))
    try:
        mount("-o", "remount,bind,ro", str(used_home))
        with pytest.raises(StateError), Assistant.open(stack) as assistant:
            assistant.ask("Again", thread="t")
    finally:
        subprocess.run(["umount", "-l", str(used_home)], check=True)
    assert questions(stack) == ["Hello"]


# --- full -----------------------------------------------------------------------------------------


@pytest.fixture
def small_home(rolecall_home: Path) -> Iterator[Path]:
    """A home on a disk of two megabytes."""
    rolecall_home.mkdir()
    mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", str(rolecall_home))
    try:
        yield rolecall_home
    finally:
        subprocess.run(["umount", "-l", str(rolecall_home)], check=True)


def fill(home: Path, leave: int) -> Path:
    """Fill the disk but for ``leave`` bytes."""
    ballast = home / "ballast"
    free = os.statvfs(home).f_bavail * os.statvfs(home).f_frsize
    ballast.write_bytes(b"x" * max(free - leave, 0))
    return ballast


@pytest.mark.parametrize("leave", [0, 65_536, 262_144])
def test_a_full_disk_loses_nothing_and_the_turn_can_be_resumed(
    runner: ScriptedRunner, stack: Stack, small_home: Path, leave: int
) -> None:
    runner.default = ScriptedReply("word " * 2000, pieces=["word " * 2000])
    with Assistant.open(stack) as assistant:
        assistant.ask("Hello", thread="t")
    failed_at = None
    with Assistant.open(stack) as assistant:
        ballast = fill(small_home, leave)
        for number in range(60):
            try:
                assistant.ask(f"question {number} " + "text " * 1000, thread="t")
            except RolecallError as error:
                failed_at, failure = number, error
                break
        assert failed_at is not None
        assert isinstance(failure, StateError), repr(failure)
        assert failure.exit_code == 5
        assert "Free some space" in str(failure)
        saved = bridge.run(assistant.transcript.turns("t", 1000))
        ballast.unlink()
        # once there is space the same assistant goes on
        if saved[-1]["status"] != "done":
            assert saved[-1]["question"].startswith(f"question {failed_at} ")
            assert assistant.resume("t").text.startswith("word word")
        assert assistant.ask("after", thread="t").text.startswith("word word")
    with Assistant.open(stack) as assistant:
        kept = bridge.run(assistant.transcript.turns("t", 1000))
    assert {t["status"] for t in kept} == {"done"}
    asked = [t["question"].split(" text")[0] for t in kept]
    assert asked[: failed_at + 1] == ["Hello", *(f"question {n}" for n in range(failed_at))]
    assert asked[-1] == "after"
    connection = sqlite3.connect(small_home / "threads.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_turn_with_tools_on_a_full_disk_goes_on_where_it_stopped(
    runner: ScriptedRunner, stack: Stack, small_home: Path
) -> None:
    call = {"name": "calculator", "args": {"expression": "6 * 7"}}
    with Assistant.open(stack) as assistant:
        assistant.ask("Hello", thread="t")
        ballast = fill(small_home, 0)
        big = "word " * 2000
        runner.enqueue(
            ScriptedReply(big, pieces=[big], tool_calls=[call]), ScriptedReply("It is 42.")
        )
        with pytest.raises(StateError, match="Free some space"):
            assistant.ask("Multiply " + "text " * 1000, thread="t")
        ballast.unlink()
        turns = bridge.run(assistant.transcript.turns("t", 10))
        if len(turns) == 2:  # it was accepted
            assert assistant.resume("t").text == "It is 42."
        assert assistant.ask("after", thread="t").text
    with Assistant.open(stack) as assistant:
        assert {t["status"] for t in bridge.run(assistant.transcript.turns("t", 10))} == {"done"}


def test_a_copy_that_does_not_fit_leaves_nothing_behind(stack: Stack, small_home: Path) -> None:
    with Assistant.open(stack) as assistant:
        assistant.ask("Hello " + "text " * 2000, thread="t")
        ballast = fill(small_home, 8192)
        before = sorted(path.name for path in small_home.iterdir())
        with pytest.raises(StateError):
            back_up(small_home / "threads.db", small_home / "copy.db")
        assert sorted(path.name for path in small_home.iterdir()) == before
        ballast.unlink()
        assert back_up(small_home / "threads.db", small_home / "copy.db") > 0


def test_a_disk_too_full_to_begin(stack: Stack, small_home: Path) -> None:
    ballast = fill(small_home, 0)
    with pytest.raises(StateError) as error:
        Assistant.open(stack)
    assert error.value.exit_code == 5
    ballast.unlink()
    with Assistant.open(stack) as assistant:
        assert assistant.ask("Hello").text == "ok"
