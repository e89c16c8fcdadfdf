"""Which turns a replay of all threads asks, and when two commands ask the same."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rolecall import __version__
from rolecall.config.schema import ENCODING, Stack
from rolecall.errors import UsageError
from rolecall.home import home
from rolecall.replay.store import Place
from rolecall.routing.encoder.versions import current_mark, current_name
from rolecall.threads.thread_id import is_replay
from rolecall.threads.transcript import Transcript

_PAGE = 200


async def plan_of(
    transcript: Transcript, all_turns: bool, day: str | None, limit: int | None
) -> dict[str, Any]:
    """The turns to replay, of the last used threads first, and what is left out.

    A turn that several threads hold, because they were forked after it, is replayed in one.

    Raises:
        UsageError: there is none.
    """
    turns: list[Place] = []
    left_out: list[str] = []
    planned: set[str] = set()
    threads = offset = 0
    while limit is None or threads < limit:
        page = await transcript.threads(_PAGE, offset)
        for row in page:
            if is_replay(row) or (limit is not None and threads >= limit):
                continue
            thread_id = row["thread_id"]
            found, unfinished = await _turns_of(transcript, thread_id, day)
            if unfinished:
                left_out.append(f"thread {thread_id}: {_turns(unfinished)} without an answer")
            wanted = found if all_turns else found[-1:]
            own = [(number, origin) for number, origin in wanted if origin not in planned]
            if copies := len(wanted) - len(own):
                left_out.append(f"thread {thread_id}: {_turns(copies)} that another has too")
            if own:
                threads += 1
                turns += [(thread_id, number) for number, _ in own]
                planned |= {origin for _, origin in own}
        offset += len(page)
        if len(page) < _PAGE:
            break
    if not turns:
        since = f" since {day}" if day else ""
        raise UsageError(f"there are no answered turns{since} to replay; rolecall threads list")
    return {"turns": turns, "left_out": left_out}


async def _turns_of(
    transcript: Transcript, thread_id: str, day: str | None
) -> tuple[list[tuple[int, str]], int]:
    """The answered turns, each with the id of the one that it was copied from; how many have none.

    A copied turn's id is the origin's and, behind a dot, the thread's.
    """
    found: list[tuple[int, str]] = []
    unfinished = 0
    async for row in transcript.each_turn(thread_id):
        asked = datetime.fromtimestamp(row["created_at"] or 0.0, UTC).date().isoformat()
        if day is not None and asked < day:
            continue
        if row["status"] == "done":
            found.append((row["number"], row["turn_id"].partition(".")[0]))
        else:
            unfinished += 1
    return found, unfinished


def digest_of(stack: Stack, *asked: Any) -> str:
    """Equal for two commands that ask the same of the same models, tools and router."""
    settings = stack.settings
    seen = {
        "stack": stack.name,
        "models": {
            role: [spec.model_dump(mode="json") for spec in specs]
            for role, specs in stack.models.items()
        },
        "roles": {
            name: [role.prompt, role.description, role.examples, role.fallback]
            for name, role in stack.roles.items()
        },
        "settings": settings.model_dump(mode="json", exclude={"telemetry"}),
        "workspace": str(Path(settings.workspace).expanduser().resolve()),
        "tools": _tool_files(settings.tools_folder),
        "router": (
            [current_name(), current_mark()] if settings.routing.strategy in ENCODING else None
        ),
        "asked": asked,
        "version": __version__,
    }
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()[:16]


def _tool_files(named: str | None) -> dict[str, str]:
    """The user's tool files by name, each with a digest of what is in it."""
    folder = Path(named).expanduser() if named else home() / "tools"
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("*.py"))
        if path.is_file()
    }


def _turns(n: int) -> str:
    return f"{n} turn{'s' if n != 1 else ''}"
