"""What a stack changes over many turns, in figures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, median
from typing import Any, Self

from rolecall.bench.figures import mean_interval, ratio_interval
from rolecall.errors import ConfigError
from rolecall.replay.comparison import NOT_MADE, UNREACHABLE, Comparison

# what a result without a comparison returns
_CODES = {"error": UNREACHABLE, "failed": ConfigError.exit_code}


@dataclass(frozen=True)
class Regression:
    """A run over many threads.

    Attributes:
        run: its number.
        stack: the stack's name.
        status: ``done``, ``partial`` (an endpoint failed: the same call goes on), ``stopped`` or
            ``running``.
        comparisons: one per turn that was replayed.
        left_out: what was not, with reasons.
        resumed: how many turns were replayed before this call.
        exit_code: the worst of all turns: what the command line returns.
    """

    run: int
    stack: str
    status: str
    comparisons: list[Comparison]
    left_out: list[str] = field(default_factory=list)
    resumed: int = 0
    exit_code: int = 0

    @classmethod
    def of(cls, row: Mapping[str, Any], resumed: int = 0) -> Self:
        """From what the store has of a run."""
        results = row["results"]
        comparisons = [Comparison.from_json(json.loads(r["body"])) for r in results if r["body"]]
        without = [result for result in results if not result["body"]]
        codes = [one.replay.exit_code for one in comparisons]
        codes += [_CODES.get(result["status"], 0) for result in without]
        return cls(
            row["id"],
            row["stack"],
            row["status"],
            comparisons,
            [*json.loads(row["plan"])["left_out"], *(result["why"] for result in without)],
            resumed,
            max(codes, default=0),
        )

    def summary(self) -> dict[str, Any]:
        """The figures.

        Returns:
            ``turns, threads, errors, not_made`` (tool calls), ``decisions, answers, latency,
            tokens``; see :func:`figures`.
        """
        return figures(self.comparisons)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values: the figures, then every turn."""
        return {
            "run": self.run,
            "stack": self.stack,
            "status": self.status,
            "resumed": self.resumed,
            "summary": self.summary(),
            "left_out": self.left_out,
            "comparisons": [one.as_json() for one in self.comparisons],
        }


def figures(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """What comparisons add up to. Intervals are 95 %, by bootstrap over turns.

    Returns:
        ``decisions``: how many were ``compared`` and ``changed``, the share that stayed
        (``kept``, with ``interval``), ``moves`` such as ``{"HANDLE → CODING": 2}``. ``answers``:
        likewise, and the mean ``similarity`` with its interval. ``latency`` (milliseconds) and
        ``tokens``: the medians ``before`` and ``after``, and the median ``ratio`` over turns with
        its interval. What is not known is ``None``.
    """
    decided = [one for one in comparisons if one.decision_changed is not None]
    moves = Counter(
        f"{one.original.route} → {one.replay.route}" for one in decided if one.decision_changed
    )
    answered = [one for one in comparisons if one.same_answer is not None]
    similar = [one.similarity for one in answered if one.similarity is not None]
    tools = [tool for one in comparisons for tool in one.replay.tools]
    return {
        "turns": len(comparisons),
        "threads": len({one.thread for one in comparisons}),
        "errors": sum(one.failed for one in comparisons),
        "not_made": sum(tool.how == NOT_MADE for tool in tools),
        "decisions": {
            **_share([not one.decision_changed for one in decided]),
            "moves": dict(moves.most_common()),
        },
        "answers": {
            **_share([bool(one.same_answer) for one in answered]),
            "similarity": mean(similar) if similar else None,
            "similarity_interval": mean_interval(similar) if similar else None,
        },
        "latency": _times(
            [
                (one.original.latency_ms, one.replay.latency_ms)
                for one in comparisons
                if one.latency_ratio
            ]
        ),
        "tokens": _times(
            [(one.original.tokens, one.replay.tokens) for one in comparisons if one.tokens_ratio]
        ),
    }


def _share(kept: Sequence[bool]) -> dict[str, Any]:
    values = [float(one) for one in kept]
    return {
        "compared": len(kept),
        "changed": len(kept) - sum(kept),
        "kept": mean(values) if values else None,
        "interval": mean_interval(values) if values else None,
    }


def _times(pairs: Sequence[tuple[float | None, float | None]]) -> dict[str, Any]:
    first = [float(a) for a, b in pairs if a and b]
    second = [float(b) for a, b in pairs if a and b]
    ratio, interval = ratio_interval(first, second) if first else (None, None)
    return {
        "turns": len(first),
        "before": median(first) if first else None,
        "after": median(second) if second else None,
        "ratio": ratio,
        "interval": interval,
    }
