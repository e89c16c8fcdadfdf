"""Replays a turn of a thread, or all from one on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rolecall.config.schema import Stack
from rolecall.errors import NoModelReachable, RolecallError, UsageError
from rolecall.progress import Progress, SilentProgress
from rolecall.replay.comparison import Comparison
from rolecall.replay.opening import open_session
from rolecall.replay.originals import Original, check_roles, originals
from rolecall.replay.session import Session

_FAILURES = 3  # in a row, after which the endpoints count as gone
UNREACHABLE = NoModelReachable.exit_code


@dataclass
class Replayed:
    """What came of replaying a thread.

    Attributes:
        comparisons: one per turn, oldest first.
        left_out: what was not replayed, with reasons.
    """

    comparisons: list[Comparison] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


class Failures:
    """Counts the replays in a row that reached no model."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def gone(self, comparison: Comparison) -> bool:
        """Whether with this one the endpoints count as gone."""
        unreachable = comparison.replay.exit_code == UNREACHABLE
        self._in_a_row = self._in_a_row + 1 if unreachable else 0
        return self._in_a_row >= _FAILURES


async def replay_thread(
    thread: str,
    stack: Stack,
    *,
    at: str | None = None,
    all_turns: bool = False,
    own_history: bool = False,
    keep: bool | None = None,
    progress: Progress | None = None,
) -> Replayed:
    """Replay a thread; see :func:`rolecall.replay.replay`."""
    if own_history and not all_turns:
        raise UsageError("a history of its own is for several turns: add --all-turns")
    progress = progress or SilentProgress()
    kept = (own_history or not all_turns) if keep is None else keep
    async with open_session(stack, kept=kept, progress=progress) as session:
        found, left_out = await originals(session.opened, thread, at, all_turns=all_turns)
        replayed = Replayed(left_out=left_out)
        await session.ready(found[0])
        label = f"Replaying {thread} on {stack.name}"
        with progress.step(label, total=len(found), unit="turns") as advance:
            replays = _continued if own_history else _apart
            await replays(session, found, replayed, advance)
    return replayed


async def _apart(
    session: Session, found: list[Original], replayed: Replayed, advance: Callable[[int], None]
) -> None:
    """Each turn in a fork of its own: with the history that the original had."""
    failures = Failures()
    for place, original in enumerate(found):
        try:
            await session.ready(original)
            comparison = await session.replay(original)
        except RolecallError as error:
            if len(found) == 1 or error.exit_code not in {UNREACHABLE, UsageError.exit_code}:
                raise
            replayed.left_out.append(str(error))
            if error.exit_code == UNREACHABLE:
                return _rest(found[place + 1 :], replayed)
        else:
            replayed.comparisons.append(comparison)
            if failures.gone(comparison):
                return _rest(found[place + 1 :], replayed)
        advance(1)
    return None


async def _continued(
    session: Session, found: list[Original], replayed: Replayed, advance: Callable[[int], None]
) -> None:
    """All turns in one fork: from the second on, with the replay's own history."""
    for original in found:
        check_roles(session.opened, original)
    target = session.new_thread()
    stays = False
    try:
        await session.copy(found[0], target)
        for place, original in enumerate(found):
            await session.ready(original)
            comparison = await session.run(original, target)
            replayed.comparisons.append(comparison)
            if comparison.failed:
                return _rest(found[place + 1 :], replayed)
            stays = session.kept
            advance(1)
    finally:
        if not stays:
            await asyncio.shield(session.forget(target))
            replayed.comparisons = [replace(c, replay_thread=None) for c in replayed.comparisons]
    return None


def _rest(left: list[Original], replayed: Replayed) -> None:
    if left:
        numbers = f"{left[0].row['number']} to {left[-1].row['number']}"
        replayed.left_out.append(f"turns {numbers}: not asked after that")
