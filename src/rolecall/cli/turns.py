"""Runs turns for the commands: opens the assistant, readies the models, shows the parts."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rolecall.cli.output import err, out, print_json
from rolecall.errors import BadInput, RolecallError, UsageError

if TYPE_CHECKING:
    from rolecall.assistant import Assistant
    from rolecall.reply import Part, Reply

_MAX_STDIN_BYTES = 64_000_000


def overrides_from(pairs: list[str]) -> dict[str, Any]:
    """``["turn.deadline_s=60"]`` as settings by dotted key.

    Raises:
        UsageError: a pair has no ``=``.
    """
    import yaml

    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--set takes KEY=VALUE, such as turn.deadline_s=60, not {pair!r}")
        try:
            found[key.removeprefix("settings.")] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {key}: {value!r} is not a value") from error
    return found


@contextmanager
def open_assistant(stack: str | None, settings: Mapping[str, Any]) -> Iterator[Assistant]:
    """An assistant with progress bars."""
    from rolecall.assistant import Assistant
    from rolecall.cli.progress import RichProgress

    with Assistant.open(stack, overrides=settings, progress=RichProgress()) as assistant:
        yield assistant


def make_ready(assistant: Assistant, role: str | None) -> None:
    """Pull and start the embedded model that will be asked first, before a turn is accepted."""
    from rolecall import bridge
    from rolecall.config.schema import EMBEDDED

    candidates = assistant.stack.models.get(role or "router", [])
    if candidates and all(spec.endpoint == EMBEDDED for spec in candidates):
        bridge.run(assistant.client.prepare(role or "router"))


def show_turn(parts: Iterator[Part], *, as_json: bool) -> Reply:
    """Show a turn while it runs, and its status line after it.

    Raises:
        RolecallError: what ended the turn.
    """
    from rolecall.cli.view import TurnView, status_line

    reply: Reply | None = None
    if as_json:
        for part in parts:
            reply = part.data.get("reply", reply)
        assert reply is not None
        print_json(reply.as_json())
        return reply
    with TurnView(out, err) as view:
        for part in parts:
            reply = part.data.get("reply", reply)
            view.show(part)
    assert reply is not None
    if reply.waiting_for is not None:
        err.print(f"[yellow]The turn waits for you:[/] {reply.waiting_for}")
        err.print(f'Answer with: rolecall resume {reply.thread_id} --answer "…"')
    elif reply.finish_reason == "empty":
        err.print("[yellow]The model gave an empty answer.[/] Ask again, or another --role.")
    err.print(f"[dim]{status_line(reply)}[/]")
    return reply


def print_failure(error: RolecallError) -> None:
    """Print an error as the one JSON object."""
    body = error.reply.as_json() if error.reply is not None else {}
    print_json({**body, "error": str(error), "exit_code": error.exit_code})


def question_from(argument: str | None) -> str:
    """The question given, or standard input for ``-`` and for a pipe.

    Raises:
        BadInput: standard input is not UTF-8, or there is no question at all.
    """
    if argument is not None and argument != "-":
        return argument
    if argument is None and sys.stdin.isatty():
        raise BadInput('there is no question. Try: rolecall ask "What is the capital of Peru?"')
    raw = sys.stdin.buffer.read(_MAX_STDIN_BYTES)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"standard input is not UTF-8 text (byte {error.start})") from error
