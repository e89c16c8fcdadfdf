"""The memory of a home's threads, opened for one assistant."""

from __future__ import annotations

from dataclasses import dataclass

from rolecall.database import DatabaseFile
from rolecall.memory.history import ThreadHistory
from rolecall.memory.store import SummaryStore
from rolecall.memory.summariser import Summariser
from rolecall.models.client import LocalLLMClient
from rolecall.models.text.redaction import Redactor
from rolecall.telemetry.recorder import Recorder
from rolecall.threads.transcript import Transcript


@dataclass(frozen=True)
class Memory:
    """What the graph is given to remember with.

    Attributes:
        summariser: writes prose after turns, and finds it again.
        history: the whole of what was said, searchable.
    """

    summariser: Summariser
    history: ThreadHistory


def open_memory(client: LocalLLMClient, file: DatabaseFile, recorder: Recorder) -> Memory:
    """The memory on ``threads.db``; nothing is read yet."""
    settings = client.stack.settings
    filters = settings.filters
    wanted = filters.redact_secrets or filters.patterns
    redactor = Redactor(filters.patterns, secrets=filters.redact_secrets) if wanted else None
    summariser = Summariser(
        client,
        Transcript(file),
        SummaryStore(file),
        recorder,
        str if redactor is None else redactor.redact,
    )
    return Memory(summariser, ThreadHistory(file, settings.memory.recall_all_threads))
