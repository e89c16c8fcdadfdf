"""Pruning of the assistant's threads: bounded, after the answer, nothing lost that is needed."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rolecall import bridge
from rolecall.database import DatabaseFile
from rolecall.models.scripted import ScriptedReply
from rolecall.threads.checkpoints import make_saver, thread_config, turn_of
from rolecall.threads.prune import prune_thread
from rolecall.threads.saver import ThreadSaver
from rolecall.threads.schema import migrations

KEEP, TURNS = 2, 14


def steps_per_turn(assistant: Any, thread: str) -> list[int]:
    """How many steps each turn has, oldest first."""
    count = Counter(step["turn_id"] for step in assistant.steps(thread, limit=1000))
    return list(count.values())[::-1]


def test_old_turns_keep_one_step_and_can_be_forked(
    opened: Any, brain: Any, turns: Any, said_to: Any, runner: Any
) -> None:
    with opened({"memory": {"keep_steps_of_last_turns": KEEP}}) as assistant:
        for number in range(TURNS):
            assistant.ask(f"question {number}", thread="t", role="reasoning")
            assert assistant.settle(10)
        kept = steps_per_turn(assistant, "t")
        assert len(kept) == TURNS
        whole = max(kept)
        assert whole > 3
        assert kept[-KEEP:] == [whole] * KEEP
        assert kept[: TURNS - KEEP - 4] == [1] * (TURNS - KEEP - 4)  # begun in bites of a few turns
        assert len(turns(assistant, "t", limit=100)) == TURNS
        oldest = assistant.steps("t", limit=1000)[-1]
        assert assistant.fork("t", oldest["checkpoint_id"], "fork") == "fork"
        assistant.ask("in the fork", thread="fork", role="reasoning")
        asked = [text for role, text in said_to(runner.calls[-1]) if role == "user"]
        assert asked == ["question 0", "in the fork"]
        assistant.ask("and on", thread="t", role="reasoning")
        assert f"question {TURNS - 1}" in str(said_to(runner.calls[-1]))


def test_a_thread_that_waits_for_an_answer_is_not_pruned_past_it(opened: Any, brain: Any) -> None:
    with opened({"memory": {"keep_steps_of_last_turns": 1}}) as assistant:
        for number in range(8):
            assistant.ask(f"question {number}", thread="t", role="reasoning")
        call = {"name": "ask_user", "args": {"question": "Which?"}}
        brain.say(ScriptedReply(tool_calls=[call]), "thank you")
        reply = assistant.ask("ask me", thread="t", role="reasoning")
        assert reply.waiting_for
        file = assistant._file
        saver = make_saver(file)
        bridge.run(prune_thread(file, saver, "t", 1))
        assert assistant.resume("t", "this one").text


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[DatabaseFile]:
    opened = DatabaseFile(tmp_path / "threads.db", migrations)
    yield opened
    opened.close()


async def filled(file: DatabaseFile, turns: int) -> Any:
    saver = ThreadSaver(file, turn_of=lambda checkpoint, _: turn_of(checkpoint))
    parent: Any = thread_config("t")
    for turn in range(turns):
        for step in range(4):
            number = 4 * turn + step
            values = {
                "messages": [random.Random(number).randbytes(1000).hex()],
                "turn": {"turn_id": f"{turn}"},
            }
            checkpoint: Any = {
                "v": 4,
                "id": f"{number:08}-0000-6000-8000-000000000000",
                "ts": "2026-11-21T12:00:00+00:00",
                "channel_values": values,
                "channel_versions": dict.fromkeys(values, number + 1),
                "versions_seen": {},
                "updated_channels": None,
            }
            parent = await saver.aput(parent, checkpoint, {"step": number, "source": "loop"}, {})
    return saver


async def test_one_call_does_a_bounded_piece_and_the_next_goes_on(file: DatabaseFile) -> None:
    saver = await filled(file, 300)
    removed = [await prune_thread(file, saver, "t", 20) for _ in range(4)]
    assert 0 < removed[0] <= 8 * 68 * 3 // 4
    assert sum(removed) == 280 * 3
    assert removed[-1] == 0
    assert len(await saver.asteps("t", limit=10_000)) == 20 * 4 + 280


async def test_the_file_shrinks_bit_by_bit_when_much_was_removed(file: DatabaseFile) -> None:
    saver = await filled(file, 250)
    assert await file.run(lambda db: db.execute("PRAGMA auto_vacuum").fetchone()) == (2,)
    before = await file.run(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    await saver.aprune(["t"])
    for _ in range(30):
        await prune_thread(file, saver, "t", 1)
    after = await file.run(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    free = await file.run(lambda db: db.execute("PRAGMA freelist_count").fetchone()[0])
    assert before - after > before // 3
    assert free <= 128
    with sqlite3.connect(file.path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


async def test_turns_go_on_while_a_long_thread_is_pruned(file: DatabaseFile) -> None:
    saver = await filled(file, 200)
    pruning = asyncio.create_task(prune_thread(file, saver, "t", 5))
    found = await saver.aget_tuple(thread_config("t"))
    assert found is not None
    checkpoint: Any = {**found.checkpoint, "id": "99999999-0000-6000-8000-000000000000"}
    await saver.aput(found.config, checkpoint, {"step": 800, "source": "loop"}, {})
    await pruning
    latest = await saver.aget_tuple(thread_config("t"))
    assert latest is not None
    assert latest.checkpoint["channel_values"] == found.checkpoint["channel_values"]
