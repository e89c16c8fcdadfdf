"""read_file and search_files: what a model sees."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.tools import ToolException

from rolecall.tools import search_files as search_module
from rolecall.tools.read_file import MAX_OUTPUT_CHARS, reader
from rolecall.tools.search_files import MAX_MATCHES, searcher
from rolecall.tools.workspace import Workspace


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "README.md").write_text("# Title\nTODO: write\n")
    (tmp_path / "src" / "a.py").write_text("".join(f"line {n}\n" for n in range(1, 11)))
    (tmp_path / "src" / "b.py").write_text("x = f(1)  # TODO\n")
    for hidden in (".git", ".hidden", "node_modules", ".venv", "__pycache__", "src/.cache"):
        (tmp_path / hidden).mkdir()
        (tmp_path / hidden / "x.txt").write_text("TODO hidden")
    (tmp_path / "data.bin").write_bytes(b"TODO\0\0")
    return tmp_path


def test_a_file_is_shown_with_its_lines(root: Path) -> None:
    read_file = reader(Workspace(root))
    assert read_file("README.md") == "[README.md, lines 1-2 of 2]\n# Title\nTODO: write"
    assert read_file("src/a.py", start_line=3, max_lines=2) == (
        "[src/a.py, lines 3-4 of 10; go on with start_line=5]\nline 3\nline 4"
    )
    assert read_file("src/a.py", start_line=0, max_lines=-5).endswith("\nline 1")


def test_a_start_past_the_end_says_how_many_lines_there_are(root: Path) -> None:
    with pytest.raises(ToolException, match="10 lines"):
        reader(Workspace(root))("src/a.py", start_line=11)


def test_a_folder_is_listed(root: Path) -> None:
    answer = reader(Workspace(root))("src")
    assert answer.splitlines()[1:] == [".cache/", "a.py", "b.py"]


def test_an_empty_file_says_so(root: Path) -> None:
    (root / "empty").touch()
    assert reader(Workspace(root))("empty") == "[empty is empty]"


def test_what_a_model_gets_is_bounded_and_says_so(root: Path) -> None:
    read_file = reader(Workspace(root))
    (root / "wide.txt").write_text("x" * 900_000)
    assert "line cut" in read_file("wide.txt")
    (root / "big.txt").write_text("0123456789\n" * 200_000)
    answer = read_file("big.txt", max_lines=10**9)
    assert len(answer) < MAX_OUTPUT_CHARS
    assert "start_line=2001" in answer
    assert "the file is cut: only the first 1000000 of its 2200000 bytes" in answer


def test_search_finds_lines(root: Path) -> None:
    search_files = searcher(Workspace(root))
    assert search_files("TODO").splitlines() == [
        "README.md:2: TODO: write",
        "src/b.py:1: x = f(1)  # TODO",
    ]
    assert search_files(r"line \d0", "src") == "src/a.py:10: line 10"
    assert search_files("(?i)title", "README.md") == "README.md:1: # Title"


def test_a_pattern_that_does_not_compile_is_searched_as_text(root: Path) -> None:
    answer = searcher(Workspace(root))("f(1")
    assert "searched for as plain text" in answer
    assert "src/b.py:1: x = f(1)  # TODO" in answer


def test_no_match_is_an_answer(root: Path) -> None:
    assert searcher(Workspace(root))("zebra") == "[no match for 'zebra' in 3 files]"


def test_wrong_arguments_say_what_to_do(root: Path) -> None:
    search_files = searcher(Workspace(root))
    with pytest.raises(ToolException, match="empty"):
        search_files("")
    with pytest.raises(ToolException, match="shorter"):
        search_files("x" * 501)
    with pytest.raises(ToolException, match="does not exist"):
        search_files("x", "absent")
    with pytest.raises(ToolException, match="binary"):
        search_files("TODO", "data.bin")


def test_matches_are_bounded(root: Path) -> None:
    (root / "many.txt").write_text("match\n" * 1000)
    lines = searcher(Workspace(root))("match", "many.txt").splitlines()
    assert len(lines) == MAX_MATCHES + 1
    assert "more than 100 matches" in lines[-1]


def test_files_are_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "MAX_FILES", 1)
    with pytest.raises(ToolException, match="narrower path"):
        searcher(Workspace(root))("zebra")


def test_bytes_are_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "MAX_BYTES", 5)
    assert "only 1 files were searched" in searcher(Workspace(root))("TODO")


def test_a_long_line_is_shown_around_the_match(root: Path) -> None:
    (root / "min.js").write_text("a" * 10_000 + "needle" + "b" * 10_000)
    answer = searcher(Workspace(root))("needle")
    assert "needle" in answer
    assert len(answer) < 300


def test_a_large_file_is_searched_at_its_start_and_this_is_said(root: Path) -> None:
    (root / "big.txt").write_text("needle\n" + "hay\n" * 500_000)
    answer = searcher(Workspace(root))("needle")
    assert "big.txt:1: needle" in answer
    assert "only the first 1000000 bytes were searched of: big.txt" in answer


def test_a_catastrophic_pattern_ends_and_does_not_stop_other_threads(root: Path) -> None:
    (root / "evil.txt").write_text("a" * 5000 + "!")
    ticks = 0
    ended = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not ended.wait(0.01):
            ticks += 1

    other = threading.Thread(target=tick)
    other.start()
    started = time.monotonic()
    try:
        with pytest.raises(ToolException, match=r"time ran out at evil\.txt:1"):
            searcher(Workspace(root), seconds=0.5)("(a|aa)+$", "evil.txt")
    finally:
        ended.set()
        other.join()
    assert time.monotonic() - started < 5
    assert ticks >= 5


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    pattern=st.text(max_size=60) | st.text(alphabet="(a|b)*+?[]{}\\1,^$.:=!<>LpP-&", max_size=40)
)
def test_any_pattern_gives_an_answer_or_a_message(root: Path, pattern: str) -> None:
    with contextlib.suppress(ToolException):
        assert searcher(Workspace(root), seconds=1.0)(pattern)
