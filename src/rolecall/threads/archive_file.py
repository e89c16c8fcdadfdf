"""Reads an archive of threads record by record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rolecall.database_errors import file_error
from rolecall.errors import StateError, UsageError
from rolecall.schema_version import newer_state
from rolecall.threads.archive import FORMAT, VERSION, Record


def records(path: Path) -> Iterator[tuple[int, Record]]:
    """The records of a file after its first, with their line numbers.

    Raises:
        UsageError: there is no such file.
        NewerState, StateError: it is of a newer version, or no archive.
    """
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                try:
                    record = json.loads(raw)
                except (ValueError, RecursionError) as error:
                    if number == 1:
                        raise _no_archive(path) from error
                    raise wrong(path, number, "this is not JSON") from error
                if not isinstance(record, dict):
                    raise (
                        wrong(path, number, "this is no record")
                        if number > 1
                        else _no_archive(path)
                    )
                if number > 1:
                    yield number, record
                elif record.get("format") != FORMAT:
                    raise _no_archive(path)
                elif record.get("version") != VERSION:
                    raise newer_state(f"{path} is an archive of version {record.get('version')}")
            if path.stat().st_size == 0:
                raise _no_archive(path)
    except FileNotFoundError as error:
        raise UsageError(f"there is no file {path}") from error
    except OSError as error:
        raise file_error("read", path, error) from error


def of_thread(path: Path, thread_id: str) -> Iterator[Record]:
    """The records of one thread in a file that was checked."""
    inside = False
    for _, record in records(path):
        if record["kind"] == "thread":
            inside = record["thread_id"] == thread_id
        if inside:
            yield record


def _no_archive(path: Path) -> StateError:
    return StateError(
        f"{path} is no archive of threads. One is made by: rolecall threads export ID "
        "--format jsonl --output FILE"
    )


def wrong(path: Path, number: int, problem: str) -> StateError:
    """The error for a line that does not belong there."""
    return StateError(f"{path}, line {number}: {problem}. Nothing was imported.")
