"""``rolecall router``: measure it, look into it, correct it, train it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rolecall.cli.options import JsonOption, StackOption

if TYPE_CHECKING:
    from rolecall.routing.encoder.versions import Version

app = typer.Typer(no_args_is_help=True)

ContextOption = Annotated[
    list[str] | None,
    typer.Option("--context", "-c", help="An earlier message, oldest first; may be repeated."),
]


@app.command("eval")
def evaluate(
    data: Annotated[
        Path | None,
        typer.Option("--data", help='JSON lines: {"prompt", "context", "label"}.', metavar="FILE"),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option("--strategy", help="hybrid, encoder or llm; default: the stack's."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Write plots as PNG into this folder.", metavar="DIR"),
    ] = None,
    errors: Annotated[
        int, typer.Option("--errors", min=0, help="Show the surest wrong decisions.")
    ] = 0,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="Only so many, drawn at random.")
    ] = None,
    leave_one_source_out: Annotated[
        bool,
        typer.Option(
            "--leave-one-source-out", help="Train a head without each shipped style, measure it."
        ),
    ] = False,
    stack_: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the router on labelled prompts; without --data, on the shipped held-out styles."""
    from rolecall.cli.output import print_json
    from rolecall.cli.progress import RichProgress
    from rolecall.cli.router_eval import (
        print_figures,
        print_sources,
        run_evaluation,
        sources_left_out,
    )

    if leave_one_source_out:
        sources = sources_left_out(RichProgress())
        if as_json:
            print_json({"sources": [vars(row) for row in sources]})
        else:
            print_sources(sources)
        return
    figures, wrong = run_evaluation(data, strategy, stack_, limit, RichProgress(), plot)
    shown = wrong[:errors]
    if as_json:
        print_json({**figures, "errors": shown} if errors else figures)
    else:
        print_figures(figures, shown)


@app.command()
def explain(
    prompt: Annotated[str, typer.Argument(help="The message; - reads standard input.")],
    context: ContextOption = None,
    stack_: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show why the encoder decides as it does: probabilities, what drove it, nearest examples."""
    from rolecall.cli.output import print_json
    from rolecall.cli.router_eval import print_explanation
    from rolecall.cli.turns import question_from
    from rolecall.config.load import load_stack
    from rolecall.nodes.init import check_question
    from rolecall.routing.encoder.versions import current_artefact
    from rolecall.routing.explanation import explain as explained

    stack = load_stack(stack_)
    text = question_from(prompt)
    check_question(text, stack.settings.turn.max_input_chars)
    roles = list(stack.roles.values())
    found = explained(
        current_artefact(), roles, stack.settings.routing.max_error, text, context or ()
    )
    if as_json:
        print_json(found.as_json())
    else:
        print_explanation(found)


@app.command()
def feedback(
    trace: Annotated[str, typer.Argument(help="A trace id, the beginning of one, or a thread.")],
    should_be: Annotated[
        str, typer.Option("--should-be", help="HANDLE, REASONING, CODING or a role of the stack.")
    ],
    stack_: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say who should have answered; rolecall router train --from-traces learns from it."""
    from rolecall.cli.output import out, print_json, styled
    from rolecall.config.load import load_stack
    from rolecall.routing.corrections import correct, corrections
    from rolecall.telemetry.open import open_traces

    labels = [role.label for role in load_stack(stack_).roles.values()]
    saved = correct(open_traces(), trace, should_be, labels)
    total = len(corrections())
    if as_json:
        print_json({**vars(saved), "corrections": total})
        return
    out.print(styled(f"{saved.was or '–'} → {saved.label}", "bold"), styled(saved.prompt, "dim"))
    count = "1 correction" if total == 1 else f"{total} corrections"
    out.print(f"{count} so far. To learn from them: rolecall router train --from-traces")


@app.command()
def train(
    from_traces: Annotated[
        bool, typer.Option("--from-traces", help="Mix in your corrections.")
    ] = False,
    encoder: Annotated[
        bool, typer.Option("--encoder", help="Fine-tune the encoder too (PyTorch, about an hour).")
    ] = False,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="Folder of all-MiniLM-L6-v2; else it is fetched."),
    ] = None,
    measure_model: Annotated[
        bool,
        typer.Option("--measure-model", help="Measure whether the stack's router model helps."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Put it in use even if worse.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", help="Write it here instead of ROLECALL_HOME.")
    ] = None,
    stack_: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train head and calibration anew and compare; a worse router is not put in use."""
    from rolecall.cli.output import print_json
    from rolecall.cli.progress import RichProgress
    from rolecall.cli.router_train import TrainingRun

    run = TrainingRun(RichProgress(), stack_)
    result = run.train(
        from_traces=from_traces,
        fine_tune=encoder,
        weights=weights,
        measure_model=measure_model,
        force=force,
        output=output,
    )
    if as_json:
        print_json(result.as_json())
    else:
        result.show()


@app.command()
def status(stack_: StackOption = None, as_json: JsonOption = False) -> None:
    """Show the router in use: version, guarantee, own roles, corrections, drift."""
    from rolecall.cli.output import print_json
    from rolecall.cli.router_status import print_status, router_status

    found = router_status(stack_)
    if as_json:
        print_json(found)
    else:
        print_status(found)


@app.command()
def versions(as_json: JsonOption = False) -> None:
    """List the versions of the router."""
    from rolecall.cli.output import out, print_json, styled, table
    from rolecall.routing.encoder.versions import current_name
    from rolecall.routing.encoder.versions import versions as all_versions

    found = [_version_row(version) for version in all_versions()]
    if as_json:
        print_json({"versions": found})
        return
    if not any(row["current"] for row in found):
        out.print(
            styled(f"The version in use, {current_name()}, is gone.", "red"),
            "Choose one: rolecall router rollback NAME",
        )
    shown = table("", "version", "accuracy", "corrections", "folder")
    for row in found:
        accuracy = "–" if row["accuracy"] is None else f"{row['accuracy']:.3f}"
        mark = "*" if row["current"] else ""
        shown.add_row(
            mark, row["name"], accuracy, str(row["corrections"]), styled(row["folder"], "dim")
        )
    out.print(shown)


@app.command()
def rollback(
    to: Annotated[
        str | None, typer.Argument(help="A version's name; default: the one before.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Put an earlier version of the router in use."""
    from rolecall.cli.output import out, print_json
    from rolecall.routing.encoder.versions import previous, use

    version = use(to or previous())
    if as_json:
        print_json({"version": version.name, "folder": str(version.folder)})
    else:
        out.print(f"The router in use is now {version.name}.")


def _version_row(version: Version) -> dict[str, Any]:
    import json

    from rolecall.routing.encoder.artefact import ROUTER

    try:
        body = json.loads((version.folder / ROUTER).read_text(encoding="utf-8"))
        accuracy, corrected = body["measured"]["accuracy"], body["measured"].get("corrections", 0)
    except (OSError, ValueError, KeyError, TypeError):
        accuracy, corrected = None, 0
    return {
        "name": version.name,
        "current": version.current,
        "accuracy": accuracy,
        "corrections": corrected,
        "folder": str(version.folder),
    }
