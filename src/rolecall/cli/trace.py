"""``rolecall trace``: list and show what turns did."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from rolecall.cli.options import JsonOption

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_traces(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")] = 20,
    thread: Annotated[str | None, typer.Option("--thread", "-t", help="Of one thread.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the latest turns with what they took."""
    from rolecall.cli.output import out, print_json, seconds, styled, table
    from rolecall.telemetry.open import open_traces

    rows = open_traces().latest(limit, thread)
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
    trace: Annotated[str, typer.Argument(help="A trace id, or the beginning of one.")],
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
        colour = "green" if t["status"] == "success" else "red"
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
