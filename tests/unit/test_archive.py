"""Threads leave as JSON lines and come back whole: turns, steps, journal, in another home."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rolecall import bridge
from rolecall.assistant import Assistant
from rolecall.database import DatabaseFile
from rolecall.errors import StateError, UsageError
from rolecall.models.scripted import ScriptedReply, ScriptedRunner
from rolecall.schema_version import NewerState
from rolecall.threads.archive import Exporter, line
from rolecall.threads.archive_reading import Importer
from rolecall.threads.checkpoints import make_saver
from rolecall.threads.schema import migrations
from rolecall.threads.transcript import Transcript


class Home:
    """A ``threads.db`` of its own, with what reads and writes archives."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "locks").mkdir(exist_ok=True)
        self.file = DatabaseFile(folder / "threads.db", migrations)
        self.saver = make_saver(self.file)
        self.transcript = Transcript(self.file)
        self.importer = Importer(self.file, self.saver, folder / "locks")

    async def lines(self, *threads: str) -> list[str]:
        async def named() -> AsyncIterator[str]:
            for thread in threads:
                yield thread

        exporter = Exporter(self.file, self.saver)
        return [line(record) async for record in exporter.archive(named())]


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "other")
    yield home
    home.file.close()


@pytest.fixture
def exported(old_home: Callable[..., Path], tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """``exported("sorts", …)``: a file with threads of the home of fixtures."""
    home = Home(old_home("home_1", tmp_path / "first"))

    def write(*threads: str) -> Path:
        path = tmp_path / f"{'-'.join(threads)}.jsonl"
        path.write_text("\n".join(asyncio.run(home.lines(*threads))) + "\n")
        return path

    yield write
    home.file.close()


async def test_a_thread_comes_back_as_it_was(exported: Any, other: Home, tmp_path: Path) -> None:
    path = await asyncio.to_thread(exported, "sorts", "tools", "waiting")
    done = await other.importer.take_in(path)
    assert [(t.thread_id, t.turns) for t in done] == [("sorts", 3), ("tools", 1), ("waiting", 1)]
    assert [t.steps for t in done] == [18, 8, 5]
    again = await other.lines("sorts", "tools", "waiting")
    assert [json.loads(text) for text in again[1:]] == [
        json.loads(text) for text in path.read_text().splitlines()[1:]
    ]
    assert len(await other.transcript.search("umlauts äöü")) == 1


async def test_one_thread_under_another_name(exported: Any, other: Home) -> None:
    path = await asyncio.to_thread(exported, "sorts")
    await other.importer.take_in(path)
    with pytest.raises(UsageError, match=r"sorts exists already.*--as"):
        await other.importer.take_in(path)
    await other.importer.take_in(path, "copy")
    first, second = await other.transcript.turns("sorts"), await other.transcript.turns("copy")
    assert [t["answer"] for t in first] == [t["answer"] for t in second]
    assert {t["turn_id"] for t in second} == {f"{t['turn_id']}.copy" for t in first}
    steps = [await other.saver.asteps(name, limit=100) for name in ("sorts", "copy")]
    assert len(steps[0]) == len(steps[1]) > 10


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
async def test_of_half_a_file_nothing_is_written(exported: Any, other: Home, kept: float) -> None:
    path = await asyncio.to_thread(exported, "sorts", "tools")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(StateError, match=r"Nothing was imported|no archive"):
        await other.importer.take_in(path)
    assert await other.transcript.threads() == []
    assert not await other.file.run(lambda db: list(db.query("SELECT * FROM saver_lines")))


@pytest.mark.parametrize(
    ("old", "new", "error", "says"),
    [
        ('"version": 1', '"version": 2', NewerState, "archive of version 2"),
        ('"format": "rolecall-threads"', '"format": "x"', StateError, "no archive"),
        ('"question"', '"colour": 1, "question"', NewerState, "has colour in turns"),
        ('"kind": "turn"', '"kind": "essay"', StateError, "'essay' is no record"),
        ('"status": "done"', '"status": "gone"', StateError, "no turn"),
        ('"thread_id": "sorts"', '"thread_id": "../x"', UsageError, "cannot name a thread"),
        ('"checkpoint": ["msgpack", "', '"checkpoint": ["msgpack", "AAAA', StateError, "line"),
        ('"thread_id": "sorts"', '"thread_id": null', StateError, "'thread' is no record"),
        ('"number": 1', f'"number": {10**30}', StateError, "OverflowError"),
        ('"question": "', r'"question": "\ud800', StateError, "UnicodeEncodeError"),
        ('"parent_id": ', '"parent": ', StateError, "KeyError"),
        ('"metadata": {', '"metadata": 1, "was": {', StateError, "no metadata"),
        ('{"kind": "turn"', f'{"[" * 20_000}"turn"', StateError, "not JSON"),
    ],
)
async def test_what_is_foreign_or_newer_is_refused_whole(
    exported: Any, other: Home, old: str, new: str, error: type[Exception], says: str
) -> None:
    path = await asyncio.to_thread(exported, "sorts")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(error, match=says):
        await other.importer.take_in(path)
    assert await other.transcript.threads() == []
    assert not await other.file.run(lambda db: list(db.query("SELECT * FROM saver_lines")))


async def test_no_thread_of_a_file_is_taken_when_one_is_in_use(exported: Any, other: Home) -> None:
    await other.importer.take_in(await asyncio.to_thread(exported, "tools"))
    with pytest.raises(UsageError, match="tools exists already"):
        await other.importer.take_in(await asyncio.to_thread(exported, "sorts", "tools"))
    assert not await other.transcript.exists("sorts")
    assert await other.transcript.exists("tools")


def test_an_imported_turn_that_waits_is_answered(
    exported: Any, opened: Any, runner: ScriptedRunner, rolecall_home: Path
) -> None:
    path = exported("waiting", "failed")
    runner.default = ScriptedReply("All done.")
    with opened() as assistant:
        assert isinstance(assistant, Assistant)
        file = assistant.transcript._file
        importer = Importer(file, make_saver(file), rolecall_home / "locks")
        bridge.run(importer.take_in(path))
        assert assistant.resume("failed").text == "All done."
        assert assistant.resume("waiting", "blue").text == "All done."
        told = [m["content"] for m in runner.calls[-1].messages if m["role"] == "tool"]
        assert "the user said blue" in told
