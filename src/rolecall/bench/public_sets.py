"""Public sets, read from a file or folder that the user names. None of their text is shipped.

=========== ======================================== ==========================================
name        file                                     from
=========== ======================================== ==========================================
gsm8k       ``test.jsonl``                           openai/grade-school-math (MIT)
mbpp        ``mbpp.jsonl`` (or sanitized ``.json``)  google-research MBPP (CC BY 4.0)
humaneval   ``HumanEval.jsonl`` or ``.jsonl.gz``     openai/human-eval (MIT)
bbh         ``TASK.json`` or the folder of all tasks suzgunmirac/BIG-Bench-Hard (MIT)
=========== ======================================== ==========================================
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rolecall.bench.cases import Case
from rolecall.errors import DataError

_LAST_LINE = "\n\nThink it through, then end with a line of the form: Answer: …"


def read_set(name: str, path: Path) -> list[Case]:
    """The cases of a public set.

    Raises:
        DataError: there is no loader of that name, or the file is not of that set.
    """
    if name not in LOADERS:
        raise DataError(f"there is no loader for {name!r}; {', '.join(LOADERS)}")
    found: dict[str, Case] = {}
    read = 0
    try:
        for case in LOADERS[name][1](path):
            read += 1
            found.setdefault(case.digest, case)  # some sets hold a case twice
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        where = f"case {read + 1}"
        raise DataError(f"{path} is not a file of {name}: {where}: {reason}") from error
    if not found:
        raise DataError(f"{path} holds no case of {name}")
    return list(found.values())


def role_of(name: str) -> str:
    """The role that a set is for."""
    return LOADERS[name][0]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        text = file.read()
    if path.name.removesuffix(".gz").endswith(".json"):
        yield from json.loads(text)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error


def _gsm8k(path: Path) -> Iterator[Case]:
    for number, row in enumerate(_rows(path)):
        _, marker, last = row["answer"].rpartition("####")
        if not marker:
            raise ValueError("answer does not end with '#### NUMBER'")
        answer = float(last.strip().replace(",", ""))
        yield Case(
            id=f"gsm8k-{number}",
            prompt=row["question"] + _LAST_LINE,
            answer=answer,
            match="number",
        )


def _mbpp(path: Path) -> Iterator[Case]:
    for row in _rows(path):
        tests = list(row["test_list"])
        setup = row.get("test_setup_code") or "\n".join(row.get("test_imports") or [])
        wanted = row.get("text") or row["prompt"]
        yield Case(
            id=f"mbpp-{row['task_id']}",
            prompt=f"{wanted}\nYour code should pass these tests:\n" + "\n".join(tests),
            tests=[*tests, *row.get("challenge_test_list", [])],
            setup=setup,
        )


def _humaneval(path: Path) -> Iterator[Case]:
    for row in _rows(path):
        prompt = row["prompt"]
        yield Case(
            id=row["task_id"],
            prompt=f"Complete this Python function. Give all of it.\n\n```python\n{prompt}```",
            preamble=prompt,
            tests=[f"{row['test']}\ncheck({row['entry_point']})"],
        )


def _bbh(path: Path) -> Iterator[Case]:
    for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
        examples = json.loads(file.read_text(encoding="utf-8"))["examples"]
        for number, row in enumerate(examples):
            yield Case(
                id=f"bbh-{file.stem}-{number}",
                about=file.stem,
                prompt=row["input"] + _LAST_LINE,
                answer=[row["target"]],
            )


LOADERS: dict[str, tuple[str, Callable[[Path], Iterator[Case]]]] = {
    "gsm8k": ("reasoning", _gsm8k),
    "mbpp": ("coding", _mbpp),
    "humaneval": ("coding", _humaneval),
    "bbh": ("reasoning", _bbh),
}
