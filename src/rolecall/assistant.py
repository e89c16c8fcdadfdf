"""The assistant as an object: asks, streams, resumes and forks on saved threads."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from langchain_core.messages import HumanMessage
from langgraph.types import Command

from rolecall import bridge
from rolecall.config.load import load_stack
from rolecall.config.schema import Stack
from rolecall.database import DatabaseFile
from rolecall.errors import (
    UnknownRole,
    UsageError,
)
from rolecall.graphs.assistant import build_assistant
from rolecall.home import folder
from rolecall.models.client import LocalLLMClient
from rolecall.nodes.init import check_question
from rolecall.progress import Progress
from rolecall.reply import Part, Reply
from rolecall.telemetry.open import open_recorder
from rolecall.threads.checkpoints import (
    copy_step,
    find_step,
    next_of,
    open_saver,
    question_id,
    thread_config,
    turn_of,
)
from rolecall.threads.lock import thread_lock
from rolecall.threads.schema import migrations
from rolecall.threads.transcript import (
    Accepted,
    Transcript,
    check_thread_id,
    unknown_thread,
)
from rolecall.turn import TurnRun, waiting_on

if TYPE_CHECKING:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
    from langgraph.graph.state import CompiledStateGraph

_STEPS_BESIDE_TOOLS = 16


class Assistant:
    """A stack, its graph and this home's threads. Use as a context manager.

    ``ask``, ``stream``, ``resume`` and ``fork`` block; their ``a…`` twins are awaited from any
    event loop.
    """

    def __init__(self, stack: Stack, *, progress: Progress | None = None) -> None:
        self.stack = stack
        self.client = LocalLLMClient(stack, progress=progress)
        home = folder()
        self._path = home / "threads.db"
        self._locks = folder("locks")
        self._file = DatabaseFile(self._path, migrations)
        self.transcript = Transcript(self._file)
        self._recorder = open_recorder(stack.settings.telemetry)
        self._resources = AsyncExitStack()
        self._saver: AsyncSqliteSaver | None = None
        self._graph: CompiledStateGraph[Any, Any, Any, Any] | None = None
        self._closed = False

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
        return _reply(self.stream(question, thread, role))

    def stream(
        self, question: str, thread: str | None = None, role: str | None = None
    ) -> Iterator[Part]:
        """Ask and get the parts as they come; the last one, ``finished``, holds the reply."""
        return bridge.iterate(self._asked(question, thread, role))

    def resume(self, thread: str, answer: str | None = None) -> Reply:
        """Finish the unfinished turn of a thread, from the step after the last one saved.

        Args:
            thread: the thread.
            answer: what a waiting tool asked for.

        Raises:
            UnknownThread: there is no such thread.
            UsageError: its last turn is finished, or waits for an answer and none is given.
        """
        return _reply(self.stream_resume(thread, answer))

    def stream_resume(self, thread: str, answer: str | None = None) -> Iterator[Part]:
        """:meth:`resume`, streamed."""
        return bridge.iterate(self._resumed(thread, answer))

    def fork(self, thread: str, step: str | None = None, new: str | None = None) -> str:
        """Copy a thread up to a step into a new thread; the original is not touched.

        Args:
            thread: the thread to copy.
            step: a step number or checkpoint id; ``None`` is the latest.
            new: the new thread's id; made up when left out.

        Returns:
            The new thread's id.
        """
        return bridge.run(self._forked(thread, step, new))

    def steps(
        self, thread: str, limit: int = 20, before: str | None = None
    ) -> list[dict[str, Any]]:
        """Saved steps of a thread, newest first: step, checkpoint id, next nodes, time."""
        return bridge.run(self._steps(thread, limit, before))

    def delete(self, thread: str) -> None:
        """Delete a thread: its turns and checkpoints. Telemetry stays."""
        bridge.run(self._deleted(thread))

    # --- asynchronous -------------------------------------------------------------------------

    async def aask(
        self, question: str, thread: str | None = None, role: str | None = None
    ) -> Reply:
        """:meth:`ask`, async."""
        reply: Reply | None = None
        async for part in self.astream(question, thread, role):
            reply = part.data.get("reply", reply)
        return _some(reply)

    def astream(
        self, question: str, thread: str | None = None, role: str | None = None
    ) -> AsyncIterator[Part]:
        """:meth:`stream`, async."""
        return bridge.relay(self._asked(question, thread, role))

    async def aresume(self, thread: str, answer: str | None = None) -> Reply:
        """:meth:`resume`, async."""
        reply: Reply | None = None
        async for part in bridge.relay(self._resumed(thread, answer)):
            reply = part.data.get("reply", reply)
        return _some(reply)

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
        """Write what is queued and close files and connections. Embedded servers stay up."""
        if self._closed:
            return
        self._closed = True
        try:
            bridge.run(self._stop())
        finally:
            self._file.close()
            self._recorder.close()

    async def _start(self) -> None:
        await self._file.run(lambda db: None)
        self._saver = await self._resources.enter_async_context(open_saver(self._path))
        graph = build_assistant(self.client, recorder=self._recorder, transcript=self.transcript)
        self._graph = graph.compile(checkpointer=self._saver, name="rolecall")

    async def _stop(self) -> None:
        await self.client.aclose()
        await self._resources.aclose()

    # --- one turn -----------------------------------------------------------------------------

    async def _asked(
        self, question: str, thread: str | None, role: str | None
    ) -> AsyncIterator[Part]:
        settings = self.stack.settings.turn
        self.check(question, thread, role)
        thread_id = thread or f"t-{secrets.token_hex(4)}"
        async with thread_lock(self._locks, thread_id, settings.wait_for_thread_s):
            turn = await self.transcript.accept(
                thread_id, uuid.uuid4().hex, uuid.uuid4().hex, question, role
            )
            async for part in self._open_run.run(turn, _first_input(turn)):
                yield part

    async def _resumed(self, thread: str, answer: str | None) -> AsyncIterator[Part]:
        thread_id = check_thread_id(thread)
        if not await self.transcript.exists(thread_id):
            raise unknown_thread(thread_id)
        wait_s = self.stack.settings.turn.wait_for_thread_s
        async with thread_lock(self._locks, thread_id, wait_s):
            turn = await self.transcript.unfinished(thread_id)
            if turn is None:
                raise UsageError(
                    f"thread {thread_id} has no unfinished turn. "
                    f'Go on with: rolecall ask "…" --thread {thread_id}'
                )
            async for part in self._open_run.run(turn, await self._input_to_resume(turn, answer)):
                yield part

    async def _input_to_resume(self, turn: Accepted, answer: str | None) -> Any:
        """``None`` goes on from the saved step; a turn that saved none starts again."""
        saved = await self._open_saver.aget_tuple(thread_config(turn.thread_id))
        if saved is None or not _is_of(turn.turn_id, turn_of(saved.checkpoint)):
            return _first_input(turn)
        missing = set(next_of(saved.checkpoint)) - {"__start__", *self._compiled.nodes}
        if missing:
            raise UsageError(
                f"thread {turn.thread_id} stopped at {', '.join(sorted(missing))}, a role that "
                f"stack {self.stack.name} does not have. Resume it with --stack."
            )
        waiting = await waiting_on(self._compiled, turn.thread_id)
        if waiting is not None and answer is None:
            raise UsageError(
                f"the turn waits for an answer: {waiting.value}\n"
                f'Give it with: rolecall resume {turn.thread_id} --answer "…"'
            )
        return Command(resume={waiting.id: answer}) if waiting is not None else None

    @property
    def _open_run(self) -> TurnRun:
        return TurnRun(self._compiled, self.stack, self.transcript, self._recorder)

    @property
    def _compiled(self) -> CompiledStateGraph[Any, Any, Any, Any]:
        if self._graph is None:
            raise RuntimeError("use Assistant.open(), which also opens the threads")
        return self._graph

    @property
    def _open_saver(self) -> AsyncSqliteSaver:
        if self._saver is None:
            raise RuntimeError("use Assistant.open(), which also opens the threads")
        return self._saver

    # --- threads ------------------------------------------------------------------------------

    async def _forked(self, thread: str, step: str | None, new: str | None) -> str:
        source = check_thread_id(thread)
        target = check_thread_id(new) if new else f"t-{secrets.token_hex(4)}"
        if not await self.transcript.exists(source):
            raise unknown_thread(source)
        if await self.transcript.exists(target):
            raise UsageError(f"thread {target} exists already; a fork is a new thread")
        found = await find_step(self._open_saver, source, step)
        await copy_step(self._open_saver, found, target)
        state = await self._compiled.aget_state(thread_config(target))
        await self.transcript.fork(
            source,
            target,
            found.checkpoint["id"],
            turn_of(found.checkpoint),
            uuid.uuid4().hex,
            unanswered=bool(state.next),
        )
        return target

    async def _steps(self, thread: str, limit: int, before: str | None) -> list[dict[str, Any]]:
        thread_id = check_thread_id(thread)
        if not await self.transcript.exists(thread_id):
            raise unknown_thread(thread_id)
        cursor = thread_config(thread_id, checkpoint_id=before) if before else None
        return [
            {
                "step": found.metadata.get("step"),
                "checkpoint_id": found.checkpoint["id"],
                "at": found.checkpoint["ts"],
                "source": found.metadata.get("source"),
                "turn_id": turn_of(found.checkpoint),
                "next": next_of(found.checkpoint),
            }
            async for found in self._open_saver.alist(
                thread_config(thread_id), before=cursor, limit=limit
            )
        ]

    async def _deleted(self, thread: str) -> None:
        thread_id = check_thread_id(thread)
        if not await self.transcript.exists(thread_id):
            raise unknown_thread(thread_id)
        async with thread_lock(self._locks, thread_id, 0.0):
            await self._open_saver.adelete_thread(thread_id)
            await self.transcript.delete(thread_id)


def _first_input(turn: Accepted) -> dict[str, Any]:
    # the message's id is the turn's: a turn that starts again does not ask twice
    message = HumanMessage(turn.question, id=question_id(turn.turn_id))
    return {"messages": [message], "role": turn.requested_role}


def _is_of(turn_id: str, saved: str | None) -> bool:
    """Whether a checkpoint is a turn's own, or of the turn that this one was forked from."""
    return saved is not None and (turn_id == saved or turn_id.startswith(f"{saved}."))


def _reply(parts: Iterator[Part]) -> Reply:
    reply: Reply | None = None
    for part in parts:
        reply = part.data.get("reply", reply)
    return _some(reply)


def _some(reply: Reply | None) -> Reply:
    if reply is None:
        raise RuntimeError("the run ended without a reply")
    return reply
