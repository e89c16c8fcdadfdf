"""Replays many threads; each result is kept before the next turn is asked."""

from __future__ import annotations

from rolecall.config.schema import Stack
from rolecall.errors import ConfigError, RolecallError, UndecodableState, UnknownThread, UsageError
from rolecall.progress import Progress, SilentProgress
from rolecall.replay.comparison import UNREACHABLE
from rolecall.replay.opening import open_session
from rolecall.replay.originals import left_out, name_of, one_original
from rolecall.replay.plan import digest_of, plan_of
from rolecall.replay.regression import Regression
from rolecall.replay.session import Session
from rolecall.replay.store import Place, ReplayStore, alone, open_store
from rolecall.replay.thread import Failures
from rolecall.telemetry.stats import first_day


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
    with alone():
        async with open_session(stack, kept=False, progress=progress) as session:
            digest = digest_of(stack, all_turns, since, limit)  # not the day: it passes
            store = open_store()
            try:
                begun = None if fresh else await store.unfinished(digest)
                if begun is None:
                    plan = await plan_of(session.opened.transcript, all_turns, day, limit)
                    run, done = await store.begin(digest, stack.name, plan), set[Place]()
                else:
                    run, plan = begun
                    done = await store.done(run)
                    await store.end(run, "running")
                places: list[Place] = [(thread, number) for thread, number in plan["turns"]]
                left = [place for place in places if place not in done]
                label = f"Replaying on {stack.name}"
                with progress.step(label, len(places), len(done), "turns") as advance:
                    problem = None
                    failures = Failures()
                    for place in left:
                        exit_code, why = await _replayed(session, store, run, place)
                        if failures.gone(exit_code):
                            problem = why
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
) -> tuple[int | None, str | None]:
    """Replay a turn and keep what came of it.

    Returns:
        The exit code and what went wrong; without a code, where the turn was left out.
    """
    name = name_of(*place)
    try:
        original = await one_original(session.opened, *place)
        await session.ready(original)
        comparison = await session.replay(original)
    except UnknownThread:
        await store.leave_out(run, place, f"{name} is gone")
        return None, None
    except (UsageError, UndecodableState) as error:
        await store.leave_out(run, place, left_out(name, error))
        return None, None
    except RolecallError as error:
        if error.exit_code not in {UNREACHABLE, ConfigError.exit_code}:
            raise
        await store.fail(run, place, left_out(name, error), error.exit_code)
        return error.exit_code, str(error)
    await store.keep(run, comparison)
    return comparison.replay.exit_code, comparison.replay.error
