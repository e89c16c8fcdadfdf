"""Options that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

StackOption = Annotated[
    str | None,
    typer.Option("--stack", "-s", help="A stack's name or YAML file.", metavar="NAME|FILE"),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output.")
]
