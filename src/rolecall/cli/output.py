"""Where output goes: people's text through rich, scripts' JSON as one object."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_CONTROLS = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)), "�")


class _Console(Console):
    """What is printed is data: no markup in it; a reader that left is no error."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        drop_output()


out = _Console(highlight=False, markup=False, emoji=False)
err = _Console(stderr=True, highlight=False, markup=False, emoji=False)


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on standard output."""
    write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")


def write(text: str) -> None:
    """Write bare text; when nobody reads on, the rest is dropped."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output()


def drop_output() -> None:
    """Let standard output go nowhere from now on."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def printable(value: Any) -> Any:
    """Text from models, tools and users without control characters: no escape sequence in it
    reaches the terminal. Goes through lists and dicts.
    """
    if isinstance(value, str):
        return value.translate(_CONTROLS)
    if isinstance(value, dict):
        return {key: printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [printable(item) for item in value]
    return value


def styled(text: str, style: str) -> Text:
    """Text in one style."""
    from rich.text import Text

    return Text(printable(text), style=style)


def table(*columns: str, last: Literal["fold", "ellipsis"] = "fold") -> Table:
    """A table without lines. Long cells are folded; ``ellipsis`` cuts the last column instead."""
    from rich.table import Table

    cut = last == "ellipsis"
    made = Table(box=None, header_style="bold", pad_edge=False, expand=cut)
    for column in columns[:-1]:
        made.add_column(column, overflow="fold", no_wrap=cut)
    made.add_column(columns[-1], overflow=last, no_wrap=cut, ratio=1 if cut else None)
    return made


def seconds(milliseconds: float | None) -> str:
    """``1234.5`` ms as ``1.2 s``, short times as ``12 ms``."""
    if milliseconds is None:
        return "–"
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    return f"{milliseconds / 1000:.1f} s"


def ago(seconds_past: float) -> str:
    """``90`` s as ``2 minutes ago``, in the largest unit that fits."""
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds_past >= size:
            count = round(seconds_past / size)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
