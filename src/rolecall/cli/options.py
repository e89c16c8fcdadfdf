"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StackOption = Annotated[
    str | None,
    typer.Option("--stack", "-s", help="A stack's name or YAML file.", metavar="NAME|FILE"),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output.")
]
ReportOption = Annotated[
    Path | None,
    typer.Option("--report", help="Write a report: .html or .md.", metavar="FILE"),
]
