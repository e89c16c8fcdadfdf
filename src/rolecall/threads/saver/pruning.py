"""Pruning by turns: all steps of the last turns, one of each turn before.

Bounded: a call looks at some steps only, and where it stopped is kept with the line
(``pruned_to``), so that a long thread costs no more than a short one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol

from rolecall.sqlite import Database
from rolecall.threads.saver.encoding import readable_metadata
from rolecall.threads.saver.lines import line_id_of, span
from rolecall.threads.saver.removal import delete_line, delete_steps

DELTA = "counters_since_delta_snapshot"
"""In a step's metadata: a ``DeltaChannel`` of it is rebuilt from the steps before."""


@dataclass(frozen=True)
class Pruned:
    """What one call did: how many steps it looked at and removed, and whether more is to do."""

    looked_at: int = 0
    removed: int = 0
    more: bool = False


@dataclass(frozen=True)
class _Step:
    step_id: int
    checkpoint_id: str
    parent_id: str | None
    turn_id: str | None
    has_writes: bool
    has_delta: bool


def prune_turns(
    db: Database,
    serde: SerializerProtocol,
    thread_id: str,
    keep_turns: int,
    protected: set[str],
    limit: int,
) -> Pruned:
    """Remove steps of turns before the last ``keep_turns``. Within a transaction.

    Of such a turn these stay: its last step, steps that a fork points at, and steps that nothing
    followed and that have writes pending (a question that waits for its answer).

    Args:
        db: the database.
        serde: the saver's.
        thread_id: the thread.
        keep_turns: how many turns keep all their steps.
        protected: checkpoint ids that must stay.
        limit: how many steps to look at, about; a turn is looked at as a whole.
    """
    line_id = line_id_of(db, thread_id, "")
    if line_id is None:
        return Pruned()
    base, last = span(line_id)
    (pruned_to,) = db.execute(
        "SELECT pruned_to FROM saver_lines WHERE line_id = ?", [line_id]
    ).fetchone()
    border = _border(db, line_id, base + pruned_to, keep_turns)
    steps = _steps(db, base + pruned_to, border, limit)
    if not steps or any(step.has_delta for step in steps):
        return Pruned()
    parents = {step.parent_id for step in steps}
    following = db.execute(
        "SELECT parent_id FROM saver_steps WHERE step_id > ? AND step_id < ? LIMIT 1",
        [steps[-1].step_id, last],
    ).fetchone()
    parents.add(following[0] if following else None)
    lasts = {step.turn_id: step.step_id for step in steps}
    doomed = [
        step
        for step in steps
        if step.step_id != lasts[step.turn_id]
        and step.checkpoint_id not in protected
        and not (step.has_writes and step.checkpoint_id not in parents)
    ]
    delete_steps(db, serde, line_id, [step.step_id for step in doomed])
    for step in doomed:
        _delete_below(db, serde, step.checkpoint_id)
    db.execute(
        "UPDATE saver_lines SET pruned_to = ? WHERE line_id = ?",
        [steps[-1].step_id - base, line_id],
    )
    return Pruned(len(steps), len(doomed), len(steps) >= limit)


def has_more_turns(db: Database, thread_id: str, turns: int) -> bool:
    """Whether a thread has more than so many turns with all their steps."""
    line_id = line_id_of(db, thread_id, "")
    if line_id is None:
        return False
    row = db.execute("SELECT pruned_to FROM saver_lines WHERE line_id = ?", [line_id]).fetchone()
    after = span(line_id)[0] + int(row[0])
    return _border(db, line_id, after, turns) != after


def _border(db: Database, line_id: int, after: int, keep_turns: int) -> int:
    """The first step of the last ``keep_turns`` turns; ``after`` if there are not more."""
    _, last = span(line_id)
    seen: list[str | None] = []
    border = last
    for step_id, turn_id in db.execute(
        "SELECT step_id, turn_id FROM saver_steps WHERE step_id > ? AND step_id < ? "
        "ORDER BY step_id DESC",
        [after, last],
    ):
        if turn_id not in seen[-1:]:
            if len(seen) == keep_turns:
                return border
            seen.append(turn_id)
        border = step_id
    return after


def _steps(db: Database, after: int, border: int, limit: int) -> list[_Step]:
    """Whole turns: those that begin among the first ``limit`` steps."""
    found: list[_Step] = []
    for step in _each(db, after, border):
        if len(found) >= limit and step.turn_id != found[-1].turn_id:
            break
        found.append(step)
    return found


def _each(db: Database, after: int, border: int) -> Iterator[_Step]:
    rows: Any = db.execute(
        "SELECT step_id, checkpoint_id, parent_id, turn_id, EXISTS (SELECT 1 FROM saver_writes w "
        "WHERE w.line_id = s.line_id AND w.checkpoint_id = s.checkpoint_id), metadata "
        "FROM saver_steps s WHERE step_id > ? AND step_id < ? ORDER BY step_id",
        [after, border],
    )
    for step_id, checkpoint_id, parent_id, turn_id, has_writes, metadata in rows:
        yield _Step(
            step_id,
            checkpoint_id,
            parent_id,
            turn_id,
            bool(has_writes),
            DELTA in str(metadata) and DELTA in readable_metadata(metadata),
        )


def _delete_below(db: Database, serde: SerializerProtocol, root_id: str) -> None:
    """Delete the steps of subgraphs that ran in a step of the root."""
    lines: dict[int, list[int]] = {}
    for step_id, line_id in db.execute(
        "SELECT step_id, line_id FROM saver_steps WHERE root_id = ?", [root_id]
    ).fetchall():
        lines.setdefault(line_id, []).append(step_id)
    for line_id, step_ids in lines.items():
        delete_steps(db, serde, line_id, step_ids)
        left = db.execute(
            "SELECT 1 FROM saver_steps WHERE step_id > ? AND step_id < ? LIMIT 1", span(line_id)
        ).fetchone()
        if left is None:
            delete_line(db, line_id)
