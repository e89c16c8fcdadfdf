"""Where output goes: people's text through rich, scripts' JSON as one object."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console

if TYPE_CHECKING:
    from rich.table import Table

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")
    sys.stdout.flush()


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
