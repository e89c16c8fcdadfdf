"""Replays a turn of a thread, or all from one on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rolecall.config.schema import Stack
from rolecall.errors import RolecallError, TurnInterrupted, UndecodableState, UsageError
from rolecall.progress import Progress, SilentProgress
from rolecall.replay.comparison import UNREACHABLE, Comparison
from rolecall.replay.opening import open_session
from rolecall.replay.originals import Original, check_roles, left_out, originals
from rolecall.replay.session import Session

_FAILURES = 3  # in a row, after which the endpoints count as gone
_OF_ONE_TURN = frozenset({UNREACHABLE, UsageError.exit_code})  # the others may do without it


@dataclass
class Replayed:
    """What came of replaying a thread.

    Attributes:
        comparisons: one per turn, oldest first.
        left_out: what was not replayed, with reasons.
        errors: the exit codes of errors in whose place there is no comparison.
    """

    comparisons: list[Comparison] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    errors: list[int] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """The worst of all turns: what the command line returns."""
        return max([*self.errors, *(one.replay.exit_code for one in self.comparisons)], default=0)

    def leave_out(self, original: Original, error: RolecallError) -> int | None:
        """Note why there is no comparison of a turn.

        Returns:
            The error's exit code; ``None`` where it is the turn's own, and nobody was asked.
        """
        self.left_out.append(left_out(original.name, error))
        if isinstance(error, UsageError | UndecodableState):
            return None
        self.errors.append(error.exit_code)
        return error.exit_code

    def rest(self, left: list[Original]) -> None:
        """Note which turns were not asked any more."""
        if left:
            numbers = f"{left[0].row['number']} to {left[-1].row['number']}"
            self.left_out.append(f"turns {numbers}: not asked after that")


class Failures:
    """Counts the replays in a row that reached no model."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def gone(self, exit_code: int | None) -> bool:
        """Whether with this one the endpoints count as gone; ``None`` asked nobody."""
        if exit_code is not None:
            self._in_a_row = self._in_a_row + 1 if exit_code == UNREACHABLE else 0
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
        found, without = await originals(session.opened, thread, at, all_turns=all_turns)
        replayed = Replayed(left_out=without)
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
    try:
        for place, original in enumerate(found):
            exit_code: int | None
            try:
                await session.ready(original)
                comparison = await session.replay(original)
            except RolecallError as error:
                if not _can_be_left_out(error, found, replayed):
                    raise
                exit_code = replayed.leave_out(original, error)
            else:
                replayed.comparisons.append(comparison)
                exit_code = comparison.replay.exit_code
            if failures.gone(exit_code):
                return replayed.rest(found[place + 1 :])
            advance(1)
    except BaseException:  # nobody will be told of the forks
        for one in replayed.comparisons:
            if one.replay_thread is not None:
                await asyncio.shield(session.forget(one.replay_thread))
        raise
    return None


def _can_be_left_out(error: RolecallError, found: list[Original], replayed: Replayed) -> bool:
    """Whether the other turns are worth more than the error; a mistake is told at once."""
    if len(found) == 1 or isinstance(error, TurnInterrupted):
        return False
    of_one_turn = isinstance(error, UndecodableState) or error.exit_code in _OF_ONE_TURN
    return of_one_turn or bool(replayed.comparisons)


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
            try:
                comparison = await session.run(original, target)
            except RolecallError as error:
                if isinstance(error, TurnInterrupted) or not replayed.comparisons:
                    raise
                replayed.leave_out(original, error)
                return replayed.rest(found[place + 1 :])
            stays = session.kept and (stays or not comparison.failed)
            replayed.comparisons.append(replace(comparison, replay_thread=target))
            if comparison.failed:
                return replayed.rest(found[place + 1 :])
            advance(1)
    except BaseException:  # nobody will be told of the fork
        stays = False
        raise
    finally:
        if not stays:
            await asyncio.shield(session.forget(target))
            replayed.comparisons = [replace(c, replay_thread=None) for c in replayed.comparisons]
    return None
