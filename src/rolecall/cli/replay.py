"""``rolecall replay``: turns of the past, asked again on another stack, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rolecall.cli.options import JsonOption, ReportOption, StackOption

if TYPE_CHECKING:
    from rolecall.config.schema import Stack
    from rolecall.replay.regression import Regression


def replay(
    thread: Annotated[str | None, typer.Argument(help="The thread; it is not touched.")] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", help="A step number or checkpoint id; default: the last turn.", metavar="STEP"
        ),
    ] = None,
    stack: StackOption = None,
    all_turns: Annotated[
        bool, typer.Option("--all-turns", help="Every turn, or every one from --at on.")
    ] = False,
    own_history: Annotated[
        bool,
        typer.Option(
            "--own-history", help="With --all-turns: each turn follows the replay's own answers."
        ),
    ] = False,
    keep: Annotated[
        bool | None,
        typer.Option(
            "--keep/--discard",
            help="Keep the replay as a thread; default: of one turn, or with --own-history.",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All threads: what does the stack change? Resumable.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", help="With --all: turns from 7d or a date on.", metavar="DAY"),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", min=1, help="With --all: so many threads, last used first."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="With --all: begin anew, also where a run was stopped.")
    ] = False,
    show: Annotated[
        int | None,
        typer.Option("--show", max=2**62, help="Show a run of --all again.", metavar="RUN"),
    ] = None,
    runs: Annotated[bool, typer.Option("--runs", help="List the runs of --all.")] = False,
    report: ReportOption = None,
    as_json: JsonOption = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a setting of the stack.", metavar="KEY=VALUE"),
    ] = None,
) -> None:
    """Ask turns of the past again on another stack; see answers, decisions, times side by side."""
    from rolecall.cli.turns import overrides_from
    from rolecall.config.load import load_stack
    from rolecall.errors import UsageError
    from rolecall.pages import check_path

    if [thread is not None, every, show is not None, runs].count(True) != 1:
        raise UsageError("name one thread, or give one of --all, --show RUN and --runs")
    if every and (at is not None or own_history or keep is not None):
        raise UsageError("--at, --own-history and --keep are for one thread, not for --all")
    if not every and (since is not None or limit is not None or fresh):
        raise UsageError("--since, --limit and --fresh go with --all")
    if report is not None:
        check_path(report)
    if runs:
        _list(as_json)
        return
    if show is not None:
        _show(show, report, as_json)
        return
    loaded = load_stack(stack, overrides_from(set_ or []))
    if every:
        _run_all(loaded, all_turns, since, limit, fresh, report, as_json)
    elif thread is not None:
        _run(thread, loaded, stack, at, all_turns, own_history, keep, report, as_json)


def _run(
    thread: str,
    stack: Stack,
    named: str | None,
    at: str | None,
    all_turns: bool,
    own_history: bool,
    keep: bool | None,
    report: Path | None,
    as_json: bool,
) -> None:
    from rolecall import bridge
    from rolecall.cli.output import print_json
    from rolecall.cli.progress import RichProgress
    from rolecall.cli.replay_view import print_thread
    from rolecall.pages import write_page
    from rolecall.replay.regression import figures
    from rolecall.replay.report import page_of_thread
    from rolecall.replay.thread import replay_thread

    replayed = bridge.run(
        replay_thread(
            thread,
            stack,
            at=at,
            all_turns=all_turns,
            own_history=own_history,
            keep=keep,
            progress=RichProgress(),
        )
    )
    comparisons = replayed.comparisons
    if not comparisons:
        report = None
    if report is not None:
        write_page(page_of_thread(comparisons, replayed.left_out), report)
    if as_json:
        print_json(
            {
                "thread_id": thread,
                "stack": stack.name,
                "summary": figures(comparisons) if len(comparisons) > 1 else None,
                "left_out": replayed.left_out,
                "comparisons": [one.as_json() for one in comparisons],
                "report": None if report is None else str(report),
            }
        )
    else:
        print_thread(comparisons, replayed.left_out, named, report)
    if replayed.exit_code:
        raise typer.Exit(replayed.exit_code)


def _run_all(
    stack: Stack,
    all_turns: bool,
    since: str | None,
    limit: int | None,
    fresh: bool,
    report: Path | None,
    as_json: bool,
) -> None:
    from rolecall import bridge
    from rolecall.cli.output import err
    from rolecall.cli.progress import RichProgress
    from rolecall.replay.batch import replay_threads

    try:
        regression = bridge.run(
            replay_threads(
                stack,
                all_turns=all_turns,
                since=since,
                limit=limit,
                fresh=fresh,
                progress=RichProgress(),
            )
        )
    except KeyboardInterrupt:
        err.print("Stopped. What was replayed is kept; the same command goes on with it.")
        raise
    _print(regression, report, as_json)
    if regression.exit_code:
        raise typer.Exit(regression.exit_code)


def _show(run: int, report: Path | None, as_json: bool) -> None:
    from rolecall import bridge
    from rolecall.replay.regression import Regression
    from rolecall.replay.store import open_store

    store = open_store()
    try:
        regression = Regression.of(bridge.run(store.run(run)))
    finally:
        store.close()
    _print(regression, report, as_json)


def _print(regression: Regression, report: Path | None, as_json: bool) -> None:
    from rolecall.cli.output import print_json
    from rolecall.cli.replay_view import print_regression
    from rolecall.pages import write_page
    from rolecall.replay.report import page_of_run

    if report is not None:
        write_page(page_of_run(regression), report)
    if as_json:
        print_json({**regression.as_json(), "report": None if report is None else str(report)})
    else:
        print_regression(regression, report)


def _list(as_json: bool) -> None:
    from rolecall import bridge
    from rolecall.cli.output import print_json
    from rolecall.cli.replay_view import print_runs
    from rolecall.replay.store import open_store

    store = open_store()
    try:
        found = bridge.run(store.runs())
    finally:
        store.close()
    if as_json:
        print_json({"runs": found})
    else:
        print_runs(found)
