"""Homes of LangGraph's own SQLite saver: every step comes over, and what cannot be read is kept."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from rolecall.database import DatabaseFile
from rolecall.errors import UndecodableState
from rolecall.threads.checkpoints import copy_step, find_step, open_saver, thread_config
from rolecall.threads.saver import StrictSerializer, ThreadSaver
from rolecall.threads.saver.inspection import inspect
from rolecall.threads.schema import migrations

FIXTURE = Path(__file__).parents[1] / "fixtures" / "home_1" / "threads.db.gz"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A ``threads.db`` of the first schema, with AsyncSqliteSaver's tables."""
    path = tmp_path / "threads.db"
    path.write_bytes(gzip.decompress(FIXTURE.read_bytes()))
    return path


def stored(path: Path, sql: str) -> list[Any]:
    with sqlite3.connect(path) as db:
        found = db.execute(sql).fetchall()
    db.close()
    return found


async def test_every_step_comes_over_as_it_was(old: Path) -> None:
    serde = StrictSerializer(allowed_msgpack_modules=None)
    before = stored(
        old, "SELECT thread_id, checkpoint_id, type, checkpoint, metadata FROM checkpoints"
    )
    heads = dict(stored(old, "SELECT thread_id, max(checkpoint_id) FROM checkpoints GROUP BY 1"))
    pending = stored(old, "SELECT thread_id, checkpoint_id, channel FROM writes")
    async with open_saver(old) as saver:
        for thread_id, checkpoint_id, kind, packed, metadata in before:
            was = serde.loads_typed((kind, packed))
            now = await saver.aget_tuple(thread_config(thread_id, checkpoint_id=checkpoint_id))
            assert now is not None
            assert now.checkpoint["channel_values"] == was["channel_values"]
            assert (now.checkpoint["id"], now.checkpoint["ts"]) == (was["id"], was["ts"])
            assert now.metadata == json.loads(metadata)
        for thread_id, head in heads.items():
            latest = await find_step(saver, thread_id, None)
            assert latest.checkpoint["id"] == head
            expected = sorted(c for t, i, c in pending if (t, i) == (thread_id, head))
            assert sorted(w[1] for w in latest.pending_writes or []) == expected
            steps = await saver.asteps(thread_id, limit=1000)
            assert len(steps) == sum(row[0] == thread_id for row in before)
            assert all(step["turn_id"] for step in steps)
        while await saver.aconvert_some():
            pass
    assert stored(old, "SELECT name FROM sqlite_master WHERE name LIKE 'stock_%'") == []
    assert len(stored(old, "SELECT 1 FROM saver_steps")) == len(before)


async def test_an_old_thread_can_be_copied_at_any_step(old: Path) -> None:
    async with open_saver(old) as saver:
        for number, step in enumerate(await saver.asteps("sorts", limit=100)):
            found = await find_step(saver, "sorts", step["checkpoint_id"])
            await copy_step(saver, found, f"copy-{number}")
            copy = await find_step(saver, f"copy-{number}", None)
            assert copy.checkpoint["channel_values"] == found.checkpoint["channel_values"]


async def test_a_step_that_cannot_be_decoded_is_kept_byte_for_byte(old: Path) -> None:
    head = stored(old, "SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = 'sorts'")[0][0]
    with sqlite3.connect(old) as db:
        db.execute("UPDATE checkpoints SET checkpoint = x'c1ffee' WHERE checkpoint_id = ?", [head])
    db.close()
    async with open_saver(old) as saver:
        with pytest.raises(UndecodableState, match=r"thread sorts .*rolecall threads check sorts"):
            await saver.aget_tuple(thread_config("sorts"))
        steps = await saver.asteps("sorts", limit=100)
        assert steps[0]["checkpoint_id"] == head
        assert await find_step(saver, "sorts", steps[1]["checkpoint_id"])
        assert await find_step(saver, "tools", None)
    assert stored(old, f"SELECT body FROM saver_steps WHERE checkpoint_id = '{head}'") == [
        (b"\xc1\xff\xee",)
    ]


async def test_a_file_of_langgraphs_saver_opens_as_it_is(old: Path) -> None:
    with sqlite3.connect(old) as db:
        for table in ("threads", "turns", "turns_fts", "_sqlite_migrations"):
            db.execute(f"DROP TABLE IF EXISTS {table}")
    db.close()
    writes = stored(old, "SELECT count(*) FROM writes")
    async with ThreadSaver.open(old) as saver:
        found = [item async for item in saver.alist(None)]
        assert len(found) == 40
        assert await saver.aget_tuple(thread_config("waiting"))
    assert stored(old, "SELECT count(*) FROM saver_writes") == writes


async def test_an_inspection_names_what_is_wrong(old: Path) -> None:
    async with open_saver(old) as saver:
        step = await find_step(saver, "sorts", None)
    file = DatabaseFile(old, migrations)
    serde = StrictSerializer(allowed_msgpack_modules=None)
    whole = await file.run(lambda db: inspect(db, serde, "sorts"))
    assert (whole.steps, whole.undecodable, whole.left_over, whole.loose_writes) == (18, {}, 0, 0)
    await file.commit(
        lambda db: db.execute(
            "UPDATE saver_steps SET body = x'00' WHERE checkpoint_id = ?", [step.checkpoint["id"]]
        )
    )
    found = await file.run(lambda db: inspect(db, serde, "sorts"))
    assert set(found.undecodable) == {step.checkpoint["id"]}
    file.close()
