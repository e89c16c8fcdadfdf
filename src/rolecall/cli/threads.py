"""``rolecall threads``: list, show, search and delete; the rest is in ``threads_…``."""

from __future__ import annotations

import re
import sys
import time
from typing import Annotated, Any

import typer

from rolecall.cli.options import JsonOption
from rolecall.cli.threads_check import check
from rolecall.cli.threads_files import backup, export, import_, restore
from rolecall.cli.threads_fork import fork

app = typer.Typer(no_args_is_help=True)

LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")]
OffsetOption = Annotated[int, typer.Option("--offset", min=0, max=2**62, help="How many to skip.")]
ThreadArgument = Annotated[str, typer.Argument(help="The thread's id.")]


@app.command("list")
def list_threads(
    limit: LimitOption = 20, offset: OffsetOption = 0, as_json: JsonOption = False
) -> None:
    """List threads, last used first."""
    from rolecall import bridge
    from rolecall.cli.output import out, print_json, styled, table
    from rolecall.cli.threads_open import open_threads
    from rolecall.threads.thread_id import is_replay

    with open_threads() as threads:
        rows = bridge.run(threads.transcript.threads(limit, offset))
    if as_json:
        print_json({"threads": [{**row, "replay": is_replay(row)} for row in rows]})
        return
    shown = table("thread", "turns", "last", "used", "title", last="ellipsis")
    for row in rows:
        status = row["status"] or "–"
        mark = styled(status, "" if status == "done" else "yellow")
        shown.add_row(
            row["thread_id"],
            str(row["turns"]),
            mark,
            when(row["updated_at"]),
            styled(f"replay of {row['forked_from']}: " if is_replay(row) else "", "cyan")
            + styled(row["title"], ""),
        )
    out.print(shown if rows else 'No threads yet. Begin one: rolecall ask "…"')


@app.command()
def show(
    thread: ThreadArgument,
    limit: LimitOption = 20,
    before: Annotated[
        str | None,
        typer.Option(
            "--before", help="Page: turns before this number, steps before this number or id."
        ),
    ] = None,
    steps: Annotated[bool, typer.Option("--steps", help="Show saved steps, not turns.")] = False,
    turn: Annotated[
        int | None, typer.Option("--turn", min=1, max=2**62, help="Only this turn, or its steps.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the last turns of a thread, or its saved steps."""
    from rolecall import bridge
    from rolecall.cli.output import out, print_json
    from rolecall.cli.threads_open import open_threads
    from rolecall.errors import UsageError
    from rolecall.threads.lock import holder_of
    from rolecall.threads.steps import steps_of

    if not steps and before is not None and not re.fullmatch("[0-9]{1,18}", before):
        raise UsageError(f"--before takes the number of a turn, not {before!r}")
    with open_threads() as threads:
        if steps:
            found = bridge.run(
                steps_of(threads.transcript, threads.saver, thread, limit, before, turn)
            )
        elif turn is not None:
            found = [bridge.run(threads.transcript.turn(thread, turn))]
        else:
            number = int(before) if before else None
            found = bridge.run(threads.transcript.turns(thread, limit, number))
        last = found[-1] if found and not steps and turn is None and before is None else None
        left = last and last["status"] != "done" and holder_of(threads.locks, thread) is None
    if as_json:
        print_json({"thread_id": thread, "steps" if steps else "turns": found})
    elif steps:
        _show_steps(found)
    else:
        _show_turns(found)
        if left:
            out.print(f"The last turn has no answer. Finish it: rolecall resume {thread}")


def _show_turns(turns: list[dict[str, Any]]) -> None:
    from rich.markdown import Markdown

    from rolecall.cli.output import out, printable, styled

    for turn in printable(turns):
        head = f"{turn['number']}  {when(turn['created_at'])}  {turn['role'] or turn['status']}"
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
    text: Annotated[
        str, typer.Argument(help="Words that were said; WORD* stands for all that begin so.")
    ],
    limit: LimitOption = 20,
    offset: OffsetOption = 0,
    thread: Annotated[
        str | None, typer.Option("--thread", "-t", help="Only in this thread.", metavar="ID")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Search what was asked and answered, best match first."""
    from rolecall import bridge
    from rolecall.cli.output import out, print_json, styled
    from rolecall.cli.threads_open import open_threads

    with open_threads() as threads:
        if thread is not None:
            bridge.run(threads.transcript.thread(thread))  # is it there?
        rows = bridge.run(threads.transcript.search(text, limit, thread=thread, offset=offset))
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
def delete(
    threads: Annotated[list[str], typer.Argument(help="The threads to delete.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete threads: their turns, steps and whatever else is kept of them."""
    from rolecall.assistant import Assistant
    from rolecall.cli.output import out, print_json
    from rolecall.errors import UsageError

    if not yes and not sys.stdin.isatty():
        raise UsageError("threads are deleted for good: add --yes where there is no terminal")
    if not yes:
        typer.confirm(f"Delete {', '.join(threads)}?", abort=True)
    with Assistant.open() as assistant:
        for thread in threads:
            assistant.delete(thread)
    if as_json:
        print_json({"deleted": threads})
    else:
        out.print(f"Deleted {', '.join(threads)}.")


def when(at: float | None) -> str:
    """A time of day as people read it."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at)) if at else "–"


app.command()(fork)
app.command()(export)
app.command("import")(import_)
app.command()(backup)
app.command()(restore)
app.command()(check)
