"""Whether a run gave the same as an earlier run of the same plan.

Seed and temperature are fixed, so a difference is the runner's (or a time limit's): runners may
add numbers in another order when requests share a batch or part of a prompt is in their cache.
"""

from __future__ import annotations

from typing import Any

from rolecall.bench.store import BenchStore


def repeat_of(store: BenchStore, run: int) -> dict[str, Any] | None:
    """A run beside the newest finished run of the same plan before it; ``None`` without one,
    or while it has answered nothing.

    Returns:
        ``run`` (the earlier one), ``pairs`` (cases that both answered), ``identical`` (answers that
        are equal, letter by letter), ``same_score``, and ``different``: ``stack, role, model, arm,
        suite, case_id, first_score, second_score`` of the others.
    """
    earlier = store.same_plan_before(run)
    if earlier is None:
        return None
    before = {_key(row): row for row in store.results(earlier) if row["status"] != "error"}
    pairs = [
        (before[_key(row)], row)
        for row in store.results(run)
        if row["status"] != "error" and _key(row) in before
    ]
    if not pairs:
        return None
    names = ("stack", "role", "model", "arm", "suite", "case_id")
    return {
        "run": earlier,
        "pairs": len(pairs),
        "identical": sum(a["answer"] == b["answer"] for a, b in pairs),
        "same_score": sum(a["score"] == b["score"] for a, b in pairs),
        "different": [
            {
                **{name: b[name] for name in names},
                "first_score": a["score"],
                "second_score": b["score"],
            }
            for a, b in pairs
            if (a["answer"], a["score"]) != (b["answer"], b["score"])
        ],
    }


def _key(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["subject"], row["suite"], row["case_digest"]
