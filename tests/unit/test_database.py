"""One SQLite file: its own thread, its migrations, its errors, and other processes on it."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from rolecall.database import DatabaseFile, TakesLong, writing
from rolecall.database_errors import state_error
from rolecall.errors import StateError

migrations = Migrations("test")


@migrations()
def m001_items(db: Database) -> None:
    db.table("items").create({"id": int, "name": str}, pk="id")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[DatabaseFile]:
    opened = DatabaseFile(tmp_path / "test.db", migrations)
    yield opened
    opened.close()


def count(db: Database) -> int:
    return int(db.execute("SELECT count(*) FROM items").fetchone()[0])


async def test_it_is_opened_and_migrated_on_first_use(file: DatabaseFile) -> None:
    assert not file.path.exists()
    assert await file.run(count) == 0
    assert await file.run(lambda db: db.journal_mode) == "wal"


async def test_every_statement_runs_on_one_thread_of_its_own(file: DatabaseFile) -> None:
    names = {await file.run(lambda _: threading.current_thread().name) for _ in range(5)}
    assert len(names) == 1
    assert threading.current_thread().name not in names


async def test_statements_keep_their_order(file: DatabaseFile) -> None:
    for number in range(100):
        file.submit(lambda db, n=number: db.table("items").insert({"name": str(n)}))
    rows = await file.run(lambda db: [r["name"] for r in db.query("SELECT name FROM items")])
    assert rows == [str(n) for n in range(100)]


async def test_the_event_loop_goes_on_while_a_statement_runs(file: DatabaseFile) -> None:
    release = threading.Event()
    waiting = asyncio.create_task(file.run(lambda _: release.wait(5)))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    release.set()
    assert await waiting


def test_closing_finishes_what_is_queued_and_may_be_repeated(tmp_path: Path) -> None:
    file = DatabaseFile(tmp_path / "test.db", migrations)
    for _ in range(50):
        file.submit(lambda db: db.table("items").insert({"name": "x"}))
    file.close()
    file.close()
    again = DatabaseFile(tmp_path / "test.db", migrations)
    assert again.submit(count).result() == 50
    again.close()


def test_closing_without_use_makes_no_file(tmp_path: Path) -> None:
    DatabaseFile(tmp_path / "test.db", migrations).close()
    assert list(tmp_path.glob("*.db")) == []


async def test_a_transaction_that_fails_leaves_nothing(file: DatabaseFile) -> None:
    def half(db: Database) -> None:
        with writing(db):
            db.execute("INSERT INTO items (name) VALUES ('half')")
            raise KeyError("in the middle")

    with pytest.raises(KeyError):
        await file.run(half)
    assert await file.run(count) == 0


async def test_a_wrong_statement_is_a_state_error_naming_the_file(file: DatabaseFile) -> None:
    with pytest.raises(StateError, match=r"test\.db: no such table"):
        await file.run(lambda db: db.execute("SELECT * FROM absent"))
    assert await file.run(count) == 0


async def test_garbage_is_named_with_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    path.write_bytes(b"this is no database at all" * 100)
    file = DatabaseFile(path, migrations)
    for _ in range(2):  # the second try says the same
        with pytest.raises(StateError, match=r"damaged.*check --repair.*Move test\.db"):
            await file.run(count)
    file.close()


async def test_a_missing_folder_is_a_state_error(tmp_path: Path) -> None:
    file = DatabaseFile(tmp_path / "gone" / "test.db", migrations)
    with pytest.raises(StateError, match="folder exists"):
        await file.run(count)
    file.close()


@pytest.mark.parametrize(
    ("problem", "remedy"),
    [
        ("database disk image is malformed", "damaged"),
        ("file is not a database", "damaged"),
        ("attempt to write a readonly database", "write permission"),
        ("database or disk is full", "Free some space"),
        ("unable to open database file", "writable"),
        ("disk I/O error", "Check the disk"),
        ("database is locked", "another process"),
        ("something new", "something new"),
    ],
)
def test_every_database_error_says_what_to_do(problem: str, remedy: str) -> None:
    error = state_error(Path("/home/me/threads.db"), sqlite3.OperationalError(problem))
    assert remedy in str(error)
    assert problem in str(error)
    assert "/home/me/threads.db" in str(error)
    assert error.exit_code == 5


async def test_reading_then_writing_waits_for_another_writer(
    file: DatabaseFile, tmp_path: Path
) -> None:
    """A deferred transaction would fail at once: its snapshot is out of date."""
    await file.run(count)
    other = sqlite3.connect(file.path, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO items (name) VALUES ('theirs')")

    def read_then_write(db: Database) -> int:
        with writing(db):
            seen = count(db)
            db.execute("INSERT INTO items (name) VALUES ('ours')")
        return seen

    waiting = asyncio.create_task(file.run(read_then_write))
    await asyncio.sleep(0.2)
    other.commit()
    other.close()
    assert await waiting == 1


WRITER = """
import asyncio, sys
from pathlib import Path
from typing import Any
from typing import Any
from rolecall.database import DatabaseFile
from rolecall.threads.schema import migrations
from rolecall.threads.transcript import Transcript

async def main(name):
    file = DatabaseFile(Path(sys.argv[1]), migrations)
    transcript = Transcript(file)
    for n in range(40):
        await transcript.accept(name, f"{name}-{n}", "trace", "question")
        await transcript.finish(f"{name}-{n}", "done", {"answer": "answer"})
        if n % 10 == 0:
            fork = f"{name}-fork-{n}"
            await transcript.fork(name, fork, "1", f"{name}-{n}", (f"{name}-f{n}", "x"))
    file.close()

asyncio.run(main(sys.argv[2]))
"""


def test_processes_open_a_new_file_and_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "threads.db"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), f"t{n}"], stderr=subprocess.PIPE, text=True
        )
        for n in range(4)
    ]
    for writer in writers:
        _, err = writer.communicate(timeout=60)
        assert (writer.returncode, err) == (0, "")
    database = sqlite3.connect(path)
    assert database.execute("SELECT count(*) FROM turns WHERE thread_id LIKE 't_'").fetchone() == (
        160,
    )
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


async def test_two_files_of_one_process_write_at_once(tmp_path: Path) -> None:
    files = [DatabaseFile(tmp_path / "test.db", migrations) for _ in range(2)]
    await asyncio.gather(
        *(
            file.run(lambda db: db.table("items").insert({"name": "x"}))
            for _ in range(50)
            for file in files
        )
    )
    assert await files[0].run(count) == 100
    for file in files:
        file.close()


def add(name: str) -> Callable[[Database], None]:
    return lambda db: db.table("items").insert({"name": name}) and None


async def test_writes_that_wait_together_share_a_transaction(file: DatabaseFile) -> None:
    await file.run(count)
    seen: list[str] = []
    began, release = threading.Event(), threading.Event()

    def hold(db: Database) -> None:
        db.conn.set_trace_callback(seen.append)
        began.set()
        release.wait(5)

    held = file.submit(hold)
    await asyncio.to_thread(began.wait, 5)
    writes = [asyncio.ensure_future(file.commit(add(str(n)))) for n in range(20)]
    await asyncio.sleep(0)
    release.set()
    await asyncio.gather(asyncio.wrap_future(held), *writes)
    assert await file.run(count) == 20
    assert sum(sql.startswith("BEGIN") for sql in seen) == 1


async def test_brief_writes_of_one_loop_share_a_transaction_without_a_thread(
    file: DatabaseFile,
) -> None:
    seen: list[tuple[str, str]] = []

    def watch(db: Database) -> None:
        db.conn.set_trace_callback(lambda sql: seen.append((threading.current_thread().name, sql)))

    await file.run(watch)
    await asyncio.gather(*(file.commit_soon(add(str(n))) for n in range(20)))
    here = threading.current_thread().name
    assert [name for name, sql in seen if sql.startswith("BEGIN")] == [here]
    assert await file.read(count) == 20
    assert {name for name, sql in seen if sql.startswith("SELECT count")} == {here}


async def test_brief_work_waits_on_the_thread_while_long_work_has_the_connection(
    file: DatabaseFile,
) -> None:
    began, release = threading.Event(), threading.Event()
    held = file.submit(lambda db: (began.set(), release.wait(5)))
    await asyncio.to_thread(began.wait, 5)
    write, read = file.commit_soon(add("a")), asyncio.ensure_future(file.read(count))
    await asyncio.sleep(0.05)
    assert not write.done()
    assert not read.done()
    release.set()
    await asyncio.wrap_future(held)
    await write
    assert await read == 1


async def test_brief_work_waits_on_the_thread_while_another_process_writes(
    file: DatabaseFile,
) -> None:
    await file.run(count)
    other = sqlite3.connect(file.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    write = file.commit_soon(add("a"))
    ticks = 0
    while ticks < 20:  # the loop goes on meanwhile
        await asyncio.sleep(0.005)
        ticks += 1
    assert not write.done()
    other.execute("COMMIT")
    other.close()
    await write
    assert await file.run(count) == 1


async def test_brief_work_that_takes_long_after_all_is_done_on_the_thread(
    file: DatabaseFile,
) -> None:
    await file.run(count)
    names: list[str] = []

    def work(db: Database) -> None:
        if file.on_loop:
            raise TakesLong
        names.append(threading.current_thread().name)
        add("a")(db)

    await file.commit_soon(work)
    assert await file.read(count) == 1
    assert names
    assert names[0] != threading.current_thread().name


async def test_long_work_is_never_done_on_the_loop(file: DatabaseFile) -> None:
    await file.run(count)
    names: list[str] = []

    def long(db: Database) -> None:
        names.append(threading.current_thread().name)

    for _ in range(20):
        waiting = asyncio.ensure_future(file.commit(long))
        await asyncio.gather(file.commit_soon(add("a")), file.read(count), waiting)
    assert threading.current_thread().name not in names
    assert await file.read(count) == 20


async def test_a_failing_brief_write_disturbs_no_other(file: DatabaseFile) -> None:
    await file.run(count)
    bad = file.commit_soon(lambda db: db.execute("INSERT INTO nowhere VALUES (1)"))
    good, unwanted = file.commit_soon(add("a")), file.commit_soon(add("b"))
    unwanted.cancel()
    with pytest.raises(StateError):
        await bad
    await good
    assert await file.run(count) == 1


async def test_an_item_waits_for_a_next_write_no_longer_than_its_patience(
    file: DatabaseFile,
) -> None:
    class Names:
        def write(self, db: Database, items: Sequence[Any]) -> None:
            for item in items:
                add(item)(db)

    await file.run(count)
    alone = asyncio.ensure_future(file.add(Names(), "a", patience_s=0.05))
    await asyncio.sleep(0.01)
    assert not alone.done()
    await asyncio.wait_for(alone, 5)
    along = asyncio.ensure_future(file.add(Names(), "b", patience_s=60.0))
    await asyncio.sleep(0)
    await file.commit_soon(add("c"))
    await asyncio.wait_for(along, 5)
    assert await file.run(count) == 3


async def test_the_log_is_copied_into_the_file_from_time_to_time(file: DatabaseFile) -> None:
    for number in range(120):
        await file.commit_soon(add(str(number)))
    await file.run(count)
    bytes_after = file.path.stat().st_size
    with sqlite3.connect(f"file:{file.path}?immutable=1", uri=True) as unlogged:
        (found,) = unlogged.execute("SELECT count(*) FROM items").fetchone()
    unlogged.close()
    assert bytes_after > 4096
    assert found >= 99


async def test_a_closed_file_takes_no_brief_work(file: DatabaseFile) -> None:
    await file.run(count)
    write = file.commit_soon(add("a"))
    await asyncio.to_thread(file.close)
    await asyncio.wait_for(write, 5)
    with pytest.raises(RuntimeError, match="closed"):
        file.commit_soon(add("b"))


async def test_a_failing_write_leaves_nothing_and_disturbs_no_other(file: DatabaseFile) -> None:
    def half(db: Database) -> None:
        add("half")(db)
        raise ValueError("no")

    outcomes = await asyncio.gather(
        file.commit(add("a")), file.commit(half), file.commit(add("b")), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), ValueError, type(None)]
    names = await file.run(lambda db: [r["name"] for r in db.query("SELECT name FROM items")])
    assert names == ["a", "b"]


async def test_a_committed_write_is_seen_by_another_connection(file: DatabaseFile) -> None:
    await file.commit(add("a"))
    with sqlite3.connect(file.path) as other:
        assert other.execute("SELECT count(*) FROM items").fetchone() == (1,)
    other.close()


async def test_a_write_that_sqlite_refuses_is_a_state_error(file: DatabaseFile) -> None:
    with pytest.raises(StateError):
        await file.commit(lambda db: db.execute("INSERT INTO nowhere VALUES (1)"))
    await file.commit(add("a"))
    assert await file.run(count) == 1


def test_a_forked_process_is_told_to_open_the_file_itself(file: DatabaseFile) -> None:
    file.submit(count).result()
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()

    def child() -> None:
        try:
            file.submit(count)
        except RuntimeError as error:
            told.put(str(error))
        file.close()
        told.put("closed")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
        process = context.Process(target=child)
        process.start()
    process.join(10)
    assert process.exitcode == 0
    assert "opens test.db itself" in told.get()
    assert told.get() == "closed"
    assert file.submit(count).result() == 0


@pytest.mark.parametrize(
    "problem",
    [
        sqlite3.OperationalError(f"Could not decode to UTF-8 column 'q' with text '{'x' * 5000}'"),
        sqlite3.OperationalError("table journal already exists"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
)
async def test_damage_is_told_shortly_with_the_command_that_repairs(
    file: DatabaseFile, problem: Exception
) -> None:
    def work(db: Database) -> None:
        raise problem

    with pytest.raises(StateError, match="threads check --repair") as told:
        await file.run(work)
    assert len(str(told.value)) < 700


def test_pandas_is_not_loaded_and_can_be_afterwards(tmp_path: Path) -> None:
    (tmp_path / "pandas.py").write_text("loaded = True\n")
    script = (
        "import sys; import rolecall.threads.schema, rolecall.telemetry.schema; "
        "assert 'pandas' not in sys.modules; import pandas; assert pandas.loaded"
    )
    subprocess.run(
        [sys.executable, "-c", script], check=True, env=os.environ | {"PYTHONPATH": str(tmp_path)}
    )
