"""The command ``rolecall``. Heavy modules are imported inside commands: help is quick."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from rolecall.cli import bench, models, router, stack, threads, trace
from rolecall.cli.options import JsonOption, StackOption
from rolecall.cli.replay import replay
from rolecall.errors import RolecallError

app = typer.Typer(
    name="rolecall",
    help="Calls local models by role: a router decides, a specialist answers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(threads.app, name="threads", help="List, show, search, fork, export, back up, check.")
app.add_typer(stack.app, name="stack", help="List, show and check stacks.")
app.add_typer(router.app, name="router", help="Measure, explain, correct and train the router.")
app.add_typer(bench.app, name="bench", help="Measure and compare models per role.")
app.add_typer(models.app, name="models", help="Weights and embedded servers.")
app.add_typer(trace.app, name="trace", help="What each turn decided, called and took.")

ThreadOption = Annotated[
    str | None,
    typer.Option("--thread", "-t", help="The conversation to go on with.", metavar="ID"),
]
RoleOption = Annotated[
    str | None, typer.Option("--role", "-r", help="Who answers; the router decides without.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting, e.g. turn.deadline_s=60.", metavar="KEY=VALUE"),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        from rolecall import __version__

        typer.echo(f"rolecall {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="The version."),
    ] = False,
) -> None:
    """Calls local models by role: a router decides, a specialist answers."""


@app.command()
def ask(
    question: Annotated[
        str | None, typer.Argument(help="The question; - or nothing reads standard input.")
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", help="A text that goes along; - is standard input."),
    ] = None,
    thread: ThreadOption = None,
    stack_: StackOption = None,
    role: RoleOption = None,
    as_json: JsonOption = False,
    set_: SetOption = None,
) -> None:
    """Ask one question; the answer streams, the thread is saved."""
    from rolecall.cli import turns

    text = turns.question_from(question, file or ())
    with turns.open_assistant(stack_, turns.overrides_from(set_ or [])) as assistant:
        assistant.check(text, thread, role)
        turns.make_ready(assistant, role)
        reply = turns.show_turn(assistant.stream(text, thread, role), as_json=as_json)
        if not as_json:
            turns.warn_of_drift(reply)
        turns.take_notes(assistant)
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
        turns.take_notes(assistant)
    if reply.waiting_for is not None:
        raise typer.Exit(4)


@app.command()
def doctor(
    stack_: StackOption = None,
    role: Annotated[
        str | None, typer.Option("--role", "-r", help="Only the models of this role.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="No questions of quality, no long prompt.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Also the candidates that only stand in for others.")
    ] = False,
    no_write: Annotated[
        bool, typer.Option("--no-write", help="Leave the capability file as it is.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 3 if a role is unfit or unreachable.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Probe the models of a stack: what works, what is broken, what to change. Loads models."""
    from rolecall.cli.doctor import run_doctor

    run_doctor(
        stack_, role, as_json=as_json, quick=quick, every=every, write=not no_write, strict=strict
    )


@app.command()
def graph(
    name: Annotated[str, typer.Argument(help="Which graph.")] = "assistant",
    form: Annotated[
        str, typer.Option("--format", "-f", help="ascii, mermaid, svg or png.")
    ] = "ascii",
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="The file to write.", metavar="FILE")
    ] = None,
    trace_id: Annotated[
        str | None,
        typer.Option("--trace", help="Highlight the way that a trace took.", metavar="ID"),
    ] = None,
    stack_: StackOption = None,
) -> None:
    """Draw the graph of a stack, offline."""
    from rolecall.cli.graph import draw

    draw(name, form, output, stack_, trace_id)


app.command()(replay)


def run() -> None:
    """The entry point: exit codes as the documentation lists them."""
    _ready_streams()
    try:
        code = app(standalone_mode=False)
    except RolecallError as error:
        _end(error, str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort) as error:
        note = " ".join(getattr(error, "__notes__", []))
        _end(error, f"interrupted {note}".strip(), 130, silent=True)
    except OSError as error:
        _end(error, f"cannot write the output: {error.strerror or error}", 5)
    except Exception as error:
        if hasattr(error, "format_message"):  # a wrong command line, as click reports it
            _end(error, error.format_message(), 2)
        _end(error, _bug(error), 1)
    if code == 130:  # how typer reports Ctrl-C
        _end(None, "interrupted", 130, silent=True)
    sys.exit(code if isinstance(code, int) else 0)


def _ready_streams() -> None:
    """Closed streams go nowhere, odd encodings lose no answer, SIGTERM is a tidy Ctrl-C."""
    import os

    from rolecall.cli import signals

    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
        elif mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    signals.install()


def _end(error: BaseException | None, message: str, code: int, *, silent: bool = False) -> NoReturn:
    from rolecall.cli.turns import print_failure

    if not silent:
        _say(message)
    if "--json" in sys.argv:
        with suppress(OSError):  # the output that cannot be written may be the reason
            print_failure(error, message, code)
    sys.exit(code)


def _say(message: str) -> None:
    from rolecall.cli.output import err, styled

    line = styled("rolecall: ", "bold red") + styled(message, "")
    err.print(line, soft_wrap=not err.is_terminal)


def _bug(error: Exception) -> str:
    import os
    import traceback

    if os.environ.get("ROLECALL_DEBUG"):
        traceback.print_exception(error)
    notes = " ".join(getattr(error, "__notes__", []))
    return (
        f"a bug in Rolecall: {type(error).__name__}: {error} {notes}".rstrip()
        + "\nrun again with ROLECALL_DEBUG=1 for the whole trace"
    )
