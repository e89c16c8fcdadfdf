"""How much of a difference between two models is the models', and how much Rolecall's.

Where both were also asked bare: the difference in the assistant is that of the bare models plus
what Rolecall adds to the second more than to the first. Each is a mean over the same cases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from rolecall.bench.figures import difference_interval

Row = Mapping[str, Any]


def attribute(first: Sequence[Row], second: Sequence[Row]) -> list[dict[str, Any]]:
    """One line per suite in which both subjects were asked in both ways.

    Args:
        first, second: all rows of a subject, both ways.

    Returns:
        ``suite, pairs, difference, of_model, of_orchestration`` (they add up) and the intervals of
        the last two: ``model_interval, orchestration_interval``.
    """
    lines: list[dict[str, Any]] = []
    for suite in dict.fromkeys(row["suite"] for row in first):
        cells = [
            {row["case_digest"]: row["score"] for row in rows if _counts(row, suite, arm)}
            for rows in (first, second)
            for arm in ("bare", "rolecall")
        ]
        cases = [digest for digest in cells[0] if all(digest in cell for cell in cells)]
        if not cases:
            continue
        bare_1, whole_1, bare_2, whole_2 = ([cell[case] for case in cases] for cell in cells)
        added_1 = [whole - bare for whole, bare in zip(whole_1, bare_1, strict=True)]
        added_2 = [whole - bare for whole, bare in zip(whole_2, bare_2, strict=True)]
        lines.append(
            {
                "suite": suite,
                "pairs": len(cases),
                "difference": mean(whole_2) - mean(whole_1),
                "of_model": mean(bare_2) - mean(bare_1),
                "of_orchestration": mean(added_2) - mean(added_1),
                "model_interval": difference_interval(bare_1, bare_2),
                "orchestration_interval": difference_interval(added_1, added_2),
            }
        )
    return lines


def _counts(row: Row, suite: str, arm: str) -> bool:
    return row["suite"] == suite and row["arm"] == arm and row["score"] is not None
