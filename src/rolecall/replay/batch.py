"""Replays many threads; each result is kept before the next turn is asked."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from rolecall import __version__
from rolecall.config.schema import Stack
from rolecall.errors import RolecallError, UndecodableState, UnknownThread, UsageError
from rolecall.progress import Progress, SilentProgress
from rolecall.replay.comparison import Comparison
from rolecall.replay.opening import open_session
from rolecall.replay.originals import one_original
from rolecall.replay.regression import Regression
from rolecall.replay.session import Session
from rolecall.replay.store import Place, ReplayStore, open_store
from rolecall.replay.thread import UNREACHABLE, Failures
from rolecall.telemetry.stats import first_day
from rolecall.threads.thread_id import is_replay
from rolecall.threads.transcript import Transcript

_PAGE = 200


async def replay_threads(
    stack: Stack,
    *,
    all_turns: bool = False,
    since: str | None = None,
    limit: int | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Regression:
    """Replay the threads of this home; see :func:`rolecall.replay.replay_all`."""
    progress = progress or SilentProgress()
    day = first_day(since)
    digest = _digest(stack, all_turns, day, limit)
    async with open_session(stack, kept=False, progress=progress) as session:
        store = open_store()
        try:
            begun = None if fresh else await store.unfinished(digest)
            if begun is None:
                plan = await _plan(session.opened.transcript, all_turns, day, limit)
                run, done = await store.begin(digest, stack.name, plan), set[Place]()
            else:
                run, plan = begun
                done = await store.done(run)
                await store.end(run, "running")
            places: list[Place] = [(thread, number) for thread, number in plan["turns"]]
            left = [place for place in places if place not in done]
            label = f"Replaying on {stack.name}"
            with progress.step(label, len(places), len(places) - len(left), "turns") as advance:
                problem = None
                failures = Failures()
                for place in left:
                    try:
                        comparison = await _replayed(session, store, run, place)
                    except RolecallError as error:
                        if error.exit_code != UNREACHABLE:
                            raise
                        problem = str(error)
                        break
                    if comparison is not None and failures.gone(comparison):
                        problem = comparison.replay.error
                        break
                    advance(1)
            found = await store.run(run)
            failed = any(result["status"] == "error" for result in found["results"])
            status = "partial" if problem or failed else "done"
            await store.end(run, status)
        finally:
            store.close()
    regression = Regression.of({**found, "status": status}, resumed=len(done))
    if problem:
        regression.left_out.append(f"no model could be asked on: {problem}")
    return regression


async def _replayed(
    session: Session, store: ReplayStore, run: int, place: Place
) -> Comparison | None:
    """Replay a turn and keep the result; ``None`` where it was left out."""
    try:
        original = await one_original(session.opened, *place)
        await session.ready(original)
        comparison = await session.replay(original)
    except UnknownThread:
        await store.leave_out(run, place, f"turn {place[1]} of thread {place[0]} is gone")
        return None
    except (UsageError, UndecodableState) as error:
        await store.leave_out(run, place, str(error))
        return None
    await store.keep(run, comparison)
    return comparison


async def _plan(
    transcript: Transcript, all_turns: bool, day: str | None, limit: int | None
) -> dict[str, Any]:
    """The turns to replay, of the last used threads first, and what is left out.

    Raises:
        UsageError: there is none.
    """
    turns: list[Place] = []
    left_out: list[str] = []
    threads = offset = 0
    while limit is None or threads < limit:
        page = await transcript.threads(_PAGE, offset)
        for row in page:
            if is_replay(row) or (limit is not None and threads >= limit):
                continue
            found, unfinished = await _turns_of(transcript, row["thread_id"], day)
            if unfinished:
                left_out.append(f"thread {row['thread_id']}: {unfinished} turns without an answer")
            if found:
                threads += 1
                turns += found if all_turns else found[-1:]
        offset += len(page)
        if len(page) < _PAGE:
            break
    if not turns:
        since = f" since {day}" if day else ""
        raise UsageError(f"there are no answered turns{since} to replay; rolecall threads list")
    return {"turns": turns, "left_out": left_out}


async def _turns_of(
    transcript: Transcript, thread_id: str, day: str | None
) -> tuple[list[Place], int]:
    found: list[Place] = []
    unfinished = 0
    async for row in transcript.each_turn(thread_id):
        asked = datetime.fromtimestamp(row["created_at"] or 0.0, UTC).date().isoformat()
        if day is not None and asked < day:
            continue
        if row["status"] == "done":
            found.append((thread_id, row["number"]))
        else:
            unfinished += 1
    return found, unfinished


def _digest(stack: Stack, *asked: Any) -> str:
    """Equal for two commands that ask the same of the same models."""
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
        "settings": stack.settings.model_dump(mode="json", exclude={"telemetry"}),
        "asked": asked,
        "version": __version__,
    }
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()[:16]
