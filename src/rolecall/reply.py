"""What a turn gives back: the reply, and the parts in which it streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rolecall.questions import Question


@dataclass(frozen=True)
class Part:
    """One thing that happened in a turn, as it happens.

    Attributes:
        type: ``started``, ``decision``, ``text``, ``reasoning``, ``tool_started``,
            ``tool_finished``, ``not_meant`` (a tool call that was taken out), ``call``,
            ``journaled`` (an answer that was paid for before), ``replaced``, ``note`` (something
            the user should know), ``node``, ``waiting`` or ``finished``.
        data: what belongs to it, such as ``{"role": "coding", "text": "SELECT"}``.
    """

    type: str
    data: dict[str, Any]

    @property
    def text(self) -> str:
        """The text of a ``text``, ``reasoning`` or ``replaced`` part, else empty."""
        return str(self.data.get("text", ""))


@dataclass
class Reply:
    """A turn's outcome.

    Attributes:
        text: the answer.
        reasoning: the model's reasoning trace, where it gave one.
        decision: the router's decision JSON.
        path: the nodes that ran, in order.
        calls: one record per attempt to call a model.
        timings_ms: ``total`` and ``overhead`` (all but model and tool time).
        waiting_for: what a tool asks the user, when the turn waits for an answer.
        choices: the answers there are to it, where they can be counted.
        answer_schema: the JSON schema of an answer; ``None`` takes any text.
    """

    thread_id: str
    turn_id: str
    trace_id: str
    text: str = ""
    reasoning: str = ""
    decision: dict[str, Any] | None = None
    strategy: str | None = None
    path: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    timings_ms: dict[str, float] = field(default_factory=dict)
    finish_reason: str | None = None
    error: str | None = None
    waiting_for: Any = None
    choices: list[str] = field(default_factory=list)
    answer_schema: Mapping[str, Any] | None = None

    def wait_for(self, question: Question) -> None:
        """Take over what the turn waits for."""
        self.waiting_for, self.answer_schema = question.value, question.schema
        self.choices = question.choices

    @property
    def usage(self) -> dict[str, int]:
        """Tokens over all model calls of the turn."""
        return {
            key: sum(call[key] or 0 for call in self.calls)
            for key in ("input_tokens", "output_tokens")
        }

    def as_json(self) -> dict[str, Any]:
        """The object that ``ask --json`` prints."""
        return {
            "thread_id": self.thread_id,
            "turn_id": self.turn_id,
            "trace_id": self.trace_id,
            "answer": self.text,
            "reasoning": self.reasoning,
            "decision": self.decision,
            "strategy": self.strategy,
            "path": self.path,
            "calls": [{key: call[key] for key in _CALL_KEYS} for call in self.calls],
            "timings_ms": self.timings_ms,
            "finish_reason": self.finish_reason,
            "error": self.error,
            "waiting_for": self.waiting_for,
            **self._answerable(),
        }

    def _answerable(self) -> dict[str, Any]:
        """What an answer must be, while one is waited for."""
        if self.waiting_for is None:
            return {}
        return {"choices": self.choices, "answer_schema": self.answer_schema}


_CALL_KEYS: Sequence[str] = (
    "role",
    "model",
    "endpoint",
    "api",
    "status",
    "attempt",
    "input_tokens",
    "output_tokens",
    "ttft_ms",
    "latency_ms",
)
