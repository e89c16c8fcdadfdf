"""A turn of the past beside the same turn on another stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from rolecall.errors import NoModelReachable
from rolecall.replay.likeness import likeness

How = Literal["ran", "recorded", "not made"]
RAN: How = "ran"
RECORDED: How = "recorded"
NOT_MADE: How = "not made"

UNREACHABLE = NoModelReachable.exit_code
"""The exit code of what may go well on another day."""


@dataclass(frozen=True)
class ToolUse:
    """One tool call of a turn.

    Attributes:
        status: ``success``, ``error``, ``skipped``, ``unknown`` or ``not_meant``.
        how: whether the tool ``ran``, its result was ``recorded`` in the original turn, or the
            call was ``not made`` because it is not safe to repeat.
    """

    name: str
    arguments: dict[str, Any]
    status: str
    how: How = "ran"


@dataclass(frozen=True)
class Side:
    """One run of a turn: as it was then, or as it is on the other stack.

    Attributes:
        stack: its name; ``None`` where no trace tells.
        answer: the text; ``None`` when there is none.
        role: who answered.
        decision: the router's decision JSON.
        strategy: what decided.
        path: the nodes that ran, in order.
        model: the id of the model that answered.
        latency_ms: the whole turn, in milliseconds.
        input_tokens, output_tokens: over all model calls of the turn.
        tools: the tool calls.
        error: what ended the turn without an answer, in words.
        exit_code: what the command line returns for that error; 0 without one.
        waits: whether it ended with a question to the user.
        trace_id: names the trace in telemetry, where one is kept.
    """

    stack: str | None = None
    answer: str | None = None
    role: str | None = None
    decision: dict[str, Any] | None = None
    strategy: str | None = None
    path: list[str] = field(default_factory=list)
    model: str | None = None
    latency_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    tools: list[ToolUse] = field(default_factory=list)
    finish_reason: str | None = None
    error: str | None = None
    exit_code: int = 0
    trace_id: str | None = None
    waits: bool = False

    @property
    def route(self) -> str | None:
        """The decision as one label: ``HANDLE``, or the role in capitals."""
        if self.decision is None:
            return None
        return str(self.decision["target_model"] or self.decision["routing_decision"])

    @property
    def confidence(self) -> float | None:
        """How sure the router was, from 0 to 1."""
        return None if self.decision is None else float(self.decision["confidence"])

    @property
    def tokens(self) -> int | None:
        """Input and output tokens together."""
        known = [n for n in (self.input_tokens, self.output_tokens) if n is not None]
        return sum(known) if known else None


@dataclass(frozen=True)
class Comparison:
    """One turn, twice.

    Attributes:
        thread: the original's thread.
        turn: the turn's number there.
        question: what was asked.
        original: as it was.
        replay: as it is on the other stack.
        from_step: the checkpoint inside the turn from which it ran on; ``None``: the whole turn
            ran. What ran on is a part, so its time and tokens are compared with nothing.
        replay_thread: the thread of the replay, where it was kept.
        notes: what else a reader should know.
    """

    thread: str
    turn: int
    question: str
    original: Side
    replay: Side
    from_step: str | None = None
    replay_thread: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether the replay gave no answer."""
        return self.replay.error is not None

    @property
    def decision_changed(self) -> bool | None:
        """Whether another role was chosen; ``None`` where the replay decided nothing: the user
        had fixed the role, or it ran on from a later step.
        """
        if self.from_step is not None or self.replay.strategy in {None, "fixed"}:
            return None
        if self.original.route is None or self.replay.route is None:
            return None
        return self.original.route != self.replay.route

    @property
    def same_answer(self) -> bool | None:
        """Whether the answers are the same but for white space; ``None`` without both."""
        if self.failed or self.original.answer is None or self.replay.answer is None:
            return None
        return self.original.answer.split() == self.replay.answer.split()

    @property
    def similarity(self) -> float | None:
        """How alike the answers are, from 0 to 1; see :func:`rolecall.replay.likeness.likeness`."""
        if self.same_answer is None:
            return None
        return likeness(self.original.answer or "", self.replay.answer or "")

    @property
    def latency_ratio(self) -> float | None:
        """The replay's time over the original's; ``None`` where they cannot be compared."""
        return self._ratio(self.original.latency_ms, self.replay.latency_ms)

    @property
    def tokens_ratio(self) -> float | None:
        """The replay's tokens over the original's; ``None`` where they cannot be compared."""
        return self._ratio(self.original.tokens, self.replay.tokens)

    def _ratio(self, first: float | None, second: float | None) -> float | None:
        if self.failed or self.from_step is not None or not first or not second:
            return None
        return second / first

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values: both sides, and what differs."""
        similarity = self.similarity
        return {
            **asdict(self),
            "decision_changed": self.decision_changed,
            "same_answer": self.same_answer,
            "similarity": None if similarity is None else round(similarity, 4),
            "latency_ratio": self.latency_ratio,
            "tokens_ratio": self.tokens_ratio,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """What :meth:`as_json` gave."""
        names = ("thread", "turn", "question", "from_step", "replay_thread", "notes")
        return cls(
            **{name: body[name] for name in names},
            original=_side(body["original"]),
            replay=_side(body["replay"]),
        )


def _side(body: Mapping[str, Any]) -> Side:
    return Side(**{**body, "tools": [ToolUse(**tool) for tool in body["tools"]]})
