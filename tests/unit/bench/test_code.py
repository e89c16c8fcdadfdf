"""Code is taken out of answers; the built-in suites are whole; public sets are read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from rolecall.bench.cases import Case
from rolecall.bench.code import code_of
from rolecall.bench.public_sets import LOADERS, read_set
from rolecall.bench.suites import SUITES, chosen, needles
from rolecall.errors import DataError, UsageError

PLAIN = Case(prompt="?", tests=["assert f() == 1"])
BEGUN = Case(
    prompt="?",
    preamble='import math\n\ndef f():\n    """Give 1."""\n',
    tests=["assert f() == 1"],
)


@pytest.mark.parametrize(
    "answer",
    [
        "def f(): return 1",
        "Sure:\n```python\ndef f(): return 1\n```\nThat is it.",
        "```\ndef f(): return 1\n```",
        "```py\ndef f(): return 1\n",  # cut off by the token limit
        "```bash\npip install f\n```\n```python\ndef f(): return 1\n```",
        "~~~python\ndef f(): return 1\n~~~",
        "1. Here it is:\n\n   ```python\n   def f():\n       return 1\n   ```\n",
        "```python\ndef f(): return 2\n```\nBetter:\n```python\ndef f(): return 1\n```",
        "```python\ndef f() return 2\n```\nFixed:\n```python\ndef f(): return 1\n```",
    ],
)
def test_code_is_found_in_an_answer(answer: str) -> None:
    space: dict[str, object] = {}
    exec(code_of(answer, PLAIN), space)
    assert space["f"]() == 1  # type: ignore[operator]


@pytest.mark.parametrize(
    "answer", ["    return 1\n", "```python\ndef f():\n    return math.floor(1.5)\n```"]
)
def test_a_function_that_was_begun_goes_on_or_is_given_whole(answer: str) -> None:
    space: dict[str, object] = {}
    exec(code_of(answer, BEGUN), space)
    assert space["f"]() == 1  # type: ignore[operator]


LEAST = {
    "router": 30,
    "coding": 20,
    "reasoning": 30,
    "following": 24,
    "tools": 24,
    "structured": 16,
    "long_context": 12,
    "speed": 4,
}


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_has_cases_and_its_sample_is_always_the_same(name: str) -> None:
    suite = SUITES[name]
    cases = suite.cases()
    assert len(cases) >= LEAST[name]
    assert len({case.digest for case in cases}) == len(cases)
    if name != "speed":
        assert all(case.kind is not None for case in cases)
    sample = suite.sample(quick=True, limit=None)
    assert [case.digest for case in sample] == [c.digest for c in suite.sample(True, None)]
    assert len(sample) == suite.quick <= len(cases)
    assert len(suite.sample(quick=False, limit=2)) == 2


def test_a_suite_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="no suite 'chess'; router, coding"):
        chosen(["chess"])


def test_needles_lie_at_their_depths() -> None:
    cases = needles()
    assert [case.digest for case in cases] == [case.digest for case in needles()]
    for case in cases:
        tokens, depth = (float(part) for part in str(case.id).split("-")[1:])
        assert isinstance(case.answer, list)
        place = case.prompt.index(case.answer[0]) / len(case.prompt)
        assert place == pytest.approx(depth, abs=0.08)
        assert len(case.prompt.split()) == pytest.approx(0.75 * tokens, rel=0.1)


ROWS = {
    "gsm8k": {"question": "2+2?", "answer": "It is 4.\n#### 1,004"},
    "mbpp": {"task_id": 2, "text": "Add.", "test_list": ["assert add(1, 2) == 3"], "code": ""},
    "humaneval": {
        "task_id": "HumanEval/0",
        "prompt": "def add(a, b):\n",
        "entry_point": "add",
        "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
    },
}


@pytest.mark.parametrize("name", ROWS)
def test_a_public_set_is_read_from_its_lines(tmp_path: Path, name: str) -> None:
    path, packed = tmp_path / "set.jsonl", tmp_path / "set.jsonl.gz"
    path.write_text(json.dumps(ROWS[name]) + "\n\n")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for file in (path, packed):
        (case,) = read_set(name, file)
        assert case.kind in {"answer", "tests"}
    if name == "gsm8k":
        assert case.answer == 1004
    path.write_text(json.dumps(ROWS[name]) + "\n{}\n")
    with pytest.raises(DataError, match=rf"is not a file of {name}: case 2: .* is missing"):
        read_set(name, path)


def test_tasks_of_big_bench_hard_are_read_alone_and_together(tmp_path: Path) -> None:
    for task in ("one", "two"):
        text = json.dumps({"examples": [{"input": f"{task}?", "target": "(A)"}]})
        (tmp_path / f"{task}.json").write_text(text)
    assert [case.about for case in read_set("bbh", tmp_path)] == ["one", "two"]
    (case,) = read_set("bbh", tmp_path / "two.json")
    assert case.answer == ["(A)"]
    (tmp_path / "three.json").write_text('{"rows": []}')
    with pytest.raises(DataError, match="is not a file of bbh"):
        read_set("bbh", tmp_path)


def test_a_set_without_loader_file_or_cases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no loader for 'chess'; gsm8k"):
        read_set("chess", tmp_path)
    for name in LOADERS:
        with pytest.raises(DataError):
            read_set(name, tmp_path / "none")
    with pytest.raises(DataError, match="holds no case"):
        read_set("bbh", tmp_path)
