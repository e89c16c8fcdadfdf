"""Reports: whatever models and users wrote is text in them, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from rolecall.errors import StateError, UsageError
from rolecall.pages import Page, check_path, write_page

HOSTILE = "<script>alert(1)</script> | *b* \ud800 [x](http://evil)\n# title"
PAGE = Page(
    HOSTILE,
    [("Turns", ("what", "answer"), [(HOSTILE, "changed"), ("fine", "same")])],
    {"Shares drawn": "<svg></svg>"},
    [HOSTILE],
)


def test_html_holds_no_markup_of_others_and_colours_verdicts(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page(PAGE, path)
    written = path.read_text(encoding="utf-8")
    assert "<script" not in written
    assert written.count("&lt;script&gt;") == 4  # heading, title, cell, note
    assert '<tr class="changed">' in written
    assert '<tr class="same">' in written
    assert "<figure><svg></svg></figure>" in written


def test_markdown_keeps_cells_in_their_row_and_plots_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a page.md"
    write_page(PAGE, path)
    lines = path.read_text(encoding="utf-8").splitlines()
    row = next(line for line in lines if line.endswith("| changed |"))
    assert r"\| \*b\*" in row
    assert r"\[x\]" in row
    assert "![Shares drawn](a%20page-shares.svg)" in lines
    assert (tmp_path / "a page-shares.svg").read_text() == "<svg></svg>"
    assert lines[0].startswith("# &lt;script&gt;")


def test_a_report_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "x.pdf", tmp_path / "no" / "x.md"):
        with pytest.raises(UsageError, match="--report"):
            check_path(path)
    check_path(tmp_path / "x.md")
    (tmp_path / "folder.md").mkdir()
    with pytest.raises(StateError, match="cannot write"):
        write_page(PAGE, tmp_path / "folder.md")
