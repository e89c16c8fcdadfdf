"""``rolecall bench``: suites on the models of stacks, kept, compared and reported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rolecall.cli.options import JsonOption, ReportOption

app = typer.Typer(invoke_without_command=True)

RunArgument = Annotated[
    str, typer.Argument(help="A run's number, 'last', or a stack; @MODEL picks one of its models.")
]


@app.callback()
def bench(
    context: typer.Context,
    stack_: Annotated[
        list[str] | None,
        typer.Option("--stack", "-s", help="A stack; several are compared.", metavar="NAME|FILE"),
    ] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option("--suite", help="router, coding, reasoning, following, tools, structured, …"),
    ] = None,
    cases: Annotated[
        list[Path] | None,
        typer.Option("--cases", help="Your own cases, JSON lines or YAML.", metavar="FILE"),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="gsm8k, mbpp, humaneval or bbh.", metavar="NAME=FILE"),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Only this candidate; 'all' asks every one."),
    ] = None,
    role: Annotated[
        list[str] | None, typer.Option("--role", "-r", help="Ask the models of this role.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few cases of each suite, short answers.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most so many cases of each suite.")
    ] = None,
    bare: Annotated[
        bool, typer.Option("--bare", help="Also ask each model without Rolecall around it.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew, also where a run was stopped.")
    ] = False,
    report: ReportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the models of a stack per role: score, tokens, seconds; with intervals. Resumable."""
    if context.invoked_subcommand is not None:
        return
    from rolecall.cli.bench_run import Wish, run_bench

    run_bench(
        Wish(
            stacks=stack_ or [],
            suites=suite or [],
            cases=cases or [],
            sets=set_ or [],
            models=model or [],
            roles=role or [],
            quick=quick,
            limit=limit,
            bare=bare,
            fresh=fresh,
        ),
        report,
        as_json=as_json,
    )


@app.command()
def diff(
    first: RunArgument,
    second: RunArgument,
    arm: Annotated[str, typer.Option("--arm", help="rolecall or bare.")] = "rolecall",
    as_json: JsonOption = False,
) -> None:
    """Say what changed from the first to the second, on the same cases, and if significantly."""
    from rolecall.bench.difference import compare, side
    from rolecall.bench.store import open_store
    from rolecall.cli.bench_view import print_difference
    from rolecall.cli.output import print_json, printable
    from rolecall.errors import UsageError

    if arm not in {"rolecall", "bare"}:
        raise UsageError(f"--arm is rolecall or bare, not {arm!r}")
    store = open_store()
    try:
        sides = [side(store, text, arm=arm) for text in (first, second)]
    finally:
        store.close()
    lines = compare(sides[0][1], sides[1][1])
    body: dict[str, Any] = {"first": sides[0][0], "second": sides[1][0], "suites": lines}
    if as_json:
        print_json(body)
        return
    print_difference(printable(body))


@app.command("list")
def list_runs(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the runs, the newest first."""
    from rolecall.bench.store import open_store_if_any
    from rolecall.cli.bench_view import print_runs
    from rolecall.cli.output import print_json

    store = open_store_if_any()
    runs: list[dict[str, Any]] = []
    if store is not None:
        try:
            runs = store.runs(limit)
        finally:
            store.close()
    if as_json:
        print_json({"runs": runs})
        return
    print_runs(runs)


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="The run's number, or 'last'.")] = "last",
    wrong: Annotated[
        bool, typer.Option("--wrong", help="Also the answers that were wrong.")
    ] = False,
    report: ReportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the figures of a run again."""
    from rolecall.cli.bench_run import show_run

    show_run(run, report, wrong=wrong, as_json=as_json)
