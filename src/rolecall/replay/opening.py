"""Opens a session: this home's threads, and the graph of another stack with guarded tools."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rolecall.after_turn import AfterTurns
from rolecall.config.schema import Stack
from rolecall.database import DatabaseFile
from rolecall.graphs.assistant import build_assistant, tools_of
from rolecall.home import folder
from rolecall.memory.history import ThreadHistory
from rolecall.memory.open import open_memory
from rolecall.models.client import LocalLLMClient
from rolecall.opened import Opened
from rolecall.progress import Progress
from rolecall.replay.recorded import RecordedCalls
from rolecall.replay.session import Session, Tap
from rolecall.telemetry.open import open_file, open_recorder
from rolecall.telemetry.recorder import NoRecorder
from rolecall.telemetry.traces import Traces
from rolecall.threads.checkpoints import make_saver
from rolecall.threads.journal import Journal
from rolecall.threads.schema import migrations
from rolecall.threads.transcript import Transcript
from rolecall.turns import Turns


@asynccontextmanager
async def open_session(
    stack: Stack, *, kept: bool, progress: Progress | None = None
) -> AsyncIterator[Session]:
    """A session on this home's threads.

    Nothing follows its turns: no summary is written, no step is pruned. Replays that are not kept
    leave no trace in telemetry either.

    Raises:
        StateError: this home's threads cannot be opened.
        ConfigError: the stack's graph or tools cannot be built.
    """
    file, traced = DatabaseFile(folder() / "threads.db", migrations), open_file()
    client = LocalLLMClient(stack, progress=progress)
    recorder = open_recorder(stack.settings.telemetry) if kept else None
    try:
        await file.run(lambda db: None)
        tap, calls = Tap(recorder or NoRecorder()), RecordedCalls()
        saver, journal, transcript = make_saver(file), Journal(file), Transcript(file)
        # other threads hold what is replayed: their answers must not be recalled
        tools = tools_of(stack.settings, ThreadHistory(file, all_threads=False))
        graph = build_assistant(
            client,
            tools=calls.guarded(tools),
            recorder=tap,
            transcript=transcript,
            journal=journal,
            notebook=open_memory(client, file, tap).summariser,
        )
        opened = Opened(
            stack=stack,
            graph=graph.compile(checkpointer=saver, name="rolecall"),
            saver=saver,
            transcript=transcript,
            journal=journal,
            recorder=tap,
            locks=folder("locks"),
        )
        turns = Turns(opened, AfterTurns([], tap))
        session = Session(turns, client, file, Traces(traced), calls, tap, kept=kept)
        await session.sweep()
        try:
            yield session
        finally:
            await turns.close()
    finally:
        await client.aclose()
        file.close()
        traced.close()
        if recorder is not None:
            recorder.close()
