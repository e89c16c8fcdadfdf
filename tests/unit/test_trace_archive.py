"""Traces leave and enter as JSON lines: whole, checked, all or none."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rolecall.database import DatabaseFile
from rolecall.errors import UsageError
from rolecall.telemetry import archive
from rolecall.telemetry.archive import Imported, read_traces, write_traces
from rolecall.telemetry.open import open_file
from rolecall.telemetry.recorder import SqliteRecorder
from rolecall.telemetry.schema import migrations
from rolecall.telemetry.traces import Traces

HEAD = '{"format": "rolecall.traces", "version": 1}\n'


def opened(path: Path) -> DatabaseFile:
    return DatabaseFile(path, migrations)


def fill(file: DatabaseFile, count: int) -> None:
    recorder = SqliteRecorder(file)
    for number in range(count):
        trace = f"trace-{number}"
        turn = {"trace_id": trace, "question": "Wörter\u2028?", "started_at": 86_400.0 * number}
        recorder.add("turns", {**turn, "status": "done", "path": [("init", 1.0)]})
        recorder.add("model_calls", {"trace_id": trace, "model": "m", "status": "ok"})
        recorder.add("tool_calls", {"trace_id": trace, "name": "clock", "arguments": {"a": 1}})
        recorder.add("decisions", {"trace_id": trace, "confidence": 0.5, "at": 1.0})
        recorder.add("errors", {"trace_id": trace, "message": "odd"})
    recorder.flush()


def exported(file: DatabaseFile, **options: Any) -> str:
    out = io.StringIO()
    write_traces(file, out, **options)
    return out.getvalue()


def test_what_was_exported_comes_back_the_same(tmp_path: Path) -> None:
    source, target = opened(tmp_path / "a.db"), opened(tmp_path / "b.db")
    fill(source, 450)  # more than a page
    text = exported(source)
    path = tmp_path / "traces.jsonl"
    path.write_text(text, encoding="utf-8")
    assert read_traces(target, path) == Imported(450, 0)
    assert exported(target) == text
    assert Traces(target).show("trace-7")["tool_calls"][0]["arguments"] == {"a": 1}
    assert Traces(target).stats()["calls"]["calls"] == 450
    assert read_traces(target, path) == Imported(0, 450)
    assert exported(target) == text


def test_since_and_without_texts(tmp_path: Path) -> None:
    file = opened(tmp_path / "a.db")
    fill(file, 3)
    lines = [json.loads(line) for line in exported(file, since="1970-01-02").splitlines()]
    assert [line["turn"]["trace_id"] for line in lines[1:]] == ["trace-1", "trace-2"]
    text = exported(file, texts=False)
    assert "Wörter" not in text
    assert json.loads(text.splitlines()[1])["tool_calls"][0]["arguments"] is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "no file of traces"),
        ("\x00\xff", "no file of traces"),
        ('{"turn": {"trace_id": "x"}}\n', "no file of traces"),
        ('{"format": "rolecall.traces", "version": 2}\n', "version 2"),
        ('{"format": "rolecall.traces", "version": true}\n', "version True"),
        (HEAD + "nonsense\n", "line 3: not JSON"),
        (HEAD + "[]\n", "line 3: expected an object"),
        (HEAD + "[" * 100_000 + "\n", "line 3: not JSON"),
        (HEAD + '{"turn": {"status": "done"}}\n', "turn has no trace_id"),
        (HEAD + '{"turn": {"trace_id": "y", "colour": 1}}\n', "unknown key 'colour'"),
        (HEAD + '{"turn": {"trace_id": "y"}, "more": []}\n', "unknown key 'more'"),
        (HEAD + '{"turn": {"trace_id": "y", "total_ms": "5"}}\n', "total_ms: expected a number"),
        (HEAD + '{"turn": {"trace_id": "y", "total_ms": NaN}}\n', "NaN is no number"),
        (HEAD + '{"turn": {"trace_id": 5}}\n', "trace_id: expected a text"),
        (HEAD + '{"turn": {"trace_id": "\\ud800"}}\n', "not valid UTF-8"),
        (HEAD + '{"turn": {"trace_id": "y"}, "errors": {}}\n', "errors: expected a list"),
        (HEAD + '{"turn": {"trace_id": "y"}, "errors": [{"id": 5}]}\n', "unknown key 'id'"),
        (HEAD + '{"turn": {"trace_id": "y"}, "model_calls": [{"attempt": 1e99}]}\n', ""),
        (HEAD + f'{{"turn": {{"trace_id": "y", "started_at": {2**70}}}}}\n', "too large"),
    ],
)
def test_a_wrong_file_adds_nothing(tmp_path: Path, content: str, says: str) -> None:
    good = '{"turn": {"trace_id": "good", "started_at": 1.0}}\n'
    path = tmp_path / "wrong.jsonl"
    path.write_bytes(content.replace(HEAD, HEAD + good).encode(errors="surrogatepass"))
    file = opened(tmp_path / "a.db")
    if not says:  # odd, but a number
        assert read_traces(file, path) == Imported(2, 0)
        return
    with pytest.raises(UsageError, match=says) as caught:
        read_traces(file, path)
    assert str(path) in str(caught.value)
    assert Traces(file).latest() == []
    assert Traces(file).stats()["turns"]["turns"] == 0


def test_a_trace_of_a_turn_that_was_not_done_is_completed_by_a_later_one(tmp_path: Path) -> None:
    source, target = opened(tmp_path / "a.db"), opened(tmp_path / "b.db")
    early, late = tmp_path / "early.jsonl", tmp_path / "late.jsonl"
    fill(source, 1)
    recorder = SqliteRecorder(source)
    recorder.add("turns", {"trace_id": "trace-0", "status": "running", "total_ms": None})
    recorder.flush()
    early.write_text(exported(source), encoding="utf-8")
    recorder.add("model_calls", {"trace_id": "trace-0", "model": "m", "status": "ok"})
    recorder.add("turns", {"trace_id": "trace-0", "status": "done", "total_ms": 7.0})
    recorder.flush()
    late.write_text(exported(source, texts=False), encoding="utf-8")
    assert read_traces(target, early) == Imported(1, 0)
    assert read_traces(target, late) == Imported(1, 0)
    assert exported(target) == exported(source)  # with the texts that came first
    assert Traces(target).stats() == Traces(source).stats()
    assert read_traces(target, early) == read_traces(target, late) == Imported(0, 1)
    recorder.close()


def test_others_can_write_while_a_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = opened(tmp_path / "a.db"), opened(tmp_path / "b.db")
    fill(source, 2)
    path = tmp_path / "traces.jsonl"
    path.write_text(exported(source), encoding="utf-8")
    read = archive._lines

    def slowly(path: Path) -> Iterator[Any]:
        for line in read(path):
            with closing(sqlite3.connect(tmp_path / "b.db", timeout=0)) as other:
                other.execute("BEGIN IMMEDIATE")
            yield line

    monkeypatch.setattr(archive, "_lines", slowly)
    assert read_traces(target, path) == Imported(2, 0)


def test_the_commands(run: Callable[..., Any], tmp_path: Path, rolecall_home: Path) -> None:
    rolecall_home.mkdir()
    file = open_file()
    fill(file, 2)
    file.close()
    path = tmp_path / "out.jsonl"
    assert run("trace", "export", "-o", str(path), "--json").json == {
        "file": str(path),
        "traces": 2,
    }
    assert run("trace", "export").out == path.read_text(encoding="utf-8")
    assert run("trace", "export", "--json").code == 2
    assert run("trace", "export", "-o", str(tmp_path / "no" / "x")).code == 5
    done = run("trace", "import", str(path), "--json")
    assert (done.code, done.json["added"], done.json["skipped"]) == (0, 0, 2)
    assert run("trace", "import", str(tmp_path / "missing")).code == 2
    assert list(tmp_path.glob("*.part")) == []
