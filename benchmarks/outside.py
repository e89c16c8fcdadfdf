"""Wording that nobody of this project wrote, with labels, as an outside check of the router.

The files are not part of the project. ``ROLECALL_OUTSIDE=FOLDER`` names a folder in which any of
these may lie, as they are published:

- ``seed_tasks.jsonl``, Self-Instruct (Wang et al. 2022, arXiv 2212.10560): labelled by two
  annotators by the rubric; only what they agree on counts.
- ``data_full.json``, CLINC150 (Larson et al. 2019, arXiv 1909.02027): what people say to an
  assistant that does things for them, which is ``HANDLE`` by the rubric; its test split.
- ``mbpp.jsonl``, MBPP (Austin et al. 2021, arXiv 2108.07732): small programs, ``CODING``.
- ``gsm8k/test.jsonl``, GSM8K (Cobbe et al. 2021, arXiv 2110.14168): sums of several steps,
  ``REASONING``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rolecall.routing.examples import Example

_SELF_INSTRUCT_LABELS = Path(__file__).with_name("self_instruct_labels.json")


def outside(folder: Path) -> Iterator[tuple[str, list[Example]]]:
    """Each set that lies in a folder or below it, with its name."""
    for title, pattern, read in _SETS:
        for path in sorted(folder.rglob(pattern))[:1]:
            yield title, read(path)


def _self_instruct(path: Path) -> list[Example]:
    labels = json.loads(_SELF_INSTRUCT_LABELS.read_text(encoding="utf-8"))["labels"]
    found = []
    for task in _rows(path):
        if task["id"] in labels:
            given = task["instances"][0]["input"]
            prompt = f"{task['instruction']}\n{given}" if given else task["instruction"]
            found.append(Example(prompt=prompt, label=labels[task["id"]]))
    return found


def _clinc150(path: Path) -> list[Example]:
    rows = json.loads(path.read_text(encoding="utf-8"))["test"]
    return [Example(prompt=text, label="HANDLE") for text, _ in rows]


def _mbpp(path: Path) -> list[Example]:
    return [Example(prompt=row["text"], label="CODING") for row in _rows(path)]


def _gsm8k(path: Path) -> list[Example]:
    return [Example(prompt=row["question"], label="REASONING") for row in _rows(path)]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    return map(json.loads, path.read_text(encoding="utf-8").splitlines())


_SETS: tuple[tuple[str, str, Callable[[Path], list[Example]]], ...] = (
    ("seed tasks of Self-Instruct", "seed_tasks.jsonl", _self_instruct),
    ("CLINC150, all HANDLE", "data_full.json", _clinc150),
    ("MBPP, all CODING", "mbpp.jsonl", _mbpp),
    ("GSM8K, all REASONING", "gsm8k/test.jsonl", _gsm8k),
)
