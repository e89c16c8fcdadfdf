"""``rolecall threads fork``: a copy of a thread, as it is or with another question."""

from __future__ import annotations

from typing import Annotated

import typer

from rolecall.cli.options import JsonOption, StackOption


def fork(
    thread: Annotated[str, typer.Argument(help="The thread's id.")],
    at: Annotated[
        str | None, typer.Option("--at", help="A step number or checkpoint id; default: latest.")
    ] = None,
    new: Annotated[str | None, typer.Option("--new", help="The new thread's id.")] = None,
    edit: Annotated[
        str | None,
        typer.Option("--edit", help="Ask this instead of the step's question.", metavar="QUESTION"),
    ] = None,
    go_on: Annotated[
        bool, typer.Option("--run", help="Run the copy on from there at once.")
    ] = False,
    role: Annotated[
        str | None, typer.Option("--role", "-r", help="With --edit: who answers.")
    ] = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy a thread up to a step into a new thread."""
    from rolecall import bridge
    from rolecall.cli import turns
    from rolecall.cli.output import out, print_json
    from rolecall.errors import UsageError

    if edit is not None and go_on:
        raise UsageError("--edit runs the new question anyway: leave --run out")
    if role is not None and edit is None:
        raise UsageError("--role goes with --edit")
    with turns.open_assistant(stack, {}) as assistant:
        if edit is not None:
            turns.make_ready(assistant, role)
            parts = assistant.stream_fork(thread, edit, at, new, role)
            reply = turns.show_turn(parts, as_json=as_json)
        else:
            made = assistant.fork(thread, at, new)
            open_end = bridge.run(assistant.transcript.unfinished(made)) is not None
            if not go_on:
                if as_json:
                    print_json({"thread_id": made, "forked_from": thread, "step": at})
                else:
                    ask = f"rolecall resume {made}" if open_end else f'rolecall ask "…" -t {made}'
                    out.print(f"{made}\nGo on there: {ask}")
                return
            if not open_end:
                assistant.delete(made)
                raise UsageError(
                    "at that step the turn was finished: there is nothing to run. Choose an "
                    "earlier step (rolecall threads show --steps), or ask anew with --edit"
                )
            turns.make_ready(assistant, None)
            reply = turns.show_turn(assistant.stream_resume(made), as_json=as_json)
    if reply.waiting_for is not None:
        raise typer.Exit(4)
