"""``rolecall threads``: list, show, search, fork, delete, export."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rolecall.cli.options import JsonOption

if TYPE_CHECKING:
    from rolecall.assistant import Assistant

app = typer.Typer(no_args_is_help=True)

LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")]
ThreadArgument = Annotated[str, typer.Argument(help="The thread's id.")]


@contextmanager
def _assistant() -> Iterator[Assistant]:
    from rolecall.assistant import Assistant

    with Assistant.open() as assistant:
        yield assistant


@app.command("list")
def list_threads(
    limit: LimitOption = 20,
    offset: Annotated[int, typer.Option("--offset", min=0, help="How many to skip.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """List threads, last used first."""
    from rolecall import bridge
    from rolecall.cli.output import out, print_json, styled, table

    with _assistant() as assistant:
        rows = bridge.run(assistant.transcript.threads(limit, offset))
    if as_json:
        print_json({"threads": rows})
        return
    shown = table("thread", "turns", "last", "used", "title", last="ellipsis")
    for row in rows:
        status = row["status"] or "–"
        mark = styled(status, "" if status == "done" else "yellow")
        shown.add_row(
            row["thread_id"],
            str(row["turns"]),
            mark,
            _when(row["updated_at"]),
            styled(row["title"], ""),
        )
    out.print(shown if rows else 'No threads yet. Begin one: rolecall ask "…"')


@app.command()
def show(
    thread: ThreadArgument,
    limit: LimitOption = 20,
    before: Annotated[
        str | None,
        typer.Option("--before", help="Page: turns before this number, steps before this id."),
    ] = None,
    steps: Annotated[bool, typer.Option("--steps", help="Show saved steps, not turns.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the last turns of a thread, or its saved steps."""
    from rolecall import bridge
    from rolecall.cli.output import print_json
    from rolecall.errors import UsageError

    with _assistant() as assistant:
        if steps:
            found = assistant.steps(thread, limit, before)
            print_json({"thread_id": thread, "steps": found}) if as_json else _show_steps(found)
            return
        if before is not None and not before.isdigit():
            raise UsageError(f"--before takes the number of a turn, not {before!r}")
        number = int(before) if before else None
        turns = bridge.run(assistant.transcript.turns(thread, limit, number))
    if as_json:
        print_json({"thread_id": thread, "turns": turns})
    else:
        _show_turns(turns)


def _show_turns(turns: list[dict[str, Any]]) -> None:
    from rich.markdown import Markdown

    from rolecall.cli.output import out, printable, styled

    for turn in printable(turns):
        head = f"{turn['number']}  {_when(turn['created_at'])}  {turn['role'] or turn['status']}"
        out.print(styled(head, "dim"))
        out.print(styled(turn["question"], "bold"))
        if turn["answer"]:
            out.print(Markdown(turn["answer"]))
        elif turn["status"] != "done":
            out.print(styled(f"({turn['status']}) {turn['error'] or ''}", "yellow"))
        out.print()


def _show_steps(steps: list[dict[str, Any]]) -> None:
    from rolecall.cli.output import out, table

    shown = table("step", "checkpoint id", "next")
    for step in steps:
        shown.add_row(str(step["step"]), step["checkpoint_id"], ", ".join(step["next"]) or "–")
    out.print(shown)


@app.command()
def search(
    text: Annotated[str, typer.Argument(help="Words that were said.")],
    limit: LimitOption = 20,
    as_json: JsonOption = False,
) -> None:
    """Search what was asked and answered, best match first."""
    from rolecall import bridge
    from rolecall.cli.output import out, print_json, styled

    with _assistant() as assistant:
        rows = bridge.run(assistant.transcript.search(text, limit))
    if as_json:
        print_json({"query": text, "matches": rows})
        return
    for row in rows:
        out.print(
            styled(f"{row['thread_id']} #{row['number']}  ", "bold")
            + styled(" ".join(row["snippet"].split()), "")
        )
    if not rows:
        out.print("Nothing found.")


@app.command()
def fork(
    thread: ThreadArgument,
    at: Annotated[
        str | None, typer.Option("--at", help="A step number or checkpoint id; default: latest.")
    ] = None,
    new: Annotated[str | None, typer.Option("--new", help="The new thread's id.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a thread up to a step into a new thread."""
    from rolecall.cli.output import out, print_json

    with _assistant() as assistant:
        made = assistant.fork(thread, at, new)
    if as_json:
        print_json({"thread_id": made, "forked_from": thread, "step": at})
    else:
        out.print(f'{made}\nGo on there: rolecall ask "…" --thread {made}')


@app.command()
def delete(
    threads: Annotated[list[str], typer.Argument(help="The threads to delete.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete threads: their turns and steps."""
    from rolecall.cli.output import out, print_json
    from rolecall.errors import UsageError

    if not yes and not sys.stdin.isatty():
        raise UsageError("threads are deleted for good: add --yes where there is no terminal")
    if not yes:
        typer.confirm(f"Delete {', '.join(threads)}?", abort=True)
    with _assistant() as assistant:
        for thread in threads:
            assistant.delete(thread)
    if as_json:
        print_json({"deleted": threads})
    else:
        out.print(f"Deleted {', '.join(threads)}.")


@app.command()
def export(
    thread: ThreadArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; default: print.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Export a whole thread: markdown, or JSON with --json."""
    from rolecall import bridge
    from rolecall.cli.output import err
    from rolecall.errors import StateError

    with _assistant() as assistant:
        turns = bridge.run(assistant.transcript.turns(thread, limit=10**9))
    text = _as_json(thread, turns) if as_json else _as_markdown(thread, turns)
    if output is None:
        typer.echo(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise StateError(f"cannot write {output}: {error.strerror or error}") from error
    err.print(f"{len(turns)} turns written to {output}")


def _as_json(thread: str, turns: list[dict[str, Any]]) -> str:
    import json

    return json.dumps({"thread_id": thread, "turns": turns}, ensure_ascii=False, indent=2)


def _as_markdown(thread: str, turns: list[dict[str, Any]]) -> str:
    parts = [f"# Thread {thread}"]
    for turn in turns:
        parts.append(f"## {turn['number']}. {_when(turn['created_at'])}\n\n{turn['question']}")
        parts.append(
            f"**{turn['role'] or turn['status']}:**\n\n{turn['answer'] or turn['error'] or ''}"
        )
    return "\n\n".join(parts)


def _when(at: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at)) if at else "–"
