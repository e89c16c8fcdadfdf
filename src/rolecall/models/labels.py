"""Labels scored by the log-probability of being the reply's first token."""

from __future__ import annotations

import math
from collections.abc import Sequence

from langchain_core.messages import AIMessage


def label_scores(reply: AIMessage, labels: Sequence[str]) -> dict[str, float] | None:
    """Natural-log probabilities by label; ``None`` when the reply has none of them."""
    logprobs = reply.response_metadata.get("logprobs")
    entries = logprobs.get("content") if isinstance(logprobs, dict) else logprobs
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict):
        return None
    first = entries[0]
    scores: dict[str, float] = {}
    for entry in [first, *(first.get("top_logprobs") or [])]:
        token, value = str(entry.get("token", "")).strip(), entry.get("logprob")
        if token in labels and isinstance(value, int | float) and not math.isnan(value):
            scores[token] = max(scores.get(token, -math.inf), float(value))
    return scores or None
