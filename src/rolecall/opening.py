"""Opens an assistant: this home's threads, the graph on them, and the work that follows turns."""

from __future__ import annotations

from functools import partial

from rolecall.after_turn import AfterTurn, AfterTurns
from rolecall.database import DatabaseFile
from rolecall.graphs.assistant import build_assistant
from rolecall.home import folder
from rolecall.memory.open import Memory, open_memory
from rolecall.models.client import LocalLLMClient
from rolecall.opened import Opened
from rolecall.telemetry.recorder import Recorder
from rolecall.threads.checkpoints import make_saver
from rolecall.threads.journal import Journal
from rolecall.threads.prune import prune_thread
from rolecall.threads.saver import ThreadSaver
from rolecall.threads.transcript import Accepted, Transcript
from rolecall.turns import Turns

_PRUNED_EVERY = 2  # turns: to look costs about a tenth of a turn


async def open_turns(
    client: LocalLLMClient, file: DatabaseFile, transcript: Transcript, recorder: Recorder
) -> Turns:
    """The turns of a client's stack on ``threads.db``.

    Raises:
        StateError: the file cannot be opened.
        ConfigError: the graph cannot be built.
    """
    await file.run(lambda db: None)
    saver, journal = make_saver(file), Journal(file)
    memory = open_memory(client, file, recorder)
    graph = build_assistant(
        client,
        recorder=recorder,
        transcript=transcript,
        journal=journal,
        notebook=memory.summariser,
        history=memory.history,
    )
    opened = Opened(
        stack=client.stack,
        graph=graph.compile(checkpointer=saver, name="rolecall"),
        saver=saver,
        transcript=transcript,
        journal=journal,
        recorder=recorder,
        locks=folder("locks"),
    )
    return Turns(opened, AfterTurns(_work_after_turns(opened, file, memory), recorder))


def _work_after_turns(opened: Opened, file: DatabaseFile, memory: Memory) -> list[AfterTurn]:
    """What is done when a turn's answer has been given."""
    settings = opened.stack.settings.memory
    prune = partial(_prune, file, opened.saver, settings.keep_steps_of_last_turns)
    work = [AfterTurn("prune", prune)]
    if settings.summary == "model":
        work.append(AfterTurn("summary", memory.summariser.work, gives_way=True))
    return work


async def _prune(file: DatabaseFile, saver: ThreadSaver, keep: int, turn: Accepted) -> None:
    if turn.number > keep and turn.number % _PRUNED_EVERY == 0:
        await prune_thread(file, saver, turn.thread_id, keep)
    else:
        await saver.aconvert_some()
