"""The assistant as an object: asks, streams, resumes and forks on saved threads."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rolecall import bridge, forks
from rolecall.config.load import load_stack
from rolecall.config.schema import Stack
from rolecall.database import DatabaseFile
from rolecall.errors import UnknownRole, UsageError
from rolecall.home import folder
from rolecall.models.client import LocalLLMClient
from rolecall.nodes.init import check_question
from rolecall.opening import open_turns
from rolecall.progress import Progress
from rolecall.reply import Part, Reply
from rolecall.telemetry.open import open_recorder
from rolecall.threads.schema import migrations
from rolecall.threads.transcript import Transcript, check_thread_id
from rolecall.turns import Turns


class Assistant:
    """A stack, its graph and this home's threads. Use as a context manager.

    ``ask``, ``stream``, ``resume`` and ``fork`` block; their ``a…`` twins are awaited from any
    event loop.
    """

    def __init__(self, stack: Stack, *, progress: Progress | None = None) -> None:
        self.stack = stack
        self.client = LocalLLMClient(stack, progress=progress)
        self._path = folder() / "threads.db"
        self._file = DatabaseFile(self._path, migrations)
        self.transcript = Transcript(self._file)
        self._recorder = open_recorder(stack.settings.telemetry)
        self._turns: Turns | None = None
        self._closed = False
        self._process = os.getpid()

    @classmethod
    def open(
        cls,
        stack: str | Path | Stack | None = None,
        *,
        overrides: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Open an assistant.

        Args:
            stack: a name, a file or a loaded stack; ``None`` takes the active one.
            overrides: settings by dotted key, such as ``{"turn.deadline_s": 60}``.
            progress: shows downloads and the start of embedded models.

        Raises:
            ConfigError: the stack cannot be loaded.
            StateError: ``ROLECALL_HOME`` cannot be used.
        """
        loaded = stack if isinstance(stack, Stack) else load_stack(stack, overrides)
        assistant = cls(loaded, progress=progress)
        try:
            bridge.run(assistant._start())
        except BaseException:
            assistant.close()
            raise
        return assistant

    def check(self, question: str, thread: str | None = None, role: str | None = None) -> None:
        """Refuse what could not be accepted, without saving anything.

        Raises:
            BadInput, UnknownRole, UsageError
        """
        check_question(question, self.stack.settings.turn.max_input_chars)
        if role is not None and role not in self.stack.roles:
            raise UnknownRole(
                f"there is no role {role!r} in stack {self.stack.name}; "
                f"roles: {', '.join(self.stack.roles)}"
            )
        if thread is not None:
            check_thread_id(thread)

    def settle(self, timeout_s: float) -> bool:
        """Wait for the work that follows finished turns, such as summaries.

        Args:
            timeout_s: how long at most, in seconds.

        Returns:
            Whether nothing of it is left. It never has to be waited for.
        """
        return bridge.run(self._open.after.settled(timeout_s))

    def stop(self) -> bool:
        """Ask the turns that run to end; returns at once, and whether there were any.

        They are saved, and raise ``TurnInterrupted`` where they are waited for. Safe in signal
        handlers and from any thread.
        """
        return self._turns is not None and self._turns.stops.request()

    @property
    def stopping(self) -> list[str]:
        """The threads of turns that were asked to end and have not yet."""
        return [] if self._turns is None else self._turns.stops.stopping

    def flush(self) -> None:
        """Wait until the telemetry of finished turns is on disk."""
        self._recorder.flush()

    # --- synchronous --------------------------------------------------------------------------

    def ask(self, question: str, thread: str | None = None, role: str | None = None) -> Reply:
        """Ask and wait for the answer.

        Args:
            question: the user's message.
            thread: the conversation to go on with; ``None`` begins a new one.
            role: who answers; ``None`` lets the router decide.

        Raises:
            BadInput, UnknownRole: nothing was saved.
            ThreadBusy: another turn runs on the thread.
            NoModelReachable, TurnFailed: the turn is saved and can be resumed.
            StateError: state cannot be read or saved.
        """
        self.check(question, thread, role)
        return bridge.run(self._open.ask(question, thread, role))

    def stream(
        self, question: str, thread: str | None = None, role: str | None = None
    ) -> Iterator[Part]:
        """Ask and get the parts as they come; the last one, ``finished``, holds the reply."""
        self.check(question, thread, role)
        return bridge.items(partial(self._open.ask, question, thread, role))

    def resume(self, thread: str, answer: Any = None) -> Reply:
        """Finish the unfinished turn of a thread, from the step after the last one saved.

        Args:
            thread: the thread.
            answer: what the turn waits for; text, or plain JSON values. It is checked against
                what was asked for before anything runs.

        Raises:
            UnknownThread: there is no such thread.
            UsageError: its last turn is finished, or waits for an answer and none is given that
                fits.
        """
        return bridge.run(self._open.resume(thread, answer))

    def stream_resume(self, thread: str, answer: Any = None) -> Iterator[Part]:
        """:meth:`resume`, streamed."""
        return bridge.items(partial(self._open.resume, thread, answer))

    def fork(
        self,
        thread: str,
        step: str | None = None,
        new: str | None = None,
        question: str | None = None,
    ) -> str:
        """Copy a thread up to a step into a new thread; the original is not touched.

        Args:
            thread: the thread to copy.
            step: a step number or checkpoint id; ``None`` is the latest.
            new: the new thread's id; made up when left out.
            question: asked and answered in the place of the step's turn: the copy ends before
                that turn.

        Returns:
            The new thread's id.

        Raises:
            UnknownThread, UsageError: there is no such thread or step, or ``new`` exists.
        """
        if question is None:
            return bridge.run(forks.fork(self._open.opened, thread, step, new))
        self.check(question, new)
        asked = forks.ask_in_fork(self._open, thread, step, new, question, None)
        return bridge.run(asked).thread_id

    def stream_fork(
        self,
        thread: str,
        question: str,
        step: str | None = None,
        new: str | None = None,
        role: str | None = None,
    ) -> Iterator[Part]:
        """:meth:`fork` with a question, streamed; ``started`` and the reply name the new thread."""
        self.check(question, new, role)
        return bridge.items(
            partial(forks.ask_in_fork, self._open, thread, step, new, question, role)
        )

    def steps(
        self, thread: str, limit: int = 20, before: str | None = None, turn: int | None = None
    ) -> list[dict[str, Any]]:
        """Saved steps of a thread, newest first: step, checkpoint id, next nodes, time.

        Args:
            thread: the thread.
            limit: how many at most.
            before: only steps before this checkpoint id.
            turn: only steps of the turn with this number.
        """
        return bridge.run(forks.steps(self._open.opened, thread, limit, before, turn))

    def delete(self, thread: str) -> None:
        """Delete a thread: its turns and checkpoints. Telemetry stays."""
        bridge.run(forks.delete(self._open.opened, thread))

    # --- asynchronous -------------------------------------------------------------------------

    async def aask(
        self, question: str, thread: str | None = None, role: str | None = None
    ) -> Reply:
        """:meth:`ask`, async."""
        self.check(question, thread, role)
        return await bridge.arun(self._open.ask(question, thread, role))

    def astream(
        self, question: str, thread: str | None = None, role: str | None = None
    ) -> AsyncIterator[Part]:
        """:meth:`stream`, async."""
        self.check(question, thread, role)
        return bridge.aitems(partial(self._open.ask, question, thread, role))

    async def aresume(self, thread: str, answer: Any = None) -> Reply:
        """:meth:`resume`, async."""
        return await bridge.arun(self._open.resume(thread, answer))

    # --- opening and closing ------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the turns that run, as :meth:`stop` does; write what is queued; close files and
        connections. Embedded servers stay up.
        """
        if self._closed:
            return
        self._closed = True
        if os.getpid() != self._process:
            return  # what it works with runs in the process that opened it
        try:
            bridge.run(self._stop())
        finally:
            self._file.close()
            self._recorder.close()

    async def _start(self) -> None:
        self._turns = await open_turns(self.client, self._file, self.transcript, self._recorder)

    async def _stop(self) -> None:
        if self._turns is not None:
            await self._turns.close()
        await self.client.aclose()

    @property
    def _open(self) -> Turns:
        if self._turns is None:
            raise RuntimeError("use Assistant.open(), which also opens the threads")
        if os.getpid() != self._process:
            raise UsageError("a forked process opens an assistant of its own: Assistant.open()")
        return self._turns
