"""What the user says a decision should have been is kept, and can be read back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rolecall.database import DatabaseFile
from rolecall.errors import DataError, StateError, UsageError
from rolecall.home import folder
from rolecall.routing.corrections import (
    Correction,
    _write,
    correct,
    corrections,
    corrections_path,
)
from rolecall.routing.examples import LABELS, Example, read_examples, shipped
from rolecall.telemetry.schema import migrations
from rolecall.telemetry.traces import Traces

EXPECTED = 'expected one JSON object a line, like {"prompt": "…"'


@pytest.fixture
def file(rolecall_home: Path) -> Iterator[DatabaseFile]:
    opened = DatabaseFile(folder() / "telemetry.db", migrations)
    yield opened
    opened.close()


@pytest.fixture
def traces(file: DatabaseFile) -> Traces:
    return Traces(file)


@pytest.fixture
def told(file: DatabaseFile) -> Callable[..., None]:
    """``told("trace", "thread", 1.0, "question")`` records a turn."""

    def tell(
        trace: str,
        thread: str | None,
        at: float,
        question: str | None,
        decided: str | None = "REASONING",
        sure: float | None = None,
    ) -> None:
        turn = {"trace_id": trace, "thread_id": thread, "started_at": at, "question": question}
        decision = {"trace_id": trace, "at": at, "target_model": decided, "strategy": "encoder"}

        def write(db: Any) -> None:
            db.table("turns").insert(turn)
            db.table("decisions").insert({**decision, "encoder_confidence": sure})

        file.submit(write).result()

    return tell


def rows() -> list[dict[str, Any]]:
    text = corrections_path().read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


# --- corrections ------------------------------------------------------------------------------


def test_at_first_there_are_none(rolecall_home: Path) -> None:
    assert corrections() == []


def test_a_correction_is_kept_with_the_earlier_messages_of_its_thread(
    traces: Traces, told: Callable[..., None]
) -> None:
    for number in range(1, 7):
        told(f"a{number}", "one", float(number), f"question {number}")
    told("b1", "two", 5.5, "of another thread")
    saved = correct(traces, "a6", "CODING", LABELS)
    earlier = [f"question {number}" for number in (2, 3, 4, 5)]
    assert saved == Correction("question 6", earlier, "CODING", "REASONING", "a6")
    (example,) = corrections()
    assert (example.prompt, example.label) == ("question 6", "CODING")
    assert example.context == tuple(earlier)
    assert (example.source, example.id) == ("corrections", "a6")
    assert rows()[0]["was"] == "REASONING"


def test_what_was_handled_by_the_router_is_named_so(
    traces: Traces, told: Callable[..., None]
) -> None:
    told("t1", "one", 1.0, "hi", decided=None)
    assert correct(traces, "t1", "CODING", LABELS).was == "HANDLE"


def test_a_trace_may_be_named_by_its_beginning_or_its_thread(
    traces: Traces, told: Callable[..., None]
) -> None:
    told("abc123", "one", 1.0, "first")
    told("abd456", "one", 2.0, "second")
    assert correct(traces, "abc", "CODING", LABELS).trace_id == "abc123"
    assert correct(traces, "one", "CODING", LABELS).prompt == "second"
    with pytest.raises(UsageError, match="several traces begin with 'ab'"):
        correct(traces, "ab", "CODING", LABELS)


def test_a_second_correction_of_a_trace_replaces_the_first(
    traces: Traces, told: Callable[..., None]
) -> None:
    told("t1", "one", 1.0, "first")
    told("t2", "one", 2.0, "second")
    for trace, label in (("t1", "CODING"), ("t2", "CODING"), ("t1", "handle ")):
        correct(traces, trace, label, LABELS)
    found = {example.prompt: example.label for example in corrections()}
    assert found == {"first": "HANDLE", "second": "CODING"}
    assert len(rows()) == 2


@pytest.mark.parametrize("label", ["POETRY", "", "router", "HANDLE CODING"])
def test_an_unknown_label_is_refused(traces: Traces, told: Callable[..., None], label: str) -> None:
    told("t1", "one", 1.0, "hi")
    with pytest.raises(UsageError, match="labels: HANDLE, REASONING, CODING"):
        correct(traces, "t1", label, LABELS)
    assert corrections() == []


def test_a_label_of_the_users_own_is_taken(traces: Traces, told: Callable[..., None]) -> None:
    told("t1", "one", 1.0, "Is this clause usual?")
    assert correct(traces, "t1", "legal", [*LABELS, "LEGAL"]).label == "LEGAL"


def test_an_unknown_trace_is_refused(traces: Traces) -> None:
    with pytest.raises(UsageError, match="there is no trace 'nothing'"):
        correct(traces, "nothing", "CODING", LABELS)


def test_a_trace_without_its_text_cannot_be_corrected(
    traces: Traces, told: Callable[..., None]
) -> None:
    told("t1", "one", 1.0, None)
    with pytest.raises(UsageError, match=r"store_texts is false.*corrections\.jsonl by hand"):
        correct(traces, "t1", "CODING", LABELS)


@pytest.mark.parametrize(
    "prompt",
    ["two\nlines", "next\u2028line\u2029and\x85more", "🙂 \x00\x1c\x0c", '{"a": "b"}', "\\"],
)
def test_any_text_survives_being_rewritten(
    traces: Traces, told: Callable[..., None], prompt: str
) -> None:
    told("t1", "one", 1.0, prompt)
    told("t2", "one", 2.0, "another")
    correct(traces, "t1", "CODING", LABELS)
    correct(traces, "t2", "CODING", LABELS)
    assert [example.prompt for example in corrections()] == [prompt, "another"]


def test_a_whole_turn_is_corrected(opened: Any, brain: Any, traces: Traces) -> None:
    with opened() as assistant:
        for question in ("Sort a list in Python", "now in Rust"):
            reply = assistant.ask(question, thread="t")
        assistant.flush()
    saved = correct(traces, reply.trace_id, "CODING", LABELS)
    assert (saved.prompt, saved.context) == ("now in Rust", ["Sort a list in Python"])
    assert saved.was == "HANDLE"


def test_a_whole_turn_without_texts_is_not(opened: Any, brain: Any, traces: Traces) -> None:
    with opened({"telemetry": {"store_texts": False}}) as assistant:
        reply = assistant.ask("Sort a list in Python")
        assistant.flush()
    with pytest.raises(UsageError, match="keeps no text"):
        correct(traces, reply.trace_id, "CODING", LABELS)


def by_hand(body: str | bytes) -> None:
    folder("router")
    corrections_path().write_bytes(body if isinstance(body, bytes) else body.encode())


GOOD = '{"prompt": "x", "label": "CODING"}\n'


@pytest.mark.parametrize("body", ["", "\n", " \n\n"])
def test_an_emptied_file_holds_no_corrections(body: str) -> None:
    by_hand(body)
    assert corrections() == []


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (GOOD + "not json\n", ":2: "),
        (GOOD + "\n" + '{"prompt": "y"}\n', ":3: label: "),
        (b"\xff\xfe", "is not UTF-8 text"),
    ],
)
def test_a_file_that_was_broken_by_hand_is_told(body: str | bytes, where: str) -> None:
    by_hand(body)
    with pytest.raises(DataError) as caught:
        corrections()
    assert f"{corrections_path()}" in str(caught.value)
    assert where in str(caught.value)


def test_corrections_that_are_no_file_are_told() -> None:
    corrections_path().mkdir(parents=True)
    with pytest.raises(DataError, match="cannot read"):
        corrections()


@pytest.mark.parametrize("body", ["not json\n", b"caf\xe9\n", "[1]\n", GOOD.rstrip()])
def test_a_further_correction_keeps_what_was_edited_by_hand(body: str | bytes) -> None:
    by_hand(body)
    before = corrections_path().read_bytes().strip()
    _write(Correction("new", [], "CODING", "HANDLE", "t1"))
    lines = corrections_path().read_bytes().splitlines()
    assert lines[0] == before
    assert json.loads(lines[1])["prompt"] == "new"


def test_a_correction_that_cannot_be_saved_is_told(rolecall_home: Path) -> None:
    corrections_path().with_suffix(".tmp").mkdir(parents=True)
    with pytest.raises(StateError, match=r"cannot write .*corrections\.jsonl"):
        _write(Correction("new", [], "CODING", "HANDLE", "t1"))


def test_two_processes_at_once_lose_nothing(rolecall_home: Path) -> None:
    script = (
        "import sys\n"
        "from rolecall.routing.corrections import Correction, _write\n"
        "for n in range(15):\n"
        "    trace = f'{sys.argv[1]}-{n}'\n"
        "    _write(Correction(trace, [], 'CODING', 'HANDLE', trace))\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, name], env=dict(os.environ))
        for name in ("a", "b")
    ]
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    found = {example.id for example in corrections()}
    assert found == {f"{name}-{n}" for name in ("a", "b") for n in range(15)}


# --- what traces remember ---------------------------------------------------------------------


def test_earlier_questions_come_as_they_were_asked_whatever_the_clock_said(
    traces: Traces, told: Callable[..., None]
) -> None:
    for name, at, question in (("t1", 3.0, "a"), ("t2", 1.0, "b"), ("t3", 2.0, None)):
        told(name, "one", at, question)
    told("t4", "one", 4.0, "d")
    assert traces.questions_before("t4", 10) == ["a", "b"]
    assert traces.questions_before("t4", 1) == ["b"]
    assert traces.questions_before("t1", 10) == []
    assert traces.questions_before("nothing", 10) == []


def test_turns_without_a_thread_have_none_before_them(
    traces: Traces, told: Callable[..., None]
) -> None:
    told("t1", None, 1.0, "a")
    told("t2", None, 2.0, "b")
    assert traces.questions_before("t2", 10) == []


def test_confidences_of_the_encoder_come_newest_first(
    traces: Traces, told: Callable[..., None]
) -> None:
    for number, sure in enumerate([0.5, None, 0.7, 0.9]):
        told(f"t{number}", "one", float(number), "q", sure=sure)
    assert traces.encoder_confidences(10) == [0.9, 0.7, 0.5]
    assert traces.encoder_confidences(2) == [0.9, 0.7]


# --- labelled prompts -------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(body: str | bytes) -> Path:
        path = tmp_path / "mine.jsonl"
        path.write_bytes(body if isinstance(body, bytes) else body.encode())
        return path

    return write


def test_examples_are_read_and_further_keys_left_alone(
    data: Callable[[str | bytes], Path],
) -> None:
    more = {"context": ["a", "b"], "label": "LEGAL_2", "mood": "good", "at": 1.5, "was": None}
    path = data(json.dumps({"prompt": "p\u2028q", **more}, ensure_ascii=False) + "\r\n\n" + GOOD)
    assert read_examples(path) == [
        Example(prompt="p\u2028q", context=("a", "b"), label="LEGAL_2"),
        Example(prompt="x", label="CODING"),
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("sort a list", "Invalid JSON"),
        ("[]", "object"),
        ('"text"', "object"),
        ('{"prompt": "x"}', "label: Field required"),
        ('{"label": "CODING"}', "prompt: Field required"),
        ('{"prompt": "x", "label": "my role"}', "label: String should match"),
        ('{"prompt": "x", "label": ""}', "label: String should match"),
        ('{"prompt": 5, "label": "CODING"}', "prompt: Input should be a valid string"),
        ('{"prompt": "x", "label": "CODING", "context": "y"}', "context: "),
        ('{"prompt": "x", "label": "CODING", "context": ["y", 1]}', "context.1: "),
        ('{"prompt": "\\ud800", "label": "CODING"}', "Invalid JSON"),
    ],
)
def test_a_wrong_line_is_named(data: Callable[[str | bytes], Path], line: str, says: str) -> None:
    path = data(f"{GOOD}\n{line}\n")
    with pytest.raises(DataError) as caught:
        read_examples(path)
    first, *rest = str(caught.value).splitlines()
    assert first.startswith(f"{path}:3: ")
    assert says in first
    assert rest[-1].startswith(EXPECTED)


def test_only_the_first_wrong_lines_are_named(data: Callable[[str | bytes], Path]) -> None:
    with pytest.raises(DataError) as caught:
        read_examples(data("x\n" * 50))
    assert len(str(caught.value).splitlines()) == 6


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("", "holds no example"),
        ("\n \n", "holds no example"),
        (b"a\xff", "not UTF-8 text (byte 1)"),
    ],
)
def test_a_file_without_examples_is_told(
    data: Callable[[str | bytes], Path], body: str | bytes, says: str
) -> None:
    path = data(body)
    with pytest.raises(DataError) as caught:
        read_examples(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere.jsonl", "."])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot read"):
        read_examples(tmp_path / name)


@pytest.mark.parametrize("split", ["train", "calibration", "test"])
def test_the_shipped_examples_can_be_read(split: str) -> None:
    found = shipped(split)
    assert {example.label for example in found} == set(LABELS)
    assert len({example.id for example in found}) == len(found)
    assert all(example.prompt.strip() and example.source for example in found)


def test_no_style_of_writing_is_in_two_splits() -> None:
    styles = [
        {example.source for example in shipped(split)} for split in ("train", "calibration", "test")
    ]
    assert sum(map(len, styles)) == len(set.union(*styles))


def test_a_split_that_is_not_there_is_told() -> None:
    with pytest.raises(DataError, match="install rolecall again"):
        shipped("nowhere")
