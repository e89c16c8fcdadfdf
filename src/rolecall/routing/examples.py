"""Labelled prompts: the shipped set, and files of the user's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from rolecall.errors import DataError

DATA = Path(__file__).resolve().parent / "data"
LABELS = ("HANDLE", "REASONING", "CODING")

_MOST_ERRORS = 5


class Example(BaseModel):
    """One labelled prompt.

    Attributes:
        prompt: the user's last message.
        context: the user's earlier messages, oldest first.
        label: who should answer it: ``HANDLE``, or a role in capitals.
        id: names the row in the shipped set.
        source: whose style of writing it is in; whole sources are held out together.
        kind: plain, paste, pair, lookalike, structured, followup.
        domain: what it is about, one or two words.
        votes: all labels that it was given, the writer's first.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    prompt: str
    context: tuple[str, ...] = ()
    label: Annotated[
        str,
        BeforeValidator(lambda v: v.strip().upper() if isinstance(v, str) else v),
        Field(pattern=r"^[A-Z][A-Z0-9_]*$"),
    ]
    id: str = ""
    source: str = ""
    kind: str = "plain"
    domain: str = ""
    votes: tuple[str, ...] = ()


def read_examples(path: Path) -> list[Example]:
    """Read a file of JSON lines: ``{"prompt": str, "context": [str], "label": str}``.

    Raises:
        DataError: naming the file and the lines that are wrong, and what was expected.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start})") from error
    found: list[Example] = []
    problems: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found.append(Example.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            problems.append(f"{path}:{number}: {where + ': ' if where else ''}{first['msg']}")
            if len(problems) == _MOST_ERRORS:
                break
    if problems:
        expected = '{"prompt": "…", "context": ["…"], "label": "HANDLE"}'
        raise DataError("\n".join(problems) + f"\nexpected one JSON object a line, like {expected}")
    if not found:
        raise DataError(f"{path} holds no example")
    return found


def shipped(split: str) -> list[Example]:
    """The shipped examples of a split: ``train``, ``calibration`` or ``test``.

    Splits are made of whole sources: nothing of a test source was trained or calibrated on.
    """
    return [example for path in _files(split) for example in read_examples(path)]


def _files(split: str) -> Iterator[Path]:
    files = sorted((DATA / split).glob("*.jsonl"))
    if not files:
        raise DataError(f"the shipped examples are not in {DATA / split}; install rolecall again")
    yield from files
