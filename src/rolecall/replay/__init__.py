"""Counterfactual replay: turns of the past, asked again on another stack, side by side.

    from rolecall.replay import replay

    for comparison in replay("t1", "all-qwen", all_turns=True):
        print(comparison.turn, comparison.original.route, comparison.replay.route,
              comparison.same_answer, comparison.similarity)

The original is only read. A tool that is not safe to repeat is not called: the original turn's
result is given for the same arguments, and for others the model is told that there is none.
"""

from __future__ import annotations

from pathlib import Path

from rolecall import bridge
from rolecall.config.load import load_stack
from rolecall.config.schema import Stack
from rolecall.progress import Progress
from rolecall.replay.batch import replay_threads
from rolecall.replay.comparison import Comparison, Side, ToolUse
from rolecall.replay.regression import Regression
from rolecall.replay.thread import replay_thread

__all__ = [
    "Comparison",
    "Regression",
    "Side",
    "ToolUse",
    "areplay",
    "areplay_all",
    "replay",
    "replay_all",
]


def replay(
    thread: str,
    stack: str | Path | Stack | None = None,
    *,
    at: str | int | None = None,
    all_turns: bool = False,
    own_history: bool = False,
    keep: bool | None = None,
    progress: Progress | None = None,
) -> list[Comparison]:
    """Ask a turn of a thread again on another stack.

    Args:
        thread: the thread; it is not touched.
        stack: a name, a file or a loaded stack; ``None`` takes the active one.
        at: a step number or checkpoint id. A step inside a turn: it runs on from there, with what
            was decided before. One at a turn's beginning or end: the whole turn. ``None``: the
            last turn, or all from the first.
        all_turns: that turn and every one after it.
        own_history: with ``all_turns``: each turn follows the replay's own answers. Without, each
            gets the history that the original had.
        keep: whether the forks stay as threads (``replay-…``, listed as replays) with their
            traces. ``None`` keeps those that can be gone on with: of a single turn, or of a
            history of its own.
        progress: shows the turns, downloads and the start of embedded models.

    Returns:
        One comparison per turn, oldest first. A replay that got no answer says why in
        ``replay.error``. With ``all_turns``, turns that cannot be replayed are left out.

    Raises:
        UnknownThread, UsageError: there is no such thread or step, the turn has no answer to
            compare with, or the stack lacks a role that it needs.
        ConfigError: the stack cannot be loaded.
        StateError: threads cannot be read, or what replays need cannot be saved.
    """
    return bridge.run(
        areplay(
            thread,
            stack,
            at=at,
            all_turns=all_turns,
            own_history=own_history,
            keep=keep,
            progress=progress,
        )
    )


async def areplay(
    thread: str,
    stack: str | Path | Stack | None = None,
    *,
    at: str | int | None = None,
    all_turns: bool = False,
    own_history: bool = False,
    keep: bool | None = None,
    progress: Progress | None = None,
) -> list[Comparison]:
    """:func:`replay`, async."""
    loaded = stack if isinstance(stack, Stack) else load_stack(stack)
    replayed = await bridge.arun(
        replay_thread(
            thread,
            loaded,
            at=None if at is None else str(at),
            all_turns=all_turns,
            own_history=own_history,
            keep=keep,
            progress=progress,
        )
    )
    return replayed.comparisons


def replay_all(
    stack: str | Path | Stack | None = None,
    *,
    all_turns: bool = False,
    since: str | None = None,
    limit: int | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Regression:
    """Replay the threads of this home and say what a stack changes.

    Each result is kept in ``replays.db`` before the next turn is asked: the same call goes on
    with a run that was stopped, and asks again where no model was reached. The forks are not kept.

    Args:
        stack: a name, a file or a loaded stack; ``None`` takes the active one.
        all_turns: every turn of each thread; without, the last that was answered.
        since: only turns from ``7d`` (today included) or a date on; days are UTC.
        limit: at most so many threads, the last used ones.
        fresh: begin anew, also where a run was stopped.
        progress: shows the turns.

    Raises:
        UsageError: ``since`` is no day, or there is nothing to replay.
        ConfigError: the stack cannot be loaded.
        StateError: threads cannot be read, or a result cannot be kept.
        ReplayBusy: another replay of all threads is running.
    """
    return bridge.run(
        areplay_all(
            stack, all_turns=all_turns, since=since, limit=limit, fresh=fresh, progress=progress
        )
    )


async def areplay_all(
    stack: str | Path | Stack | None = None,
    *,
    all_turns: bool = False,
    since: str | None = None,
    limit: int | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Regression:
    """:func:`replay_all`, async."""
    loaded = stack if isinstance(stack, Stack) else load_stack(stack)
    return await bridge.arun(
        replay_threads(
            loaded, all_turns=all_turns, since=since, limit=limit, fresh=fresh, progress=progress
        )
    )
