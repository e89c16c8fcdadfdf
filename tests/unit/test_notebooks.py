"""Notebooks as files: whole, in order, stored without outputs, and true to the code they import.

What they do is tested on the real model (``tests/live``); here nothing is run.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
MAGIC = re.compile(r"^\s*%.*$", re.MULTILINE)
MACHINE = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|work|Users|usr|var|opt|mnt)/|[A-Z]:\\\\")

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if kind in {None, cell["cell_type"]}]


def code(path: Path) -> Iterator[tuple[str, ast.Module]]:
    """Each code cell's id and syntax tree; lines for IPython itself are left out."""
    for cell in cells(path, "code"):
        text = MAGIC.sub("", "".join(cell["source"]))
        allowed = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST
        yield cell["id"], compile(text, f"{path.name}:{cell['id']}", "exec", allowed)


def test_notebooks_are_numbered_without_a_gap() -> None:
    assert [path.stem[:3] for path in NOTEBOOKS] == [
        f"{number:02}_" for number in range(1, len(NOTEBOOKS) + 1)
    ]


@every_notebook
def test_a_notebook_is_of_its_format(path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.reads(path.read_text(encoding="utf-8"), as_version=4))


@every_notebook
def test_a_notebook_says_first_what_it_shows_and_what_it_needs(path: Path) -> None:
    first = cells(path)[0]
    assert first["cell_type"] == "markdown"
    assert "".join(first["source"]).startswith("# ")
    assert 'pip install -e ".[embedded,notebooks]"' in "".join(first["source"])


@every_notebook
def test_cells_are_named_in_order(path: Path) -> None:
    named = [cell["id"] for cell in cells(path)]
    assert named == [f"cell-{number:02}" for number in range(len(named))]


@every_notebook
def test_nothing_of_a_run_is_stored(path: Path) -> None:
    for cell in cells(path, "code"):
        assert (cell["outputs"], cell["execution_count"]) == ([], None), cell["id"]
        assert cell["metadata"] == {}, cell["id"]


@every_notebook
def test_no_path_of_a_machine_is_stored(path: Path) -> None:
    assert MACHINE.findall(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [("open('/home/ada/x')", True), ("/tmp/a", True), ("http://host/usr/x", False), ("a/b", False)],
)
def test_a_path_of_a_machine_is_noticed(text: str, found: bool) -> None:
    assert bool(MACHINE.search(text)) is found


@every_notebook
def test_what_a_notebook_imports_is_there(path: Path) -> None:
    missing = []
    for cell, tree in code(path):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rolecall"):
                module = importlib.import_module(str(node.module))
                missing += [
                    f"{cell}: {node.module}.{alias.name}"
                    for alias in node.names
                    if not hasattr(module, alias.name)
                ]
    assert missing == []


@every_notebook
def test_what_the_notebooks_need_is_in_their_extra(path: Path) -> None:
    import sys
    import tomllib

    project = tomllib.loads((path.parents[1] / "pyproject.toml").read_text())["project"]
    listed = project["dependencies"] + project["optional-dependencies"]["notebooks"]
    known = {re.split(r"[>=\[]", text)[0].replace("-", "_") for text in listed}
    known |= {"rolecall", "IPython", *sys.stdlib_module_names}  # ipykernel brings IPython
    used = {
        name.split(".")[0]
        for _, tree in code(path)
        for node in ast.walk(tree)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    assert used - known == set()


@every_notebook
def test_the_live_tests_know_what_a_notebook_shows(path: Path) -> None:
    live = (path.parents[1] / "tests" / "live" / "test_notebooks.py").read_text()
    assert f'"{path.stem}"' in live
