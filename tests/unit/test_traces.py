"""Traces are read back: the latest turns, and all that happened in one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rolecall.database import DatabaseFile
from rolecall.errors import StateError, UsageError
from rolecall.telemetry.recorder import SqliteRecorder
from rolecall.telemetry.schema import migrations
from rolecall.telemetry.traces import Traces


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[SqliteRecorder]:
    opened = SqliteRecorder(DatabaseFile(tmp_path / "telemetry.db", migrations))
    yield opened
    opened.close()


@pytest.fixture
def traces(tmp_path: Path) -> Iterator[Traces]:
    file = DatabaseFile(tmp_path / "telemetry.db", migrations)
    yield Traces(file)
    file.close()


def add(recorder: SqliteRecorder, *ids: str, thread: str = "t") -> None:
    for number, trace_id in enumerate(ids):
        recorder.add("turns", {"trace_id": trace_id, "thread_id": thread, "started_at": number})
    recorder.flush()


def test_nothing_recorded_yet(traces: Traces) -> None:
    assert traces.latest() == []
    with pytest.raises(UsageError, match="there is no trace 'abc'; rolecall trace list"):
        traces.show("abc")


def test_the_newest_come_first(recorder: SqliteRecorder, traces: Traces) -> None:
    add(recorder, "a", "b", "c")
    assert [t["trace_id"] for t in traces.latest()] == ["c", "b", "a"]
    add(recorder, "d", thread="other")
    assert [t["trace_id"] for t in traces.latest(2)] == ["d", "c"]
    assert [t["trace_id"] for t in traces.latest(thread_id="other")] == ["d"]
    assert traces.latest(thread_id="nobody") == []


def test_pages_go_by_what_was_recorded_not_by_the_clock(
    recorder: SqliteRecorder, traces: Traces
) -> None:
    for trace_id, at in (("a", 9.0), ("b", 5.0), ("c", 7.0), ("d", 1.0)):
        recorder.add("turns", {"trace_id": trace_id, "thread_id": "t", "started_at": at})
    recorder.add("turns", {"trace_id": "x", "thread_id": "other", "started_at": 0.0})
    recorder.flush()
    first = traces.latest(2, "t")
    assert [t["trace_id"] for t in first] == ["d", "c"]
    assert [t["trace_id"] for t in traces.latest(2, "t", before="c")] == ["b", "a"]
    assert traces.latest(2, "t", before="a") == []
    assert [t["trace_id"] for t in traces.latest(before="x")] == ["d", "c", "b", "a"]
    with pytest.raises(UsageError, match="there is no trace"):
        traces.latest(before="z")


def test_a_unique_beginning_is_enough(recorder: SqliteRecorder, traces: Traces) -> None:
    add(recorder, "abc1", "abc2", "abc", "xyz")
    assert traces.show("x")["turn"]["trace_id"] == "xyz"
    assert traces.show("abc2")["turn"]["trace_id"] == "abc2"
    assert traces.show("abc")["turn"]["trace_id"] == "abc"  # exact, though others begin so
    with pytest.raises(UsageError, match="several traces begin with 'ab'"):
        traces.show("ab")


@pytest.mark.parametrize("odd", ["%", "_", "'", "*", "a%", "🦙", "\x00", '" OR 1=1 --'])
def test_a_trace_is_not_matched_by_a_pattern(
    recorder: SqliteRecorder, traces: Traces, odd: str
) -> None:
    add(recorder, "abc")
    with pytest.raises(UsageError, match="there is no trace"):
        traces.show(odd)


def test_a_trace_holds_all_that_happened_in_order(recorder: SqliteRecorder, traces: Traces) -> None:
    add(recorder, "t1", "t2")
    recorder.add("decisions", {"trace_id": "t1", "at": 1.0, "probabilities": {"HANDLE": 0.9}})
    recorder.add("decisions", {"trace_id": "t1", "at": 2.0, "probabilities": {}})
    for at in (5.0, 4.0):
        recorder.add("model_calls", {"trace_id": "t1", "started_at": at, "role": f"r{at:g}"})
    recorder.add("model_calls", {"trace_id": "t2", "started_at": 0.0})
    recorder.add("tool_calls", {"trace_id": "t1", "name": "clock", "arguments": {"zone": "UTC"}})
    recorder.add("errors", {"trace_id": "t1", "at": 1.0, "message": "what went wrong"})
    recorder.flush()
    trace = traces.show("t1")
    assert [d["probabilities"] for d in trace["decisions"]] == [{"HANDLE": 0.9}, {}]
    assert [c["role"] for c in trace["model_calls"]] == ["r4", "r5"]
    assert trace["tool_calls"][0]["arguments"] == {"zone": "UTC"}
    assert trace["errors"][0]["message"] == "what went wrong"
    assert traces.show("t2")["tool_calls"] == []


def test_a_trace_without_texts_can_be_read(tmp_path: Path, traces: Traces) -> None:
    recorder = SqliteRecorder(
        DatabaseFile(tmp_path / "telemetry.db", migrations), store_texts=False
    )
    recorder.add("turns", {"trace_id": "t", "question": "q", "started_at": 1.0})
    recorder.add("tool_calls", {"trace_id": "t", "arguments": {"a": 1}})
    recorder.close()
    trace = traces.show("t")
    assert trace["turn"]["question"] is None
    assert trace["tool_calls"][0]["arguments"] is None


def test_a_damaged_file_is_a_state_error(tmp_path: Path) -> None:
    path = tmp_path / "damaged.db"
    path.write_bytes(b"no database " * 100)
    file = DatabaseFile(path, migrations)
    with pytest.raises(StateError, match="damaged"):
        Traces(file).latest()
    file.close()
