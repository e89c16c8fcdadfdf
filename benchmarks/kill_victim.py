"""A process of ``kills``: goes on with two conversations until it is killed."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

_CONVERSATIONS = ("a", "b")
_TURNS_PER_THREAD = 12


def live(stack: str, ready: Event, last: bool) -> None:
    """Go on with both conversations until killed; the last process ends when all is finished."""
    from rolecall.assistant import Assistant

    with Assistant.open(stack) as assistant:
        ready.set()
        workers = [
            threading.Thread(target=_converse, args=(assistant, name, last))
            for name in _CONVERSATIONS
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()


def _converse(assistant: Any, name: str, last: bool) -> None:
    home = Path(os.environ["ROLECALL_HOME"])
    turns = turns_of(home, f"thread_id LIKE '{name}%'")
    thread, number, status = turns[-1] if turns else (f"{name}1", 0, "done")
    if status != "done":
        _finish(assistant, thread)
    while not last:
        number += 1
        if number > _TURNS_PER_THREAD:
            thread, number = f"{name}{int(thread[1:]) + 1}", 1
        question = f"Please pay, order and look: job {thread}n{number}"
        _note(assistant.stream(question, thread=thread))


def _finish(assistant: Any, thread: str) -> None:
    from rolecall.errors import UsageError

    try:
        reply = _note(assistant.stream_resume(thread))
    except UsageError:  # it has been waiting since before
        reply = _note(assistant.stream_resume(thread, "skip"))
    while reply.waiting_for is not None:
        reply = _note(assistant.stream_resume(thread, "skip"))


def _note(parts: Iterator[Any]) -> Any:
    reply = None
    for part in parts:
        reply = part.data.get("reply", reply)
        if part.type == "journaled":
            _append("journaled")
        elif part.type == "waiting":
            _append("asked")
    return reply


def _append(line: str) -> None:
    with (Path(os.environ["ROLECALL_HOME"]) / "notes").open("a") as file:
        file.write(f"{line}\n")


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    # read-only: a connection that may write would tidy up behind the dead process
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def turns_of(home: Path, where: str) -> list[tuple[str, int, str]]:
    """Thread, number and status of turns, oldest first."""
    path = home / "threads.db"
    if not path.exists():
        return []
    sql = f"SELECT thread_id, number, status FROM turns WHERE {where} ORDER BY rowid"
    try:
        return [(str(t), int(n), str(s)) for t, n, s in query(path, sql)]
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):  # killed before it was made
            return []
        raise
