"""``rolecall stack``: list, show, check."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rolecall.cli.options import JsonOption

if TYPE_CHECKING:
    from rolecall.config.schema import Stack

app = typer.Typer(no_args_is_help=True)

StackArgument = Annotated[
    str | None, typer.Argument(help="A stack's name or YAML file; default: the active one.")
]


@app.command("list")
def list_stacks(as_json: JsonOption = False) -> None:
    """List the stacks that have a name; the active one is marked."""
    from rolecall.cli.output import out, print_json, styled, table
    from rolecall.config.load import load_stack, stack_files
    from rolecall.errors import ConfigError

    active = load_stack().name
    rows: list[dict[str, Any]] = []
    for name, path in sorted(stack_files().items()):
        try:
            description, problem = load_stack(name).description, None
        except ConfigError as error:
            description, problem = "", str(error)
        rows.append(
            {
                "name": name,
                "active": name == active,
                "description": description,
                "file": str(path),
                "problem": problem,
            }
        )
    if as_json:
        print_json({"stacks": rows})
        return
    shown = table("", "stack", "description")
    for row in rows:
        about = styled(row["problem"] or row["description"], "red" if row["problem"] else "")
        shown.add_row("*" if row["active"] else "", row["name"], about)
    out.print(shown)


@app.command()
def show(name: StackArgument = None, as_json: JsonOption = False) -> None:
    """Show a stack as it is in force: models per role, settings, where they come from."""
    from rolecall.cli.output import out, print_json
    from rolecall.config.load import load_stack

    stack = load_stack(name)
    body = {
        "name": stack.name,
        "file": str(stack.source),
        "description": stack.description,
        "models": {
            role: [spec.model_dump(mode="json") for spec in specs]
            for role, specs in stack.models.items()
        },
        "roles": {
            role.name: {
                "label": role.label,
                "description": role.description,
                "examples": list(role.examples),
                "prompt": role.prompt,
            }
            for role in stack.roles.values()
        },
        "settings": stack.settings.model_dump(mode="json"),
    }
    if as_json:
        print_json(body)
        return
    import yaml
    from rich.syntax import Syntax

    about: dict[str, Any] = {
        "models": {
            role: [spec.model_dump(mode="json", exclude_defaults=True) for spec in specs]
            for role, specs in stack.models.items()
        }
    }
    settings = stack.settings.model_dump(mode="json", exclude_defaults=True)
    if settings:
        about["settings"] = settings
    header = f"# {stack.name}: {stack.description}\n# {stack.source}\n"
    text = header + yaml.safe_dump(about, sort_keys=False, allow_unicode=True)
    if out.is_terminal:
        out.print(Syntax(text, "yaml", background_color="default", word_wrap=True))
    else:
        typer.echo(text, nl=False)


@app.command()
def check(
    name: StackArgument = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 3 unless every role has a model that is ok.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say of every model of a stack whether it is there and fit for its role; loads none."""
    from rolecall.cli.output import print_json
    from rolecall.config.load import load_stack

    stack = load_stack(name)
    found = _judged(stack)
    rows = found["models"]
    unfit = [row["role"] for row in rows if row["preferred"] and row["verdict"] != "ok"]
    if as_json:
        print_json({"stack": stack.name, **found})
    else:
        _print_verdicts(rows)
        _print_suggestions(found["suggestions"])
    if strict and unfit:
        raise typer.Exit(3)


def _judged(stack: Stack) -> dict[str, Any]:
    """The models with what is known of them; results that cannot be read are told and left out."""
    from rolecall import bridge
    from rolecall.bench.candidates import judge_stack
    from rolecall.bench.store import open_store_if_any
    from rolecall.cli.output import err, styled
    from rolecall.errors import StateError

    try:
        store = open_store_if_any()
        if store is not None:
            with closing(store):
                return bridge.run(judge_stack(stack, store))
    except StateError as error:
        err.print(styled(f"Results of rolecall bench are left out: {error}", "yellow"))
    return bridge.run(judge_stack(stack, None))


def _print_verdicts(found: list[dict[str, Any]]) -> None:
    from rolecall.cli.output import ago, out, styled, table

    colours = {"ok": "green", "weak": "yellow", "unfit": "red", "unreachable": "red"}
    for endpoint in dict.fromkeys(row["endpoint"] for row in found):
        rows = [row for row in found if row["endpoint"] == endpoint]
        out.print(styled(endpoint, "bold"))
        shown = table("", "role", "model", "verdict", "why")
        shown.show_header = False
        for row in rows:
            verdict = styled(row["verdict"], colours[row["verdict"]])
            age = row["examined_s"]
            why = row["why"] if age is None else f"{row['why']}; examined {ago(age)}"
            shown.add_row("", row["role"], row["model"], verdict, why)
        out.print(shown)


def _print_suggestions(found: dict[str, dict[str, Any]]) -> None:
    """The best of each role, where it is not the stack's first already."""
    from rolecall.cli.output import out, styled

    for role, best in found.items():
        if best["preferred"]:
            continue
        surely = {
            True: "significantly better than the first on the same cases",
            False: "not significantly better than the first",
            None: "the first was not measured in the same way",
        }[best["significant"]]
        told = f"{role}: {best['model']} at {best['endpoint']} is the best measured"
        more = f"{best['verdict']}, {best['why']}; {surely}"
        out.print(styled(f"{told} ({more})", "cyan"), soft_wrap=True)
