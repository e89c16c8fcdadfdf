"""The saver: LangGraph's conformance tests, values shared and removed without loss, strictness."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import itertools
import random
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.types import Interrupt, Send

from rolecall.database import DatabaseFile
from rolecall.errors import StateError, UndecodableState
from rolecall.threads.checkpoints import thread_config
from rolecall.threads.saver import StrictSerializer, ThreadSaver, encoding
from rolecall.threads.saver.pruning import prune_turns
from rolecall.threads.saver.schema import migrations
from rolecall.threads.schema import migrations as all_migrations

WORDS = "the quick brown fox jumps over a lazy dog while seven wizards box in quiet jade rooms"


@pytest.fixture
async def file(tmp_path: Path) -> AsyncIterator[DatabaseFile]:
    opened = DatabaseFile(tmp_path / "threads.db", all_migrations)
    yield opened
    opened.close()


@pytest.fixture
def saver(file: DatabaseFile) -> ThreadSaver:
    return ThreadSaver(
        file,
        turn_of=lambda _, metadata: metadata.get("turn_id"),  # type: ignore[attr-defined]
        keep_all_writes=False,
    )


@pytest.mark.parametrize("keep_all_writes", [True, False])
async def test_it_passes_langgraphs_conformance_tests_whole(
    tmp_path: Path, keep_all_writes: bool
) -> None:
    made = iter(range(100))

    @checkpointer_test(name="ThreadSaver")
    async def fresh() -> AsyncIterator[ThreadSaver]:
        path = tmp_path / f"{next(made)}.db"
        async with ThreadSaver.open(path, keep_all_writes=keep_all_writes) as opened:
            yield opened

    report = await validate(fresh)
    assert {name: result.failures for name, result in report.results.items()} == {
        name: [] for name in report.results
    }
    assert all(result.passed for result in report.results.values()), report.to_dict()


def checkpoint(values: dict[str, Any], versions: dict[str, Any] | None = None) -> Checkpoint:
    return Checkpoint(
        v=4,
        id=str(uuid6()),
        ts="2026-11-21T12:00:00+00:00",
        channel_values=values,
        channel_versions=versions or dict.fromkeys(values, 1),
        versions_seen={"node": {"messages": 1}},
        updated_channels=None,
    )


async def put(
    saver: ThreadSaver, values: dict[str, Any], *, parent: Any = None, step: int = 0, **meta: Any
) -> Any:
    config = parent or thread_config("t")
    versions = meta.pop("versions", None)
    metadata: Any = {"source": "loop", "step": step, "parents": {}, **meta}
    return await saver.aput(config, checkpoint(values, versions), metadata, {})


async def values_of(saver: ThreadSaver, config: Any) -> dict[str, Any]:
    found = await saver.aget_tuple(config)
    assert found is not None
    return found.checkpoint["channel_values"]


def rows(file: DatabaseFile, sql: str) -> list[Any]:
    with sqlite3.connect(file.path) as other:
        found = other.execute(sql).fetchall()
    other.close()
    return found


def message(number: int) -> AnyMessage:
    text = f"{number}: {WORDS}"
    if number % 3 == 0:
        return HumanMessage(text, id=str(number))
    if number % 3 == 1:
        return AIMessage(text, id=str(number), additional_kwargs={"reasoning_content": WORDS})
    return ToolMessage(text, tool_call_id=str(number), id=str(number))


# --- values, shared and removed ---------------------------------------------------------------


async def test_a_message_is_stored_once_however_many_steps_hold_it(
    saver: ThreadSaver, file: DatabaseFile
) -> None:
    parent = None
    messages: list[AnyMessage] = []
    for number in range(30):
        messages = [*messages, message(number)]
        parent = await put(
            saver, {"messages": messages}, parent=parent, versions={"messages": number + 1}
        )
    assert rows(file, "SELECT count(*) FROM saver_parts") == [(30,)]
    assert await values_of(saver, parent) == {"messages": messages}


async def test_a_message_changed_in_place_is_saved_as_it_is_now(saver: ThreadSaver) -> None:
    changing = message(1)
    first = await put(saver, {"messages": [changing]}, versions={"messages": 1})
    changing.content = "something else"
    changing.additional_kwargs["reasoning_content"] = "changed too"
    second = await put(saver, {"messages": [changing]}, parent=first, versions={"messages": 2})
    assert (await values_of(saver, first))["messages"] == [message(1)]
    assert (await values_of(saver, second))["messages"] == [changing]


@pytest.mark.parametrize("seed", range(6))
async def test_nothing_that_is_kept_is_lost_however_a_thread_branches_and_is_pruned(
    saver: ThreadSaver, file: DatabaseFile, seed: int
) -> None:
    """Random steps, branches, removed and returning messages; checked against plain copies."""
    chance = random.Random(seed)
    known: dict[str, tuple[Any, dict[str, Any]]] = {}
    number, counted = 0, itertools.count(1)
    for turn in range(25):
        config, values = chance.choice([*known.values()][-8:]) if known else (None, {})
        for _ in range(chance.randint(1, 5)):
            messages = list(values.get("messages", []))
            if messages and chance.random() < 0.4:
                messages.pop(chance.randrange(len(messages)))
            if chance.random() < 0.7:
                number += 1
                messages.append(message(number))
            elif number:
                messages.append(message(chance.randint(1, number)))
            values = {
                **values,
                "messages": messages,
                "big": {"text": f"{chance.randint(0, 3)} {WORDS * 4}"},
                "small": number,
            }
            if chance.random() < 0.3:
                values.pop(chance.choice(["big", "small"]))
            config = await put(
                saver,
                values,
                parent=config,
                turn_id=f"turn-{turn}",
                versions=dict.fromkeys(values, next(counted)),
            )
            known[config["configurable"]["checkpoint_id"]] = (config, values)
        if chance.random() < 0.3:
            await file.commit(lambda db: prune_turns(db, saver.serde, "t", 4, set(), 30))
        if chance.random() < 0.1:  # as if another process had written
            other = ThreadSaver(DatabaseFile(file.path, all_migrations))
            config = await put(
                other,
                values,
                parent=config,
                turn_id=f"turn-{turn}",
                versions=dict.fromkeys(values, next(counted)),
            )
            known[config["configurable"]["checkpoint_id"]] = (config, values)
            other._file.close()
        kept = [found async for found in saver.alist(thread_config("t"))]
        for found in kept:
            assert found.checkpoint["channel_values"] == known[found.checkpoint["id"]][1]
        left = {found.checkpoint["id"] for found in kept}
        known = {key: value for key, value in known.items() if key in left}
    await saver.acopy_thread("t", "copy")
    await saver.aprune(["t"])
    (head,) = [found async for found in saver.alist(thread_config("t"))]
    assert head.checkpoint["channel_values"] == known[head.checkpoint["id"]][1]
    copied = [found async for found in saver.alist(thread_config("copy"))]
    assert {found.checkpoint["id"] for found in copied} == set(known)
    for found in copied:
        assert found.checkpoint["channel_values"] == known[found.checkpoint["id"]][1]
    await saver.adelete_thread("t")
    await saver.adelete_thread("copy")
    for table in ("lines", "steps", "parts", "writes"):
        assert rows(file, f"SELECT count(*) FROM saver_{table}") == [(0,)]


async def test_parts_that_only_removed_steps_used_are_removed(
    saver: ThreadSaver, file: DatabaseFile
) -> None:
    parent = None
    for turn in range(40):
        for step in range(4):
            parent = await put(
                saver,
                {"messages": [message(turn), message(1000 + 4 * turn + step)]},
                parent=parent,
                turn_id=f"turn-{turn}",
                versions={"messages": 4 * turn + step},
            )
    while (await file.commit(lambda db: prune_turns(db, saver.serde, "t", 5, set(), 16))).more:
        pass
    assert rows(file, "SELECT count(*) FROM saver_steps") == [(5 * 4 + 35,)]
    # per turn its question; of the last five each step's own message, of the others the last
    assert rows(file, "SELECT count(*) FROM saver_parts") == [(40 + 5 * 4 + 35,)]


async def test_pruning_keeps_what_a_fork_or_a_question_points_at(
    saver: ThreadSaver, file: DatabaseFile
) -> None:
    parent, configs = None, []
    for turn in range(10):
        for _ in range(3):
            parent = await put(saver, {"n": turn}, parent=parent, turn_id=f"turn-{turn}")
            configs.append(parent)
    asks = await put(saver, {"n": 3}, parent=configs[7], turn_id="turn-2-again")
    await saver.aput_writes(asks, [("__interrupt__", [Interrupt("which?")])], "task")
    parent = await put(saver, {"n": 99}, parent=configs[-1], turn_id="turn-2-again")
    for turn in range(20, 24):
        parent = await put(saver, {"n": turn}, parent=parent, turn_id=f"turn-{turn}")
    forked = configs[4]["configurable"]["checkpoint_id"]
    await file.commit(lambda db: prune_turns(db, saver.serde, "t", 2, {forked}, 1000))
    left = {found.checkpoint["id"] async for found in saver.alist(thread_config("t"))}
    lasts = {config["configurable"]["checkpoint_id"] for config in configs[2::3]}
    assert lasts | {forked, asks["configurable"]["checkpoint_id"]} <= left
    assert configs[0]["configurable"]["checkpoint_id"] not in left
    found = await saver.aget_tuple(asks)
    assert found is not None
    assert found.pending_writes
    assert found.pending_writes[0][1] == "__interrupt__"


async def test_readers_beside_a_pruner_see_whole_steps(
    saver: ThreadSaver, file: DatabaseFile
) -> None:
    parent = None
    for turn in range(60):
        for step in range(3):
            parent = await put(
                saver,
                {"messages": [message(turn), message(100 + 3 * turn + step)]},
                parent=parent,
                turn_id=f"turn-{turn}",
                versions={"messages": 3 * turn + step},
            )
    reading = DatabaseFile(file.path, all_migrations)
    reader = ThreadSaver(reading)

    async def read() -> int:
        return len([found async for found in reader.alist(thread_config("t"))])

    async def prune() -> None:
        while (await file.commit(lambda db: prune_turns(db, saver.serde, "t", 3, set(), 6))).more:
            pass

    counts = await asyncio.gather(*(read() for _ in range(5)), prune())
    assert all(count is None or count >= 66 for count in counts)
    assert await read() == 3 * 3 + 57
    reading.close()


# --- order ------------------------------------------------------------------------------------


async def test_the_newest_is_the_one_written_last_also_when_the_clock_was_set_back(
    saver: ThreadSaver,
) -> None:
    first = checkpoint({"n": 1})
    second = {**checkpoint({"n": 2}), "id": "00000000-0000-6000-8000-000000000000"}
    config = await saver.aput(thread_config("t"), first, {"step": 0}, {})
    await saver.aput(config, second, {"step": 1}, {})  # type: ignore[arg-type]
    latest = await saver.aget_tuple(thread_config("t"))
    assert latest is not None
    assert latest.checkpoint["id"] == second["id"]
    listed = [found.metadata["step"] async for found in saver.alist(thread_config("t"))]
    assert listed == [1, 0]
    before = thread_config("t", checkpoint_id=second["id"])
    older = [
        found.metadata["step"] async for found in saver.alist(thread_config("t"), before=before)
    ]
    assert older == [0]


async def test_a_list_of_steps_is_paged_and_decodes_nothing(
    saver: ThreadSaver, file: DatabaseFile
) -> None:
    parent = None
    for step in range(120):
        parent = await put(
            saver, {"branch:to:next": None}, parent=parent, step=step, turn_id=f"turn-{step // 3}"
        )
    await file.commit(lambda db: db.execute("UPDATE saver_steps SET body = x'00'"))
    steps = await saver.asteps("t", limit=5)
    assert [found["step"] for found in steps] == [119, 118, 117, 116, 115]
    assert steps[0]["next"] == ["next"]
    more = await saver.asteps("t", limit=2, before=steps[-1]["checkpoint_id"])
    assert [found["step"] for found in more] == [114, 113]
    own = await saver.asteps("t", turn_id="turn-7")
    assert [found["step"] for found in own] == [23, 22, 21]


async def test_a_long_list_is_whole_while_others_write(saver: ThreadSaver) -> None:
    parent = None
    for step in range(130):
        parent = await put(saver, {"n": step}, parent=parent, step=step)
    seen = []
    async for found in saver.alist(thread_config("t")):
        seen.append(found.metadata["step"])
        if len(seen) == 60:
            await put(saver, {"n": -1}, parent=parent, step=-1)
    assert seen == list(range(129, -1, -1))


# --- writes -----------------------------------------------------------------------------------


async def test_writes_that_the_next_step_took_in_go_where_that_is_wanted(tmp_path: Path) -> None:
    for keep, expected in ((True, 2), (False, 0)):
        async with ThreadSaver.open(tmp_path / f"{keep}.db", keep_all_writes=keep) as saver:
            config = await put(saver, {"n": 1})
            await saver.aput_writes(config, [("n", 2)], "task-1")
            await saver.aput_writes(config, [("n", 3)], "task-2")
            pending = await saver.aget_tuple(config)
            assert pending is not None
            assert len(pending.pending_writes or []) == 2
            await put(saver, {"n": 5}, parent=config)
            after = await saver.aget_tuple(config)
            assert after is not None
            assert len(after.pending_writes or []) == expected


async def test_a_delta_channels_writes_stay(saver: ThreadSaver) -> None:
    config = await put(saver, {"n": 1})
    await saver.aput_writes(config, [("log", ["line"])], "task-1")
    await put(saver, {"n": 2}, parent=config, counters_since_delta_snapshot={"log": [1, 1]})
    found = await saver.aget_tuple(config)
    assert found is not None
    assert found.pending_writes == [("task-1", "log", ["line"])]


async def test_what_is_awaited_is_on_disk_for_another_connection(
    saver: ThreadSaver, file: DatabaseFile
) -> None:
    config = await put(saver, {"n": 1})
    assert rows(file, "SELECT count(*) FROM saver_steps") == [(1,)]
    await saver.aput_writes(config, [("n", 2)], "task")
    assert rows(file, "SELECT count(*) FROM saver_writes") == [(1,)]


async def test_a_value_that_cannot_be_saved_disturbs_no_other(saver: ThreadSaver) -> None:
    config = await put(saver, {"n": 1})
    outcomes = await asyncio.gather(
        put(saver, {"bad": object()}, parent=config),
        saver.aput(thread_config("u"), checkpoint({"n": 7}), {"step": 0}, {}),
        return_exceptions=True,
    )
    assert isinstance(outcomes[0], Exception)
    assert await values_of(saver, thread_config("u")) == {"n": 7}
    assert await values_of(saver, thread_config("t")) == {"n": 1}


def test_blocking_calls_do_the_same(tmp_path: Path) -> None:
    file = DatabaseFile(tmp_path / "threads.db", migrations)
    saver = ThreadSaver(file)
    config = saver.put(thread_config("t"), checkpoint({"n": 1}), {"step": 0}, {})
    saver.put_writes(config, [("n", 2)], "task")
    found = saver.get_tuple(thread_config("t"))
    assert found is not None
    assert found.pending_writes == [("task", "n", 2)]
    saver.copy_thread("t", "copy")
    saver.prune(["copy"])
    assert [item.checkpoint["id"] for item in saver.list(None)] == [found.checkpoint["id"]] * 2
    saver.delete_for_runs(["none"])
    saver.delete_thread("t")
    assert saver.get_tuple(thread_config("t")) is None
    file.close()


# --- strict -----------------------------------------------------------------------------------


@dataclasses.dataclass
class Unknown:
    secret: str


async def test_a_type_that_may_not_be_decoded_is_an_error_naming_the_thread(
    saver: ThreadSaver, file: DatabaseFile
) -> None:
    config = await put(saver, {"value": Unknown("kept")})
    before = rows(file, "SELECT body FROM saver_steps")
    with pytest.raises(UndecodableState, match=r"thread t .*Unknown.*rolecall threads check t"):
        await saver.aget_tuple(config)
    assert rows(file, "SELECT body FROM saver_steps") == before
    allowing = ThreadSaver(
        file, serde=StrictSerializer(allowed_msgpack_modules=[(__name__, "Unknown")])
    )
    assert await values_of(allowing, config) == {"value": Unknown("kept")}


@pytest.mark.parametrize("table", ["saver_steps", "saver_parts"])
async def test_damaged_bytes_are_an_error_and_kept(
    saver: ThreadSaver, file: DatabaseFile, table: str
) -> None:
    config = await put(saver, {"messages": [message(0), message(1)]})
    await file.commit(lambda db: db.execute(f"UPDATE {table} SET body = x'00112233'"))
    with pytest.raises(UndecodableState, match="thread t") as error:
        await saver.aget_tuple(config)
    assert error.value.exit_code == 5
    assert isinstance(error.value, StateError)
    assert set(rows(file, f"SELECT body FROM {table}")) == {(b"\x00\x11\x22\x33",)}
    await put(saver, {"n": 1}, parent=config)  # the thread itself goes on
    assert await values_of(saver, thread_config("t")) == {"n": 1}


async def test_a_part_that_is_gone_is_an_error_not_a_shorter_list(
    saver: ThreadSaver, file: DatabaseFile
) -> None:
    config = await put(saver, {"messages": [message(0), message(1)]})
    await file.commit(lambda db: db.execute("DELETE FROM saver_parts WHERE part_id % 2 = 0"))
    with pytest.raises(UndecodableState, match="missing"):
        await saver.aget_tuple(config)


async def test_what_langgraph_keeps_in_state_comes_back(saver: ThreadSaver) -> None:
    values: dict[str, Any] = {
        "__pregel_tasks": [Send("tool_runner", {"call": {"name": "clock", "args": {}, "id": "1"}})],
        "none": None,
        "flag": True,
        "empty": [],
        "text": "ü" * 5000,
        "bytes": b"\x00\xff" * 300,
        "nested": {"a": [1, 2.5, {"b": None}], 3: "int key"},
        "set": {1, 2, 3},
        "messages": [message(n) for n in range(4)],
    }
    config = await put(saver, values)
    assert await values_of(saver, config) == values
    assert (await saver.asteps("t"))[0]["next"] == ["tool_runner"]


def test_the_dictionary_of_the_format_never_changes() -> None:
    """Bytes compressed with another one could not be read back."""
    assert hashlib.sha256(encoding._DICTIONARY).hexdigest() == DICTIONARY


DICTIONARY = "161519bbcc031d59d7be2610051d4782539eb0ef821aa2782cea746d0160f39c"


@pytest.mark.parametrize("size", [0, 1, 63, 64, 1000, 100_000])
def test_compressed_bytes_come_back_and_cut_ones_do_not(size: int) -> None:
    packed = (WORDS.encode() * (size // 50 + 1))[:size]
    kind, stored = encoding.compressed("msgpack", packed)
    assert encoding.plain(kind, stored) == ("msgpack", packed)
    assert len(stored) <= len(packed)
    if kind != "msgpack":
        with pytest.raises(ValueError, match=r"damaged|cut off"):
            encoding.plain(kind, stored[:-2])


async def test_versions_of_another_saver_are_counted_on(saver: ThreadSaver) -> None:
    assert [saver.get_next_version(None, None), saver.get_next_version(7, None)] == [1, 8]
    text = f"{41:032}.0.123"
    assert saver.get_next_version(text, None) > text
