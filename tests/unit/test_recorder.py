"""The recorder writes what it can and never stands in a turn's way."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rolecall.config.schema import TelemetrySettings
from rolecall.database import DatabaseFile
from rolecall.telemetry.open import open_recorder
from rolecall.telemetry.recorder import NoRecorder, SqliteRecorder
from rolecall.telemetry.schema import migrations


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "telemetry.db"


@pytest.fixture
def recorder(path: Path) -> Any:
    opened = SqliteRecorder(DatabaseFile(path, migrations))
    yield opened
    opened.close()


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def turn(trace_id: str, **more: Any) -> dict[str, Any]:
    return {"trace_id": trace_id, "status": "running", "question": "Why?", **more}


def test_rows_are_on_disk_after_a_flush(recorder: SqliteRecorder, path: Path) -> None:
    for number in range(1200):
        recorder.add("errors", {"trace_id": "t", "message": f"m{number}"})
    recorder.flush()
    found = rows(path, "SELECT message FROM errors ORDER BY id")
    assert found == [(f"m{n}",) for n in range(1200)]
    assert recorder.problem is None


def test_a_second_row_of_a_turn_updates_the_first(recorder: SqliteRecorder, path: Path) -> None:
    recorder.add("turns", turn("t", started_at=1.0))
    recorder.add("turns", {"trace_id": "t", "status": "done", "answer": "So."})
    recorder.flush()
    assert rows(path, "SELECT status, question, answer, started_at FROM turns") == [
        ("done", "Why?", "So.", 1.0)
    ]


def test_closing_writes_what_is_queued(path: Path) -> None:
    recorder = SqliteRecorder(DatabaseFile(path, migrations))
    for number in range(700):
        recorder.add("turns", turn(f"t{number}"))
    recorder.close()
    assert rows(path, "SELECT count(*) FROM turns") == [(700,)]


def test_adding_costs_the_turn_next_to_nothing(recorder: SqliteRecorder) -> None:
    started = time.perf_counter()
    for number in range(1000):
        recorder.add("turns", turn(f"t{number}"))
    assert time.perf_counter() - started < 0.5


def test_texts_are_left_out_when_they_are_not_wanted(path: Path) -> None:
    recorder = SqliteRecorder(DatabaseFile(path, migrations), store_texts=False)
    recorder.add("turns", turn("t", question="my secret", answer="my secret", total_ms=5.0))
    call = {"name": "clock", "arguments": {"of": "my secret"}, "result": "my secret"}
    recorder.add("tool_calls", {"trace_id": "t", "latency_ms": 1.0, **call})
    recorder.close()
    assert rows(path, "SELECT question, answer, total_ms FROM turns") == [(None, None, 5.0)]
    found = rows(path, "SELECT name, arguments, result, latency_ms FROM tool_calls")
    assert found == [("clock", None, None, 1.0)]
    for file in path.parent.glob("telemetry.db*"):
        assert b"my secret" not in file.read_bytes()


def garbage(path: Path) -> None:
    path.write_bytes(b"no database at all " * 100)


def folder_in_its_place(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("spoil", [garbage, folder_in_its_place])
def test_a_database_that_cannot_be_written_fails_nothing(
    path: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(path)
    recorder = SqliteRecorder(DatabaseFile(path, migrations))
    for number in range(10):
        recorder.add("turns", turn(f"t{number}"))
        recorder.flush()
    assert recorder.problem is not None
    assert "telemetry.db" in str(recorder.problem)
    recorder.close()


class Odd:
    def __str__(self) -> str:
        return "odd"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("lone \ud800 surrogate", "lone ? surrogate"),
        ("nul \x00 inside", "nul \x00 inside"),
        ({"a": Odd()}, '{"a": "odd"}'),
        (Odd(), '"odd"'),
        (("a", 1), '["a", 1]'),
        (b"bytes", "\"b'bytes'\""),
        (None, None),
        (True, "1"),
    ],
)
def test_odd_values_are_kept_in_some_form(
    recorder: SqliteRecorder, path: Path, value: Any, kept: Any
) -> None:
    recorder.add("errors", {"trace_id": "t", "message": value})
    recorder.flush()
    assert rows(path, "SELECT message FROM errors") == [(kept,)]


def circular() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


@pytest.mark.parametrize("bad", [{"message": circular()}, {"at": 2**70}, {"message": {(1, 2): 3}}])
def test_a_row_that_cannot_be_kept_does_not_stop_the_others(
    recorder: SqliteRecorder, path: Path, bad: dict[str, Any]
) -> None:
    hold = threading.Event()
    recorder._file.submit(lambda _: hold.wait(5))
    recorder.add("errors", {"trace_id": "first"})
    recorder.add("errors", {"trace_id": "bad", **bad})
    recorder.add("errors", {"trace_id": "last"})
    hold.set()
    recorder.flush()
    recorder.add("errors", {"trace_id": "later"})
    recorder.flush()
    found = [trace for (trace,) in rows(path, "SELECT trace_id FROM errors ORDER BY id")]
    assert found == ["first", "last", "later"]
    assert recorder.problem is not None


def test_many_threads_add_at_once(recorder: SqliteRecorder, path: Path) -> None:
    def add(name: int) -> None:
        for number in range(100):
            recorder.add("turns", turn(f"{name}-{number}"))

    threads = [threading.Thread(target=add, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.flush()
    assert rows(path, "SELECT count(*) FROM turns") == [(500,)]


def test_two_recorders_on_one_file(path: Path) -> None:
    recorders = [SqliteRecorder(DatabaseFile(path, migrations)) for _ in range(2)]
    for number in range(200):
        for name, one in enumerate(recorders):
            one.add("turns", turn(f"{name}-{number}"))
    for one in recorders:
        one.close()
        assert one.problem is None
    assert rows(path, "SELECT count(*) FROM turns") == [(400,)]


def test_it_opens_in_this_home_with_the_settings(rolecall_home: Path) -> None:
    recorder = open_recorder(TelemetrySettings(store_texts=False))
    recorder.add("turns", turn("t"))
    recorder.close()
    assert rows(rolecall_home / "telemetry.db", "SELECT question FROM turns") == [(None,)]


def test_no_recorder_keeps_nothing() -> None:
    NoRecorder().add("turns", {"anything": object()})


def test_rows_that_follow_each_other_closely_share_a_transaction(
    recorder: SqliteRecorder, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Any] = []
    submit = recorder._file.submit_write
    monkeypatch.setattr(
        recorder._file, "submit_write", lambda work: written.append(work) or submit(work)
    )
    for number in range(50):
        recorder.add("turns", turn(f"t{number}"))
        recorder.add("errors", {"trace_id": f"t{number}", "message": "m"})
        recorder.add("turns", turn(f"t{number}", status="done"))
    recorder.flush()
    assert rows(path, "SELECT count(*) FROM turns WHERE status = 'done'") == [(50,)]
    assert rows(path, "SELECT count(*) FROM errors") == [(50,)]
    assert len(written) < 5


def test_what_is_added_is_written_soon_without_a_flush(
    recorder: SqliteRecorder, path: Path
) -> None:
    recorder.add("turns", turn("first"))
    recorder.flush()
    recorder.add("turns", turn("second"))
    until = time.monotonic() + 10
    while time.monotonic() < until and rows(path, "SELECT count(*) FROM turns") != [(2,)]:
        time.sleep(0.05)
    assert rows(path, "SELECT count(*) FROM turns") == [(2,)]


def test_rows_of_a_table_keep_their_order_whatever_columns_they_have(
    recorder: SqliteRecorder, path: Path
) -> None:
    for number in range(6):
        more = {"node": "router"} if number % 2 else {}
        recorder.add("errors", {"trace_id": "t", "message": f"m{number}", **more})
    recorder.flush()
    found = [message for (message,) in rows(path, "SELECT message FROM errors ORDER BY id")]
    assert found == [f"m{n}" for n in range(6)]
