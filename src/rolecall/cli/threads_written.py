"""The forms in which ``threads export`` writes: piece by piece, however long a thread is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from rolecall.cli.threads_open import OpenThreads

Take = Callable[[str], Any]
_LISTS = ("turns", "steps", "rows")
_PLACES = {"turn": 1, "step": 2, "row": 3, "end_of_thread": 3}


async def in_markdown(
    threads: OpenThreads, names: AsyncIterator[str], take: Take, *, single: bool
) -> int:
    """Questions and answers, to read. Returns the number of turns."""
    from rolecall.cli.threads import when

    count = 0
    async for name in names:
        take(f"# Thread {name}\n")
        async for turn in threads.transcript.each_turn(name):
            count += 1
            take(f"\n## {turn['number']}. {when(turn['created_at'])}\n\n{turn['question']}\n")
            said = turn["answer"] or turn["error"] or ""
            take(f"\n**{turn['role'] or turn['status']}:**\n\n{said}\n")
        if not single:
            take("\n")
    return count


async def in_lines(
    threads: OpenThreads, names: AsyncIterator[str], take: Take, *, single: bool
) -> int:
    """All that is kept, one record a line, for ``threads import``. Returns the turns."""
    from rolecall.threads.archive import Exporter, line

    count = 0
    async for record in Exporter(threads.file, threads.saver).archive(names):
        count += record["kind"] == "turn"
        take(line(record) + "\n")
    return count


async def as_object(
    threads: OpenThreads, names: AsyncIterator[str], take: Take, *, single: bool
) -> int:
    """The same as one JSON object; of several threads, a list in one. Returns the turns."""
    from rolecall.threads.archive import Exporter

    exporter = Exporter(threads.file, threads.saver)
    count, first = 0, True
    take("" if single else '{"threads": [')
    async for name in names:
        take("" if first else ",\n")
        first, opened, between = False, 0, ""
        async for record in exporter.thread(name):
            kind = record.pop("kind")
            count += kind == "turn"
            if kind == "thread":
                take(f'{{"thread_id": {json.dumps(name)},\n"thread": {json.dumps(record)}')
                continue
            while opened < _PLACES[kind]:
                take(("]," if opened else ",") + f'\n"{_LISTS[opened]}": [')
                opened, between = opened + 1, ""
            if kind != "end_of_thread":
                take(between + "\n" + json.dumps(record, default=str))
                between = ","
        take("]}")
    take("\n" if single else "]}\n")
    return count
