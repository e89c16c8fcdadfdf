"""Runs turns for the commands: opens the assistant, readies the models, shows the parts."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rolecall.cli.output import err, out, print_json, styled
from rolecall.errors import BadInput, TurnInterrupted, UsageError

if TYPE_CHECKING:
    from rolecall.assistant import Assistant
    from rolecall.reply import Part, Reply

_MAX_INPUT_BYTES = 64_000_000
_SHORTLY_S = 0.1  # other work that follows a turn is done by then


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
    from rolecall.cli.signals import stopping

    progress = RichProgress()
    with (
        Assistant.open(stack, overrides=settings, progress=progress) as assistant,
        stopping(assistant),
    ):
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
    begun: dict[str, Any] = {}
    try:
        with ended(parts), nullcontext() if as_json else TurnView(out, err) as view:
            for part in parts:
                begun = part.data if part.type == "started" else begun
                reply = part.data.get("reply", reply)
                if view is not None:
                    view.show(part)
    except KeyboardInterrupt:
        if not begun:
            raise
        raise _stopped(begun) from None
    assert reply is not None
    if as_json:
        print_json(reply.as_json())
        return reply
    if reply.waiting_for is not None:
        from rolecall.questions import Question

        asked = Question("", reply.waiting_for, reply.answer_schema)
        err.print(styled(f"The turn waits for you: {asked.text}", "yellow"))
        answer = f"({asked.expected})" if reply.choices or reply.answer_schema else ""
        err.print(
            styled(f'Answer with: rolecall resume {reply.thread_id} --answer "…" {answer}', "")
        )
    elif reply.finish_reason == "empty":
        err.print(styled("The model gave an empty answer. Ask again, or another --role.", "yellow"))
    err.print(styled(status_line(reply), "dim"), soft_wrap=not err.is_terminal)
    return reply


@contextmanager
def ended(parts: Iterator[Part]) -> Iterator[None]:
    """A turn whose parts are no longer wanted has ended when this is left."""
    try:
        yield
    finally:
        if isinstance(parts, Generator):
            parts.close()


def _stopped(begun: Mapping[str, Any]) -> TurnInterrupted:
    from rolecall.reply import Reply

    thread = begun["thread_id"]
    failure = TurnInterrupted(f"stopped. Finish it with: rolecall resume {thread}")
    failure.reply = Reply(thread, begun["turn_id"], begun["trace_id"], error="interrupted")
    return failure


def take_notes(assistant: Assistant) -> None:
    """On a terminal, wait for the thread's summary if one is being written; Ctrl-C skips it."""
    from rolecall.cli.signals import Terminated

    if not err.is_terminal:  # nobody to tell; what was extracted stands
        return
    try:
        if not assistant.settle(_SHORTLY_S):
            with err.status(styled("taking notes of the conversation (Ctrl-C skips)", "dim")):
                assistant.settle(assistant.stack.settings.memory.summary_deadline_s + 1)
    except Terminated:
        raise
    except KeyboardInterrupt:
        return


def warn_of_drift(reply: Reply) -> None:
    """Say, once a day, when messages are no longer such as the router was calibrated on."""
    from rolecall.config.schema import ENCODING

    if reply.strategy in ENCODING:
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
