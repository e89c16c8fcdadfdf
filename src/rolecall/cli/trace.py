"""``rolecall trace``: list, show and sum up what turns did; pictures and files of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from rolecall.cli.options import JsonOption, StackOption

app = typer.Typer(no_args_is_help=True)

SinceOption = Annotated[
    str | None,
    typer.Option("--since", help="7d (today included) or a date; days are UTC.", metavar="DAY"),
]
TraceArgument = Annotated[
    str, typer.Argument(help="A trace id or the beginning of one, or a thread: its last turn.")
]


@app.command("list")
def list_traces(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")] = 20,
    thread: Annotated[str | None, typer.Option("--thread", "-t", help="Of one thread.")] = None,
    before: Annotated[
        str | None, typer.Option("--before", help="Page: those recorded before this trace.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the latest turns with what they took."""
    from rolecall.cli.output import out, print_json, seconds, styled, table
    from rolecall.telemetry.open import open_traces

    rows = open_traces().latest(limit, thread, before)
    if as_json:
        print_json({"traces": rows})
        return
    shown = table("trace", "at", "thread", "node", "status", "total", "question", last="ellipsis")
    for row in rows:
        question = " ".join((row["question"] or "").split())
        shown.add_row(
            row["trace_id"][:8],
            time.strftime("%m-%d %H:%M", time.localtime(row["started_at"])),
            row["thread_id"] or "–",
            row["role"] or "–",
            row["status"],
            seconds(row["total_ms"]),
            styled(question, ""),
        )
    out.print(shown if rows else "No traces yet.")


@app.command()
def show(
    trace: TraceArgument,
    as_json: JsonOption = False,
) -> None:
    """Show all that happened in one turn, with times."""
    from rolecall.cli.output import out, print_json, printable
    from rolecall.telemetry.open import open_traces

    found = open_traces().show(trace)
    if as_json:
        print_json(found)
    else:
        out.print(_tree(printable(found)))


@app.command()
def stats(
    since: SinceOption = None,
    by: Annotated[
        str | None, typer.Option("--by", help="Also per role, model or day.", metavar="WHAT")
    ] = None,
    largest: Annotated[
        str | None,
        typer.Option(
            "--largest",
            help="The model that would answer everything; default: the reasoning role's first.",
            metavar="MODEL",
        ),
    ] = None,
    stack_: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sum up the recorded calls: errors, times, tokens a second, fallbacks, escalations, savings.

    Percentiles come from histograms and are within 2.5 %. A call is one attempt at one endpoint;
    it fell back if another model than the first one asked gave the answer. Escalations are counted
    against the turns that the router gave to its own model.

    What was saved is an estimate: the calls that other models answered are counted as if the
    largest had made them, with as many tokens, its own mean time to the first token and its own
    mean speed in the same period. From that are taken the time they took, the time of all
    routing, and the answers that were passed on. Without calls of the largest nothing is said.
    """
    from rolecall.cli.trace_stats import show_stats

    show_stats(since, by, largest, stack_, as_json=as_json)


@app.command()
def timeline(
    trace: TraceArgument,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A .svg, .png or .html file; default: as text."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw when each node, model call and tool call of a turn ran. Files open offline."""
    from rolecall.cli.trace_timeline import show_timeline

    show_timeline(trace, output, as_json=as_json)


@app.command()
def export(
    since: SinceOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; default: print.")
    ] = None,
    texts: Annotated[
        bool, typer.Option("--texts/--no-texts", help="Questions, answers, tools' arguments.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Export traces as JSON lines, one trace a line."""
    from rolecall.cli.trace_archive import export_traces

    export_traces(since, output, texts=texts, as_json=as_json)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A file that rolecall trace export wrote.")],
    as_json: JsonOption = False,
) -> None:
    """Add exported traces, all or none; those whose ids are in use are skipped and counted."""
    from rolecall.cli.trace_archive import import_traces

    import_traces(file, as_json=as_json)


def _tree(trace: dict[str, Any]) -> Any:
    from rich.markup import escape
    from rich.text import Text
    from rich.tree import Tree

    from rolecall.cli.output import seconds

    turn = trace["turn"]
    tree = Tree(
        Text.from_markup(
            f"[bold]{escape(turn['question'] or '(text not stored)')}[/]\n"
            f"[dim]trace {turn['trace_id']} · thread {turn['thread_id']} · {turn['status']} · "
            f"{seconds(turn['total_ms'])}, {seconds(turn['overhead_ms'])} of it Rolecall's own[/]"
        )
    )
    events: list[tuple[float, str]] = []
    for d in trace["decisions"]:
        target = d["target_model"] or "the router model itself"
        events.append(
            (
                d["at"],
                f"[cyan]router[/] {d['routing_decision']} → {target} "
                f"({d['strategy']} {d['confidence']:.2f}, {seconds(d['latency_ms'])})\n"
                f"[dim]{escape(d['reason'])}[/]",
            )
        )
    for c in trace["model_calls"]:
        if c["status"] == "journaled":
            told = "had its answer in the journal: no model was called again"
            events.append((c["started_at"], f"[green]{c['node']}[/] {told}"))
            continue
        colour = "green" if c["status"] == "ok" else "red"
        events.append(
            (
                c["started_at"],
                f"[{colour}]{c['node']}[/] called {escape(c['model'])} over {c['api']} "
                f"at {escape(c['endpoint'])}: "
                f"{c['status']}, first token {seconds(c['ttft_ms'])}, all "
                f"{seconds(c['latency_ms'])}, {c['input_tokens']} → {c['output_tokens']} tokens"
                + (f"\n[red]{escape(c['error'])}[/]" if c["error"] else ""),
            )
        )
    for t in trace["tool_calls"]:
        colour = "green" if t["status"] in {"success", "journaled"} else "red"
        events.append(
            (
                t["started_at"],
                f"[{colour}]tool[/] {escape(t['name'])}({escape(str(t['arguments']))}) "
                f"{seconds(t['latency_ms'])}\n[dim]{escape((t['result'] or '')[:200])}[/]",
            )
        )
    for e in trace["errors"]:
        events.append(
            (e["at"], f"[red]error[/] in {e['node'] or 'the run'}: {escape(e['message'])}")
        )
    for _, text in sorted(events, key=lambda event: event[0]):
        tree.add(Text.from_markup(text))
    if turn["answer"]:
        answer = f"[bold]answer[/] ({turn['finish_reason']}) {escape(turn['answer'][:300])}"
        tree.add(Text.from_markup(answer))
    return tree
