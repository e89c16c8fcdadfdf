"""``threads check`` names what is wrong and mends what can be; nothing readable is lost."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from rolecall.database import DatabaseFile
from rolecall.errors import StateError, UnknownThread, UsageError
from rolecall.schema_version import APPLICATION_ID, NewerState
from rolecall.telemetry.schema import migrations as of_telemetry
from rolecall.threads.backup import back_up, restore
from rolecall.threads.check import Report, check_home
from rolecall.threads.checkpoints import make_saver, thread_config
from rolecall.threads.lock import thread_lock
from rolecall.threads.salvage import _numbered
from rolecall.threads.schema import migrations
from rolecall.threads.transcript import Transcript

FILES = {"threads.db": migrations, "telemetry.db": of_telemetry}


async def check(home: Path, thread: str | None = None, *, repair: bool = False) -> Report:
    return await check_home(home, FILES, thread, repair=repair)


def change(home: Path, *statements: str) -> None:
    with closing(sqlite3.connect(home / "threads.db")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


async def filled(home: Path, turns: int = 3) -> None:
    """Threads ``a`` and ``b`` with finished turns and a step each."""
    file = DatabaseFile(home / "threads.db", migrations)
    transcript, saver = Transcript(file), make_saver(file)
    for thread in ("a", "b"):
        for number in range(turns):
            turn_id = f"{thread}-{number}"
            await transcript.accept(thread, turn_id, "trace", f"question {number} of {thread}")
            await transcript.finish(turn_id, "done", {"answer": f"unicorn {'word ' * 200}"})
        checkpoint: Any = {
            "v": 4,
            "id": f"1f1e5ba1-731b-644c-bfff-c4c457268bc{thread}",
            "ts": "2026-11-21T14:44:44+00:00",
            "channel_values": {"note": "kept"},
            "channel_versions": {"note": 1},
            "versions_seen": {},
            "updated_channels": None,
        }
        await saver.aput(thread_config(thread), checkpoint, {"step": 1, "parents": {}}, {})
    await asyncio.to_thread(file.close)


def kept_files(home: Path) -> list[Path]:
    return list(home.glob("threads.db.damaged-*"))


async def questions(home: Path) -> int:
    """How many turns an open program sees."""
    file = DatabaseFile(home / "threads.db", migrations)
    found = await file.run(lambda db: db.table("turns").count)
    await asyncio.to_thread(file.close)
    return int(found)


@pytest.fixture
async def home(tmp_path: Path) -> Path:
    (tmp_path / "locks").mkdir()
    await filled(tmp_path)
    return tmp_path


async def test_a_sound_home_is_ok(home: Path, tmp_path: Path) -> None:
    report = await check(home)
    assert (report.verdict, report.findings) == ("ok", [])
    assert (await check(home, "a")).verdict == "ok"
    assert (await check(tmp_path / "nothing")).verdict == "ok"
    with pytest.raises(UnknownThread):
        await check(home, "nobody")


@pytest.mark.parametrize(
    ("name", "thread", "breaks"),
    [
        ("turns", "a", ["DELETE FROM threads WHERE thread_id = 'a'"]),
        (
            "turn numbers",
            "a",
            ["DROP INDEX idx_turns_thread_id_number", "UPDATE turns SET number = 1"],
        ),
        (
            "steps of no thread",
            "b",
            ["DELETE FROM turns WHERE thread_id='b'", "DELETE FROM threads WHERE thread_id='b'"],
        ),
        (
            "writes of no step",
            "a",
            [
                "INSERT INTO saver_writes SELECT line_id, 'gone', 't', 0, '', 'c', 'null', x'' "
                "FROM saver_lines WHERE thread_id = 'a'"
            ],
        ),
        (
            "journal",
            "a",
            [
                "INSERT INTO journal (thread_id, turn_id, key, kind, status, began_at) "
                "VALUES ('a', 'a-1', 'k', 'answer', 'done', 0), ('a', 'x', 'k', 'tool', 'done', 0)"
            ],
        ),
        (
            "summaries",
            "gone",
            ["INSERT INTO summaries VALUES ('gone', 'x', 1, 'prose', 0)"],
        ),
        ("running turns", "b", ["UPDATE turns SET status = 'running' WHERE turn_id = 'b-2'"]),
        ("search index", None, ["INSERT INTO turns_fts (turns_fts) VALUES ('delete-all')"]),
        ("steps", "a", ["UPDATE saver_steps SET body = x'ff00' WHERE checkpoint_id LIKE '%a'"]),
    ],
)
async def test_what_is_wrong_is_named_and_mended(
    home: Path, name: str, thread: str | None, breaks: list[str]
) -> None:
    change(home, *breaks)
    found = await check(home)
    assert (name, thread) in {(f.check, f.thread) for f in found.findings if f.mendable}
    assert found.verdict == ("unfit" if name == "steps" else "weak")
    mended = await check(home, repair=True)
    assert mended.repaired
    assert [f for f in mended.findings if f.mendable] == []
    assert [f for f in (await check(home)).findings if f.mendable] == []
    (kept,) = mended.kept
    with closing(sqlite3.connect(kept)) as before:
        assert before.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_the_bytes_of_a_step_put_aside_are_kept(home: Path) -> None:
    change(home, "UPDATE saver_steps SET body = x'ff00' WHERE checkpoint_id LIKE '%a'")
    await check(home, "a", repair=True)
    with closing(sqlite3.connect(home / "threads.db")) as connection:
        rows = connection.execute("SELECT thread_id, what, body FROM undecodable").fetchall()
    assert ("a", "step", b"\xff\x00") in rows


async def test_a_turn_that_is_being_answered_is_left_alone(home: Path) -> None:
    change(home, "UPDATE turns SET status = 'running' WHERE turn_id = 'b-2'")
    async with thread_lock(home / "locks", "b", 0.0):
        assert (await check(home)).verdict == "ok"
        await check(home, repair=True)
    assert (await check(home)).findings[0].remedy == "rolecall resume b"


async def test_of_a_damaged_file_every_row_that_can_be_read_is_saved(
    home: Path,
) -> None:
    path = home / "threads.db"
    for thread in range(5):
        change(
            home,
            *(
                "INSERT INTO turns (turn_id, thread_id, number, question, answer, status) "
                f"VALUES ('{thread}-{n}', 'more{thread}', {n}, 'q{n}', '{'x' * 900}', 'done')"
                for n in range(40)
            ),
        )
    change(home, "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA journal_mode=DELETE")
    whole = bytearray(path.read_bytes())
    with closing(sqlite3.connect(path)) as connection:
        page, on_it = connection.execute(
            "SELECT pageno, ncell FROM dbstat WHERE name = 'turns' AND pagetype = 'leaf' "
            "LIMIT 1 OFFSET 20"
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    whole[(page - 1) * size : page * size] = b"\xee" * size
    path.write_bytes(whole)
    assert (await check(home)).verdict == "unfit"
    mended = await check(home, repair=True)
    assert mended.verdict != "unfit", mended
    assert any("part of turns" in line for line in mended.repaired)
    assert bytes(whole) in [kept.read_bytes() for kept in kept_files(home)]
    with closing(sqlite3.connect(path)) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM turns").fetchone()
        (found,) = connection.execute(
            "SELECT count(*) FROM turns_fts WHERE turns_fts MATCH 'unicorn'"
        ).fetchone()
    assert rows == 206 - on_it  # also the row before the gap is saved
    assert found >= 1


def test_rows_that_a_damaged_page_gives_in_a_circle_end() -> None:
    class Circle:
        def execute(self, sql: str, values: list[int]) -> Any:
            return self if "LIMIT" in sql else self.rows()

        def rows(self) -> Iterator[tuple[int, str]]:
            yield 0, "again"
            raise sqlite3.DatabaseError("malformed")

        def fetchone(self) -> tuple[int, str]:
            return 0, "again"

    circle: Any = Circle()
    assert len(list(islice(_numbered(circle, "turns"), 50))) < 50


async def test_text_that_is_not_utf8_is_found_and_what_can_be_read_is_kept(home: Path) -> None:
    change(home, "UPDATE turns SET question = CAST(x'61ff62' AS TEXT) WHERE turn_id = 'a-1'")
    (found,) = (await check(home)).findings
    assert (found.verdict, "not UTF-8" in found.problem) == ("unfit", True)
    mended = await check(home, repair=True)
    assert mended.verdict == "ok", mended.findings
    file = DatabaseFile(home / "threads.db", migrations)
    kept = [turn["question"] for turn in await Transcript(file).turns("a")]
    assert kept == ["question 0 of a", "a\ufffdb", "question 2 of a"]
    await asyncio.to_thread(file.close)


async def test_a_damaged_definition_is_taken_from_the_program(home: Path) -> None:
    path = home / "threads.db"
    change(home, "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA journal_mode=DELETE")
    whole = path.read_bytes()
    assert whole.count(b"tokenize='unicode61'") == 1
    path.write_bytes(whole.replace(b"tokenize='unicode61'", b"token\x81ze='unicode61'"))
    assert (await check(home)).verdict == "unfit"
    assert (await check(home, repair=True)).verdict == "ok"
    assert await questions(home) == 6


async def test_turns_that_are_missing_are_told(home: Path) -> None:
    change(home, "DELETE FROM turns WHERE turn_id IN ('a-0', 'a-1')")
    (found,) = (await check(home)).findings
    assert (found.check, found.thread) == ("lost turns", "a")
    assert found.problem.startswith("2 turns")


async def test_a_decision_that_cannot_be_read_does_not_hide_its_turn(home: Path) -> None:
    change(home, "UPDATE turns SET decision = '{\"routing' WHERE turn_id = 'a-1'")
    assert [f.check for f in (await check(home)).findings] == ["decisions"]
    assert (await check(home, repair=True)).verdict == "ok"


async def test_the_home_of_an_earlier_version_has_lost_nothing(
    tmp_path: Path, old_home: Callable[..., Path]
) -> None:
    old = old_home("home_1", tmp_path / "old")
    assert [f.check for f in (await check(old)).findings] == ["running turns"]


async def test_what_cannot_be_mended_is_left_as_it_is_and_a_copy_put_back(
    home: Path, tmp_path: Path
) -> None:
    path, copy = home / "threads.db", tmp_path / "copy.db"
    back_up(path, copy)
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], b"no database at all " * 500):
        path.write_bytes(broken)
        assert (await check(home)).verdict == "unfit"
        with pytest.raises(StateError, match="rolecall threads restore"):
            await check(home, repair=True)
        assert path.read_bytes() == broken
        restore(copy, path, migrations, "turns")
        assert (await check(home)).verdict == "ok"
        assert await questions(home) == 6


# --- copies ---------------------------------------------------------------------------------------


async def test_a_copy_made_while_turns_are_written_is_sound(home: Path, tmp_path: Path) -> None:
    file = DatabaseFile(home / "threads.db", migrations)
    transcript = Transcript(file)
    copy = tmp_path / "copy.db"

    async def write() -> None:
        for number in range(40):
            await transcript.accept("busy", f"busy-{number}", "trace", "word " * 200)

    writing = asyncio.create_task(write())
    await asyncio.sleep(0.01)
    size = await asyncio.to_thread(back_up, home / "threads.db", copy)
    await writing
    await asyncio.to_thread(file.close)
    assert size == copy.stat().st_size
    assert not copy.with_name("copy.db-wal").exists()
    with pytest.raises(UsageError, match="exists already"):
        back_up(home / "threads.db", copy)
    change(home, "DELETE FROM turns", "DELETE FROM threads")
    moved = restore(copy, home / "threads.db", migrations, "turns")
    assert moved is not None
    assert moved.exists()
    report = await check(home)
    assert [f for f in report.findings if f.verdict == "unfit"] == []
    with closing(sqlite3.connect(home / "threads.db")) as connection:
        rows = connection.execute("SELECT count(*) FROM turns WHERE thread_id IN ('a', 'b')")
        assert rows.fetchone() == (6,)


async def test_a_database_in_use_is_not_replaced(home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    back_up(home / "threads.db", copy)
    file = DatabaseFile(home / "threads.db", migrations)
    await Transcript(file).exists("a")
    with pytest.raises(StateError, match="in use by another process"):
        await asyncio.to_thread(restore, copy, home / "threads.db", migrations, "turns")
    assert await Transcript(file).exists("a")
    await asyncio.to_thread(file.close)


@pytest.mark.parametrize(
    ("statement", "error", "says"),
    [
        ("PRAGMA user_version = 99", NewerState, "newer one made it"),
        ("PRAGMA application_id = 7", StateError, "another program"),
        ("DROP TABLE turns", StateError, "it has no turns"),
    ],
)
async def test_a_copy_that_does_not_fit_is_refused(
    home: Path, tmp_path: Path, statement: str, error: type[Exception], says: str
) -> None:
    copy = tmp_path / "copy.db"
    back_up(home / "threads.db", copy)
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute(statement)
    before = (home / "threads.db").read_bytes()
    with pytest.raises(error, match=says):
        restore(copy, home / "threads.db", migrations, "turns")
    assert (home / "threads.db").read_bytes() == before


# --- versions -------------------------------------------------------------------------------------


@pytest.fixture
def version_of() -> Callable[[Path], tuple[int, int]]:
    def read(path: Path) -> tuple[int, int]:
        with closing(sqlite3.connect(path)) as connection:
            numbers = [
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("application_id", "user_version")
            ]
        return numbers[0], numbers[1]

    return read


async def test_a_database_says_whose_and_of_which_version_it_is(
    home: Path, version_of: Any
) -> None:
    application, version = version_of(home / "threads.db")
    assert application == APPLICATION_ID
    assert version == len(migrations._migrations)


@pytest.mark.parametrize(
    "newer",
    [
        "PRAGMA user_version = 99",
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) "
        "VALUES ('rolecall.threads', 'm099_from_the_future', '2030-01-01')",
    ],
)
async def test_a_newer_database_is_refused_and_not_touched(home: Path, newer: str) -> None:
    path = home / "threads.db"
    change(home, newer, "PRAGMA journal_mode=DELETE")
    before = path.read_bytes()
    file = DatabaseFile(path, migrations)
    with pytest.raises(NewerState, match=r"newer one made it.*Update Rolecall") as error:
        await Transcript(file).threads()
    assert error.value.exit_code == 5
    await asyncio.to_thread(file.close)
    assert (await check(home, repair=True)).findings[0].check == "version"
    assert path.read_bytes() == before


async def test_the_database_of_another_program_is_refused(home: Path) -> None:
    change(home, "PRAGMA application_id = 1234")
    file = DatabaseFile(home / "threads.db", migrations)
    with pytest.raises(StateError, match="another program"):
        await Transcript(file).threads()
    await asyncio.to_thread(file.close)


async def test_the_first_version_is_brought_up_to_date(
    old_home: Any, tmp_path: Path, version_of: Any
) -> None:
    home = old_home("home_1", tmp_path / "old")
    assert version_of(home / "threads.db") == (0, 0)
    file = DatabaseFile(home / "threads.db", migrations)
    transcript = Transcript(file)
    assert [t["thread_id"] for t in await transcript.threads()] == [
        *("killed", "failed", "waiting", "tools", "forked", "sorts")
    ]
    assert len(await transcript.turns("sorts")) == 3
    assert len(await transcript.search("umlauts äöü")) == 1
    turn = await transcript.unfinished("killed")
    assert turn is not None
    await transcript.finish(turn.turn_id, "done", {"answer": "a zebra"})
    assert len(await transcript.search("zebra")) == 1
    await asyncio.to_thread(file.close)
    assert version_of(home / "threads.db")[0] == APPLICATION_ID
    telemetry = DatabaseFile(home / "telemetry.db", of_telemetry)
    await telemetry.run(lambda db: None)
    await asyncio.to_thread(telemetry.close)
