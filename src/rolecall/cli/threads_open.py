"""Opens this home's threads for commands that ask no model: no stack is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rolecall.database import DatabaseFile
from rolecall.home import folder
from rolecall.threads.checkpoints import make_saver
from rolecall.threads.saver import ThreadSaver
from rolecall.threads.schema import migrations
from rolecall.threads.transcript import Transcript


@dataclass(frozen=True)
class OpenThreads:
    """The parts of ``threads.db``."""

    file: DatabaseFile
    saver: ThreadSaver
    transcript: Transcript
    locks: Path


@contextmanager
def open_threads() -> Iterator[OpenThreads]:
    """This home's threads.

    Raises:
        StateError: they cannot be opened.
    """
    file = DatabaseFile(folder() / "threads.db", migrations)
    try:
        file.submit(lambda db: None).result()
        yield OpenThreads(file, make_saver(file), Transcript(file), folder("locks"))
    finally:
        file.close()
