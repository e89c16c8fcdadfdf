"""Runs turns for the commands: opens the assistant, readies the models, shows the parts."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rolecall.cli.output import err, out, print_json, styled
from rolecall.errors import BadInput, UsageError

if TYPE_CHECKING:
    from rolecall.assistant import Assistant
    from rolecall.reply import Part, Reply

_MAX_INPUT_BYTES = 64_000_000


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
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise UsageError(f"--set {key}: {value[:60]!r} is not a value") from error
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
    thread = ""
    if as_json:
        try:
            for part in parts:
                thread = part.data.get("thread_id", thread)
                reply = part.data.get("reply", reply)
        except KeyboardInterrupt as stopped:
            stopped.add_note(f"thread {thread}")
            raise
        assert reply is not None
        print_json(reply.as_json())
        return reply
    try:
        with TurnView(out, err) as view:
            for part in parts:
                thread = part.data.get("thread_id", thread)
                reply = part.data.get("reply", reply)
                view.show(part)
    except KeyboardInterrupt:
        if thread:
            err.print(styled(f"Stopped. Finish it with: rolecall resume {thread}", "yellow"))
        raise
    assert reply is not None
    if reply.waiting_for is not None:
        err.print(styled(f"The turn waits for you: {reply.waiting_for}", "yellow"))
        err.print(f'Answer with: rolecall resume {reply.thread_id} --answer "…"')
    elif reply.finish_reason == "empty":
        err.print(styled("The model gave an empty answer. Ask again, or another --role.", "yellow"))
    err.print(styled(status_line(reply), "dim"), soft_wrap=not err.is_terminal)
    return reply


def warn_of_drift(reply: Reply) -> None:
    """Say, once a day, when messages are no longer such as the router was calibrated on."""
    if reply.strategy in {"encoder", "hybrid"}:
        from rolecall.cli.router_status import daily_drift_warning

        if warning := daily_drift_warning():
            err.print(styled(warning, "yellow"), soft_wrap=not err.is_terminal)


def print_failure(error: BaseException | None, message: str, code: int) -> None:
    """Print an error as the one JSON object, with what a turn had brought."""
    reply = getattr(error, "reply", None)
    body = reply.as_json() if reply is not None else {}
    print_json({**body, "error": message, "exit_code": code})


def question_from(argument: str | None, files: Sequence[str] = ()) -> str:
    """The question given, or standard input for ``-`` and for a pipe; texts to it below.

    Args:
        argument: the question.
        files: what goes along with it; ``-`` is standard input.

    Raises:
        BadInput: something cannot be read or is not UTF-8, or there is no question at all.
    """
    if argument is None and not files and sys.stdin.isatty():
        raise BadInput('there is no question. Try: rolecall ask "What is the capital of Peru?"')
    if argument is None and not files:
        argument = "-"
    parts = [_read("-") if argument == "-" else argument or ""]
    parts += [f"--- {file} ---\n{_read(file)}" for file in files]
    return "\n\n".join(part for part in parts if part)


def _read(file: str) -> str:
    name = "standard input" if file == "-" else file
    try:
        if file == "-":
            raw = sys.stdin.buffer.read(_MAX_INPUT_BYTES)
        else:
            with Path(file).open("rb") as opened:
                raw = opened.read(_MAX_INPUT_BYTES)
        return raw.decode("utf-8")
    except OSError as error:
        raise BadInput(f"cannot read {name}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{name} is not UTF-8 text (byte {error.start})") from error
