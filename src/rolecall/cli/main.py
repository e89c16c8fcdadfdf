"""The command ``rolecall``. Heavy modules are imported inside commands: help is quick."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rolecall.cli import models, stack, threads, trace
from rolecall.errors import RolecallError

app = typer.Typer(
    name="rolecall",
    help="Calls local models by role: a router decides, a specialist answers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(threads.app, name="threads", help="List, show, search, fork, delete, export.")
app.add_typer(stack.app, name="stack", help="List, show and check stacks.")
app.add_typer(models.app, name="models", help="Weights and embedded servers.")
app.add_typer(trace.app, name="trace", help="What each turn decided, called and took.")

StackOption = Annotated[
    str | None,
    typer.Option("--stack", "-s", help="A stack's name or YAML file.", metavar="NAME|FILE"),
]
ThreadOption = Annotated[
    str | None,
    typer.Option("--thread", "-t", help="The conversation to go on with.", metavar="ID"),
]
RoleOption = Annotated[
    str | None, typer.Option("--role", "-r", help="Who answers; the router decides without.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting, e.g. turn.deadline_s=60.", metavar="KEY=VALUE"),
]


@app.command()
def ask(
    question: Annotated[
        str | None, typer.Argument(help="The question; - or nothing reads standard input.")
    ] = None,
    thread: ThreadOption = None,
    stack_: StackOption = None,
    role: RoleOption = None,
    as_json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Ask one question; the answer streams, the thread is saved."""
    from rolecall.cli import turns

    text = turns.question_from(question)
    with turns.open_assistant(stack_, turns.overrides_from(set_ or [])) as assistant:
        assistant.check(text, thread, role)
        turns.make_ready(assistant, role)
        reply = turns.show_turn(assistant.stream(text, thread, role), as_json=as_json)
    if reply.waiting_for is not None:
        raise typer.Exit(4)


@app.command()
def chat(
    thread: ThreadOption = None,
    stack_: StackOption = None,
    role: RoleOption = None,
    set_: SetOption = None,
) -> None:
    """Talk; /help lists what can be typed."""
    from rolecall.cli import turns
    from rolecall.cli.chat import Chat

    with turns.open_assistant(stack_, turns.overrides_from(set_ or [])) as assistant:
        Chat(assistant, thread, role).run()


@app.command()
def resume(
    thread: Annotated[str, typer.Argument(help="The thread with the unfinished turn.")],
    answer: Annotated[
        str | None, typer.Option("--answer", help="What the waiting turn asked for.")
    ] = None,
    stack_: StackOption = None,
    as_json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Finish a turn that was interrupted or failed."""
    from rolecall.cli import turns

    with turns.open_assistant(stack_, turns.overrides_from(set_ or [])) as assistant:
        reply = turns.show_turn(assistant.stream_resume(thread, answer), as_json=as_json)
    if reply.waiting_for is not None:
        raise typer.Exit(4)


@app.command()
def graph(
    name: Annotated[str, typer.Argument(help="Which graph.")] = "assistant",
    form: Annotated[
        str, typer.Option("--format", "-f", help="ascii, mermaid, svg or png.")
    ] = "ascii",
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="The file to write.", metavar="FILE")
    ] = None,
    stack_: StackOption = None,
) -> None:
    """Draw the graph of a stack, offline."""
    from rolecall.cli.graph import draw

    draw(name, form, output, stack_)


def run() -> None:
    """The entry point: exit codes as the documentation lists them."""
    try:
        code = app(standalone_mode=False)
    except RolecallError as error:
        _say(str(error))
        if "--json" in sys.argv:
            from rolecall.cli.turns import print_failure

            print_failure(error)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _say("interrupted; what was accepted is saved: rolecall threads list")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        show = getattr(error, "show", None)
        if show is not None:  # a wrong command line, as click reports it
            show()
            sys.exit(getattr(error, "exit_code", 2))
        _report_bug(error)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _say(message: str) -> None:
    from rich.text import Text

    from rolecall.cli.output import err

    err.print(Text("rolecall: ", style="bold red") + Text(message))


def _report_bug(error: Exception) -> None:
    import os
    import traceback

    notes = " ".join(getattr(error, "__notes__", []))
    _say(f"a bug in Rolecall: {type(error).__name__}: {error} {notes}".rstrip())
    if os.environ.get("ROLECALL_DEBUG"):
        traceback.print_exception(error)
    else:
        _say("run again with ROLECALL_DEBUG=1 for the whole trace")
