"""``rolecall chat``: a conversation in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rolecall.cli import turns
from rolecall.cli.keyboard import quiet_keyboard
from rolecall.cli.output import err, out, styled
from rolecall.cli.signals import terminated
from rolecall.errors import RolecallError, StateError, TurnInterrupted
from rolecall.home import folder

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

    from rolecall.assistant import Assistant
    from rolecall.reply import Part

_HELP = """\
/role [NAME|auto]   who answers from now on; auto lets the router decide
/ROLE question      ask one role once, such as /coding or /reasoning
/thread [ID|new]    show the thread, go to another, or begin a new one
/resume [ANSWER]    finish an interrupted turn
/trace              what the last turn decided, called and took
/help               this list
/quit               leave (also Ctrl-D)

Enter sends; Alt-Enter, or a \\ at the end of the line, begins a new line.
Ctrl-C stops an answer and keeps the thread."""


class Chat:
    """One conversation; every line is a turn or a command.

    Args:
        assistant: an open assistant.
        thread: the thread to go on with; ``None`` begins a new one.
        role: who answers; ``None`` lets the router decide.
    """

    def __init__(self, assistant: Assistant, thread: str | None, role: str | None) -> None:
        self._assistant = assistant
        self._thread = thread
        self._role = role
        self._trace_id: str | None = None
        self._commands: dict[str, Callable[[str], None]] = {
            "help": self._help,
            "role": self._set_role,
            "thread": self._set_thread,
            "trace": self._show_trace,
            "resume": self._resume,
        }

    def run(self) -> None:
        """Read and answer lines until the end of input."""
        self._assistant.check("?", self._thread, self._role)
        read = _terminal_reader() if sys.stdin.isatty() else _pipe_reader()
        err.print(styled(f"stack {self._assistant.stack.name} · /help lists commands", "dim"))
        for line in read:
            text = line.strip()
            if text in {"/quit", "/exit"}:
                break
            if text:
                self._one(text)
        if self._thread is not None:
            err.print(styled(f"go on with: rolecall chat --thread {self._thread}", "dim"))

    def _one(self, text: str) -> None:
        try:
            if text.startswith("/"):
                word, _, rest = text[1:].partition(" ")
                if word in self._commands:
                    self._commands[word](rest.strip())
                elif word in self._assistant.stack.roles and rest.strip():
                    self._ask(rest.strip(), word)
                else:
                    err.print(f"There is no command /{word}; /help lists them.")
            else:
                self._ask(text, self._role)
        except KeyboardInterrupt:
            if terminated():
                raise
        except TurnInterrupted as stopped:
            if terminated():
                raise
            err.print(styled(f"{stopped}, or with /resume", "yellow"))
        except StateError:
            raise
        except RolecallError as error:
            err.print(styled("rolecall: ", "bold red") + styled(str(error), ""))

    def _ask(self, question: str, role: str | None) -> None:
        turns.make_ready(self._assistant, role)
        self._show(self._assistant.stream(question, self._thread, role))

    def _resume(self, answer: str) -> None:
        if self._thread is None:
            err.print("Nothing was asked yet.")
            return
        self._show(self._assistant.stream_resume(self._thread, answer or None))

    def _show(self, parts: Iterator[Part]) -> None:
        with quiet_keyboard():
            turns.show_turn(self._noting(parts), as_json=False)

    def _noting(self, parts: Iterator[Part]) -> Iterator[Part]:
        """Remember thread and trace as soon as they are known, also of turns that fail."""
        with turns.ended(parts):
            for part in parts:
                if part.type == "started":
                    self._thread, self._trace_id = part.data["thread_id"], part.data["trace_id"]
                yield part

    def _help(self, _: str) -> None:
        out.print(_HELP)

    def _set_role(self, name: str) -> None:
        if name:
            wanted = None if name == "auto" else name
            self._assistant.check("?", self._thread, wanted)
            self._role = wanted
        roles = ", ".join(self._assistant.stack.roles)
        out.print(f"{self._role or 'the router decides'} (roles: {roles})")

    def _set_thread(self, name: str) -> None:
        if name:
            wanted = None if name == "new" else name
            self._assistant.check("?", wanted, self._role)
            self._thread = wanted
        out.print(f"thread {self._thread or '(new)'}")

    def _show_trace(self, _: str) -> None:
        from rolecall.cli.trace import show

        if self._trace_id is None:
            err.print("Nothing was asked yet.")
        else:
            self._assistant.flush()
            show(self._trace_id)


def _pipe_reader() -> Iterator[str]:
    for raw in sys.stdin.buffer:
        yield raw.decode("utf-8", errors="surrogateescape")


def _terminal_reader() -> Iterator[str]:
    session = _session()
    waiting = ""
    while True:
        try:
            line = session.prompt("… " if waiting else "> ")
        except KeyboardInterrupt:
            waiting = ""
            continue
        except EOFError:
            return
        if line.endswith("\\"):
            waiting += line[:-1] + "\n"
            continue
        yield waiting + line
        waiting = ""


def _session() -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    history = FileHistory(str(folder() / "chat_history"))
    return PromptSession(history=history, key_bindings=keys)
