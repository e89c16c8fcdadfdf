"""Files of cases: what they may say, and how a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from rolecall.bench.cases import Case, read_cases
from rolecall.bench.public_sets import read_set
from rolecall.errors import DataError


def test_json_lines_and_yaml_say_the_same(tmp_path: Path) -> None:
    lines, listed = tmp_path / "mine.jsonl", tmp_path / "mine.yaml"
    lines.write_text(
        '{"prompt": "2+2?", "answer": 4}\n\n{"prompt": "Hi", "must": {"words": [1, 3]}}\n'
    )
    listed.write_text("- prompt: 2+2?\n  answer: 4\n- {prompt: Hi, must: {words: [1, 3]}}\n")
    assert [case.digest for case in read_cases(lines)] == [c.digest for c in read_cases(listed)]
    assert [case.kind for case in read_cases(lines)] == ["answer", "must"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"prompt": "x", "anser": 4}', "anser: there is no such field; fields: prompt, id"),
        ('{"answer": 4}', "prompt: Field required"),
        ('{"prompt": " "}', "prompt: it is blank"),
        ('{"prompt": "x", "answer": true}', "answer: True is a truth value"),
        ('{"prompt": "fine", "id": "named"}', "the same case is in line 1"),
        ('{"prompt": ""}', "prompt: String should have at least 1 character"),
        ('{"prompt": "x", "answer": {"a": 1}}', ":2: answer: expected a text, a number or"),
        ('{"prompt": "x", "tools": [{}], "call": "clock"}', 'call: expected {"name"'),
        ('{"prompt": "x", "answer": 4, "label": "HANDLE"}', "only one of"),
        ('{"prompt": "x", "must": {"wrds": 4}}', "there is no constraint 'wrds'; words"),
        ('{"prompt": "x", "must": {"words": "four"}}', "must.words: expected a number or"),
        ('{"prompt": "x", "must": {"matches": "("}}', "no regular expression"),
        ('{"prompt": "x", "tests": []}', "tests"),
        ('{"prompt": "x", "value": {"a": 1}}', "value and schema belong together"),
        ('{"prompt": "x", "call": "none"}', "call needs the tools"),
        ('{"prompt": "x", "match": "number", "answer": "four"}', "needs a number"),
        ('{"prompt": "x", "role": "No Role"}', "role"),
        ('{"prompt": "x", "value": {"a": 1}, "schema": {"type": "banana"}}', "not a JSON schema"),
        ('{"prompt": "x", "tools": [{"foo": 1}], "call": "none"}', "a tool has the form"),
        ('{"prompt": "x", "answer": []}', "an empty list accepts no answer"),
        ('{"prompt": "x", "answer": NaN}', "no number that an answer can give"),
        ('{"prompt": "x", "label": "HANDLE", "role": "coding"}', "the router's decision"),
        ("[" * 100_000, "not a JSON object"),
        ('{"prompt": "x"', "not a JSON object"),
        ('["x"]', "dict"),
    ],
)
def test_a_wrong_case_is_told_with_file_line_and_field(
    tmp_path: Path, line: str, told: str
) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "fine"}\n' + line + "\n")
    with pytest.raises(DataError) as caught:
        read_cases(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert told in str(caught.value)


def test_a_wrong_yaml_case_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("- prompt: fine\n  answer: 4\n\n- prompt: x\n  anser: 4\n")
    with pytest.raises(DataError, match=r"mine\.yaml:4: anser: there is no such field"):
        read_cases(path)


def test_dates_in_yaml_are_texts_as_in_json(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("- {prompt: x, schema: {type: object}, value: {day: 2024-02-30}}\n")
    (case,) = read_cases(path)
    assert case.value == {"day": "2024-02-30"}


@pytest.mark.parametrize("text", ["", "{a: 1}", "- [", "\x00"])
def test_a_file_without_cases_is_refused(tmp_path: Path, text: str) -> None:
    for name in ("mine.yaml", "mine.jsonl"):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(DataError, match=r"mine\."):
            read_cases(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_cases(tmp_path / "none.jsonl")


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "a", "id": "x"}\n{"prompt": "b", "id": "x"}\n')
    with pytest.raises(DataError, match=r":2: id: 'x' is in line 1"):
        read_cases(path)


def test_a_case_is_another_when_its_content_is_but_not_when_its_id_is() -> None:
    one = Case(prompt="a", answer=1)
    assert one.digest == Case(prompt="a", answer=1, id="named").digest
    assert one.digest != Case(prompt="a", answer=2).digest


def test_no_more_than_a_few_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"promt": "x"}\n' * 50)
    with pytest.raises(DataError) as caught:
        read_cases(path)
    assert len(str(caught.value).splitlines()) == 5


def test_a_set_whose_answers_have_no_number_is_told_with_its_case(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text('{"question": "2+2?", "answer": "4"}\n')
    with pytest.raises(DataError, match="not a file of gsm8k: case 1: answer does not end with"):
        read_set("gsm8k", path)


def test_yaml_that_is_nested_too_deeply_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("- " * 5000 + "x")
    with pytest.raises(DataError, match="not YAML"):
        read_cases(path)
