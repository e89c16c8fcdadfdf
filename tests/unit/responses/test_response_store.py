"""Stored responses: order, several writers, deletion, age, damage."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rolecall import bridge
from rolecall.errors import StateError, UnknownResponse
from rolecall.models.responses.store import ResponseStore

DAY_S = 86_400.0


@pytest.fixture
def store(rolecall_home: Path) -> Iterator[ResponseStore]:
    opened = ResponseStore(kept_days=30, most_kept=6)
    yield opened
    opened.close()


async def save(
    store: ResponseStore, name: str, previous: str | None = None, *, days_ago: float = 0.0
) -> None:
    response = {
        "id": name,
        "previous_response_id": previous,
        "created_at": time.time() - days_ago * DAY_S,
        "output": [{"said": name}],
    }
    await store.save(response, [{"asked": name}])


async def kept(store: ResponseStore) -> set[str]:
    return await store._run(lambda db: {row[0] for row in db.execute("SELECT id FROM responses")})


def prune_with_the_next(store: ResponseStore) -> None:
    store._until_prune = 0


async def test_a_conversation_comes_back_in_order(store: ResponseStore) -> None:
    await save(store, "a")
    await save(store, "b", "a")
    await save(store, "side", "a")
    await save(store, "c", "b")
    assert await store.conversation("c") == [
        {"asked": "a"}, {"said": "a"}, {"asked": "b"}, {"said": "b"}, {"asked": "c"}, {"said": "c"},
    ]  # fmt: skip
    assert await store.conversation(None) == []


async def test_lone_surrogates_and_every_script_are_kept(store: ResponseStore) -> None:
    odd = {"id": "odd", "created_at": time.time(), "output": [{"text": "\udcff\x00 日本 🙂"}]}
    await store.save(odd, [{"text": "\ud800"}])
    assert await store.conversation("odd") == [{"text": "\ud800"}, {"text": "\udcff\x00 日本 🙂"}]


async def test_what_follows_a_deleted_response_can_be_read_but_not_continued(
    store: ResponseStore,
) -> None:
    await save(store, "a")
    await save(store, "b", "a")
    await store.delete("a")
    assert (await store.get("b"))["id"] == "b"
    with pytest.raises(UnknownResponse, match="'a' before it was deleted"):
        await store.conversation("b")
    with pytest.raises(UnknownResponse, match="no stored response 'a'"):
        await store.delete("a")


async def test_a_conversation_is_dropped_as_a_whole_30_days_after_its_last_response(
    store: ResponseStore,
) -> None:
    await save(store, "old", days_ago=40)
    await save(store, "old-2", "old", days_ago=31)
    await save(store, "used", days_ago=40)
    await save(store, "used-2", "used", days_ago=29)
    prune_with_the_next(store)
    await save(store, "new")
    assert await kept(store) == {"used", "used-2", "new"}


async def test_beyond_the_limit_the_longest_unused_conversations_go(store: ResponseStore) -> None:
    for name, days in (("a", 5), ("b", 4), ("c", 3)):
        await save(store, name, days_ago=days)
        await save(store, f"{name}2", name, days_ago=days - 0.5)
    await save(store, "a3", "a2")
    prune_with_the_next(store)
    await save(store, "d")
    assert await kept(store) == {"a", "a2", "a3", "c", "c2", "d"}


async def test_one_long_conversation_never_loses_its_beginning(store: ResponseStore) -> None:
    last = None
    for number in range(12):
        prune_with_the_next(store)
        await save(store, str(number), last)
        last = str(number)
    assert len(await store.conversation("11")) == 24


async def test_it_opens_again_after_it_was_closed(store: ResponseStore) -> None:
    await save(store, "a")
    await asyncio.to_thread(store.close)
    assert (await store.get("a"))["id"] == "a"


async def test_two_event_loops_and_a_close_in_between_lose_nothing(store: ResponseStore) -> None:
    async def write(prefix: str) -> None:
        for number in range(15):
            await save(store, f"{prefix}{number}", f"{prefix}{number - 1}" if number else None)

    stop = threading.Event()

    def close_again_and_again() -> None:
        while not stop.wait(0.002):
            store.close()

    store._most_kept = 1000
    closing = threading.Thread(target=close_again_and_again)
    closing.start()
    try:
        elsewhere = asyncio.to_thread(lambda: bridge.run(write("x")))
        await asyncio.gather(elsewhere, write("y"), write("z"))
    finally:
        stop.set()
        closing.join()
    assert len(await kept(store)) == 45


WRITER = """
import asyncio, sys, time
from rolecall.models.responses.store import ResponseStore
store = ResponseStore()
async def write():
    for n in range(20):
        await store.save({"id": f"{sys.argv[1]}{n}", "created_at": time.time(), "output": []}, [])
asyncio.run(write())
store.close()
"""


async def test_several_processes_write_at_once(store: ResponseStore) -> None:
    writers = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, name) for name in "pq"
    ]
    for number in range(5):
        await save(store, f"here{number}")
    assert [await writer.wait() for writer in writers] == [0, 0]
    assert len(await kept(store)) == 45


async def test_a_damaged_row_and_a_damaged_file_are_told_of(
    store: ResponseStore, rolecall_home: Path
) -> None:
    await save(store, "a")
    await asyncio.to_thread(store.close)
    path = rolecall_home / "responses.db"
    connection = sqlite3.connect(path)
    connection.execute("UPDATE responses SET response = '{\"out'")
    connection.commit()
    connection.close()
    with pytest.raises(StateError, match="response a is damaged"):
        await store.conversation("a")
    await asyncio.to_thread(store.close)
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StateError, match=r"responses\.db"):
        await store.conversation(None)


async def test_a_thousand_turns_are_read_in_order_and_quickly(store: ResponseStore) -> None:
    def fill(db: Any) -> None:
        rows = (
            (f"r{n}", f"r{n - 1}" if n else None, "r0", float(n), f"[{n}]", '{"output": []}')
            for n in range(1000)
        )
        db.executemany("INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?)", rows)
        db.commit()

    await store._run(lambda db: fill(db.conn))
    started = time.perf_counter()
    assert await store.conversation("r999") == list(range(1000))
    assert time.perf_counter() - started < 2
