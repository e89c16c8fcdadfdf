"""Runs and shows benchmarks for ``rolecall bench``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from rolecall import bridge
from rolecall.bench.plan import Plan, make_plan
from rolecall.bench.repeat import repeat_of
from rolecall.bench.report import check_report, write_report
from rolecall.bench.runner import run_plan
from rolecall.bench.sandbox import Sandbox, SandboxMissing, find_sandbox
from rolecall.bench.store import BenchStore, alone, open_store
from rolecall.bench.suites import SUITES, Suite, chosen, from_file, from_set
from rolecall.bench.summary import attributed, models_compared, orchestration, summarise
from rolecall.bench.verdicts import verdicts
from rolecall.cli.bench_view import print_run
from rolecall.cli.output import err, print_json, printable, styled
from rolecall.cli.progress import RichProgress
from rolecall.config.load import load_stack
from rolecall.errors import UsageError
from rolecall.models.client import LocalLLMClient

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

_OWN_CASES_ROLE = "reasoning"


@dataclass(frozen=True)
class Wish:
    """What the command line asks for."""

    stacks: list[str]
    suites: list[str]
    cases: list[Path]
    sets: list[str]
    models: list[str]
    roles: list[str]
    quick: bool
    limit: int | None
    bare: bool
    fresh: bool


def run_bench(wish: Wish, report: Path | None, *, as_json: bool) -> None:
    """Run a benchmark and show its figures; exit 3 where an endpoint failed on the way.

    Raises:
        UsageError: a name is unknown, or nothing is left to ask.
        DataError: a file of cases is wrong.
        StateError: a result cannot be kept.
    """
    if report is not None:
        check_report(report)
    plan, sandbox = _plan(wish)
    store = open_store()
    try:
        with alone():
            run = bridge.run(
                run_plan(
                    plan,
                    store,
                    build_graph=_build_graph,
                    sandbox=sandbox,
                    progress=RichProgress(),
                    fresh=wish.fresh,
                )
            )
        body = figures(store, run.id)
    except KeyboardInterrupt:
        told = "What was answered is kept. The same command goes on; rolecall bench show shows it."
        err.print(styled(told, "yellow"))
        raise
    finally:
        store.close()
    body["resumed"] = run.resumed
    _show(body, report, as_json=as_json)
    if run.problems:
        raise typer.Exit(3)


def show_run(name: str, report: Path | None, *, wrong: bool, as_json: bool) -> None:
    """Show a run by its number, or the ``last`` one. Raises ``UsageError``."""
    if report is not None:
        check_report(report)
    store = open_store()
    try:
        run = _number(store, name)
        body = figures(store, run)
        if wrong:
            names = ("stack", "role", "model", "arm", "suite", "case_id", "why", "answer")
            body["wrong"] = [
                {name: row[name] for name in names}
                for row in store.results(run)
                if row["score"] is not None and row["score"] < 1
            ]
    finally:
        store.close()
    _show(body, report, as_json=as_json)


def figures(store: BenchStore, run: int) -> dict[str, Any]:
    """All figures of a run as JSON values. Raises ``UsageError`` where there is no such run."""
    told = store.run(run)
    rows = store.results(run)
    return {
        "run": run,
        "status": told["status"],
        "resumed": 0,
        "quick": told["plan"]["quick"],
        "rows": summarise(rows),
        "verdicts": verdicts(rows, told["plan"].get("contexts", {})),
        "orchestration": orchestration(rows),
        "compared": models_compared(rows),
        "attribution": attributed(rows),
        "repeat": repeat_of(store, run),
        "left_out": told["plan"]["left_out"],
        "problems": told["problems"],
    }


def _number(store: BenchStore, name: str) -> int:
    run = store.named(name)
    if run is None:
        raise UsageError(f"there is no run {name!r}; rolecall bench list shows the runs")
    return run


def _show(body: dict[str, Any], report: Path | None, *, as_json: bool) -> None:
    if report is not None:
        write_report(body, report)
        body["report"] = str(report)
    if as_json:
        print_json(body)
        return
    print_run(printable(body))


def _plan(wish: Wish) -> tuple[Plan, Sandbox | None]:
    own = wish.roles[0] if wish.roles else _OWN_CASES_ROLE
    suites: list[Suite] = [from_file(path, own) for path in wish.cases]
    for text in wish.sets:
        name, equals, file = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: expected NAME=FILE, such as gsm8k=test.jsonl")
        suites.append(from_set(name, Path(file).expanduser()))
    own_suites = suites
    if wish.suites or not suites:
        suites = [*chosen(wish.suites), *suites]
    for suite in own_suites:
        if suite.name in SUITES:
            raise UsageError(f"a suite of Rolecall's is named {suite.name!r}: rename the file")
    names = [suite.name for suite in suites]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"two suites are named {twice!r}: rename the file")
    stacks = [load_stack(name) for name in dict.fromkeys(wish.stacks)] or [load_stack()]
    named = [stack.name for stack in stacks]
    if twice := next((name for name in named if named.count(name) > 1), None):
        raise UsageError(f"two stacks are named {twice!r}: rename a file, so that both can be told")
    sandbox, refused = None, None
    if any(case.tests for suite in suites for case in suite.cases()):
        try:
            sandbox = find_sandbox()
        except SandboxMissing as error:
            refused = str(error)
            err.print(styled(refused, "yellow"))
    plan = make_plan(
        stacks,
        suites,
        models=wish.models,
        roles=tuple(dict.fromkeys(wish.roles)),
        bare=wish.bare,
        quick=wish.quick,
        limit=wish.limit,
        no_sandbox=refused,
    )
    return plan, sandbox


def _build_graph(client: LocalLLMClient, workspace: Path) -> CompiledStateGraph[Any, Any, Any, Any]:
    """The assistant with the packaged tools on an empty workspace, and nothing kept."""
    from rolecall.graphs.assistant import build_assistant
    from rolecall.tools.registry import load_tools

    return build_assistant(client, tools=load_tools(workspace, workspace)).compile()
