"""What a role needs of a model, and how far a model meets it.

One table, :data:`NEEDS`. Words as everywhere: ``ok``, ``weak`` (works, with limits), ``unfit``,
``unreachable``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rolecall.doctor.quality import Score
from rolecall.models.capabilities import Capability, WireApi, choose_api

Verdict = Literal["ok", "weak", "unfit", "unreachable"]
_ORDER: dict[Verdict, int] = {"ok": 0, "weak": 1, "unfit": 2, "unreachable": 3}


@dataclass(frozen=True)
class Bar:
    """At ``ok`` and above a share is good, at ``weak`` and above it will do, below it is not."""

    ok: float
    weak: float

    def grade(self, share: float) -> Verdict:
        """The verdict on a share."""
        return "ok" if share >= self.ok else "weak" if share >= self.weak else "unfit"


@dataclass(frozen=True)
class Needs:
    """What one role asks for.

    Attributes:
        kinds: the shares of right answers, by kind of question.
        context: tokens; less is ``weak``, less than a quarter is ``unfit``.
        first_token_s: a slower first token is ``weak``.
        tokens_per_s: slower answers are ``weak``.
    """

    kinds: Mapping[str, Bar]
    context: int
    first_token_s: float
    tokens_per_s: float


_FOLLOWING = Bar(0.7, 0.25)
NEEDS: dict[str, Needs] = {
    # Who answers is decided by the encoder; the router's model answers short everyday requests.
    "router": Needs({"everyday": Bar(0.75, 0.5), "following": _FOLLOWING}, 2048, 3.0, 5.0),
    "reasoning": Needs({"reasoning": Bar(0.75, 0.3), "following": _FOLLOWING}, 4096, 20.0, 3.0),
    "coding": Needs({"coding": Bar(0.75, 0.4), "following": _FOLLOWING}, 4096, 20.0, 3.0),
}
EMBEDDING = "embedding"  # the one role whose model need not talk
OTHER_ROLES = Needs({"following": _FOLLOWING}, 4096, 20.0, 3.0)
_MUST = 0.25  # of the context, below which a role cannot be filled


def needs_of(role: str) -> Needs:
    """What a role asks for; a stack's own roles all ask for the same."""
    if role == EMBEDDING:
        return Needs({}, 0, 20.0, 0.0)
    return NEEDS.get(role, OTHER_ROLES)


def judge(
    role: str,
    seen: Capability,
    scores: Mapping[str, Score],
    context_length: int | None = None,
    *,
    api: WireApi | None = None,
    by_label: bool = False,
) -> tuple[Verdict, str]:
    """A model's verdict for a role, and why: the worst of what was found.

    Args:
        seen: what its endpoint honours.
        scores: right answers by kind; a kind that was not asked does not count.
        context_length: what the stack states; the server's own figure counts when it is smaller.
        api: the one its calls take, where that is not left to ``auto``.
        by_label: the role's model is asked who answers (``strategy: llm``), so it must give
            log-probabilities or obey a schema.
    """
    if role == EMBEDDING:
        return ("ok", "it embeds") if seen.embeddings else ("unfit", "it gives no embeddings")
    needs = needs_of(role)
    chosen = api or choose_api(seen)
    spoken = seen.api(chosen)
    if not spoken.works:
        return "unfit", f"it gives no answer on {chosen}"
    found: list[tuple[Verdict, str]] = []
    for kind, bar in needs.kinds.items():
        score = scores.get(kind)
        if score is not None and score.asked:
            told = f"{kind} {score.right} of {score.asked}"
            found.append((bar.grade(score.share), told))
    known = [n for n in (seen.context_length, context_length) if n]
    if known and min(known) < needs.context:
        grade: Verdict = "weak" if min(known) >= _MUST * needs.context else "unfit"
        found.append((grade, f"reads {min(known)} tokens, {needs.context} are wanted"))
    speed = seen.speed
    if speed.ttft_ms is not None and speed.ttft_ms > 1000 * needs.first_token_s:
        found.append(("weak", f"the first token takes {speed.ttft_ms / 1000:.0f} s"))
    if speed.tokens_per_s is not None and speed.tokens_per_s < needs.tokens_per_s:
        found.append(("weak", f"writes {speed.tokens_per_s:.1f} tokens/s"))
    if by_label and not (spoken.logprobs or spoken.json_schema):
        found.append(("weak", "gives no log-probabilities and ignores schemas, so it routes badly"))
    unasked = [kind for kind in needs.kinds if kind not in scores or not scores[kind].asked]
    if unasked:
        found.append(("ok", f"{' and '.join(unasked)} not measured"))
    worst = max(_ORDER[grade] for grade, _ in found)
    why = [told for grade, told in found if _ORDER[grade] == worst]
    return next(v for v in _ORDER if _ORDER[v] == worst), ", ".join(why)
