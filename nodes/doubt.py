"""Whether an answer of the fast path may stand, or the reasoning model should answer instead."""

from __future__ import annotations

import re
from dataclasses import dataclass

from langchain_core.messages import AIMessage, AnyMessage

from rolecall.graphs.state import AssistantState

_LONGEST_HEDGE = 400  # characters: a long answer that also says "I'm not sure" is an answer
_FEWEST_TOKENS = 3
_UNREAD = "unread"

_HEDGES = re.compile(
    r"""\b(?:
        i\s*(?:am|'m|’m)\s+(?:not\s+sure|unsure|not\s+certain|not\s+able\s+to|unable\s+to
            |sorry,?\s+(?:but\s+)?i\s+(?:can|do|am))
      | i\s+(?:do\s*n[o'’]?t|can\s*n?[o'’]?t)\s+(?:know|say\s+for\s+(?:sure|certain)
            |answer|help\s+(?:you\s+)?with|assist|provide)
      | i\s+(?:do\s*n[o'’]?t|do\s+not)\s+have\s+(?:enough|any|that|the|access)\b
      | as\s+an\s+ai\b
      | ich\s+(?:wei(?:ß|ss)\s+(?:es\s+)?nicht|bin\s+mir\s+nicht\s+sicher
            |kann\s+(?:dir|ihnen)\s+nicht)
      | je\s+ne\s+(?:sais\s+pas|peux\s+pas|suis\s+pas\s+(?:sûr|certain))
      | no\s+(?:lo\s+)?sé\b | no\s+estoy\s+segur[oa] | no\s+puedo\b
      | n[ãa]o\s+(?:sei|posso|tenho\s+certeza)
      | non\s+(?:lo\s+)?so\b | non\s+sono\s+sicur[oa] | non\s+posso\b
    )""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True)
class Bar:
    """What an answer of the fast path must clear.

    Attributes:
        least_logprob: the least mean log-probability per token; ``None``: any will do.
        hedging: whether an answer that says it does not know may not stand.
    """

    least_logprob: float | None = None
    hedging: bool = False

    def doubt(self, message: AnyMessage) -> str | None:
        """Why an answer may not stand; ``None`` when it may."""
        text = message.text.strip()
        if message.response_metadata.get(_UNREAD):
            return "the conversation is too long for the router model"
        if not text:
            return "the router model's own answer was empty"
        if self.hedging and len(text) <= _LONGEST_HEDGE and _HEDGES.search(text):
            return "the router model's own answer was that it does not know"
        mean = message.response_metadata.get("mean_logprob")
        usage = getattr(message, "usage_metadata", None) or {}
        if (
            self.least_logprob is not None
            and isinstance(mean, float)
            and mean < self.least_logprob
            and usage.get("output_tokens", _FEWEST_TOKENS) >= _FEWEST_TOKENS
        ):
            return (
                "the router model was not sure of its own answer "
                f"(mean log-probability {mean:.2f}, at least {self.least_logprob:.2f} wanted)"
            )
        return None


def bar_for(state: AssistantState, bar: Bar) -> Bar:
    """The bar of this turn: who chose the router role gets its answer, unless it is empty."""
    return Bar() if state["strategy"] == "fixed" else bar


def unread(message_id: str) -> AIMessage:
    """In place of an answer: the router's models cannot read so much, another may."""
    return AIMessage("", id=message_id, response_metadata={_UNREAD: True})
