"""What a role needs of a model, and how far a model meets it.

One table, :data:`NEEDS`, for ``rolecall doctor``, ``stack check`` and ``bench``. Words as
everywhere: ``ok``, ``weak`` (works, with limits), ``unfit``, ``unreachable``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rolecall.doctor.quality import Score
from rolecall.models.capabilities import Capability, Speed, WireApi, choose_api

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
        suites: the shares of right answers by suite of ``rolecall bench``; the first is the role's
            own, by which its candidates are ranked.
        kinds: the shares of right answers by kind of the doctor's questions, which are easier;
            a kind does not count where the suite of that name was run.
        context: tokens; less is ``weak``, less than a quarter is ``unfit``.
        first_token_s: a slower first token is ``weak``.
        tokens_per_s: slower answers are ``weak``.
    """

    suites: Mapping[str, Bar]
    kinds: Mapping[str, Bar]
    context: int
    first_token_s: float
    tokens_per_s: float


_FOLLOWING = Bar(0.7, 0.25)
# Rolecall mends much of what a model gets wrong here, so these make no model unfit.
_MENDED = {"tools": Bar(0.7, 0.0), "structured": Bar(0.7, 0.0), "long_context": Bar(0.8, 0.0)}
_SUITES = {"following": Bar(0.6, 0.25), **_MENDED}
NEEDS: dict[str, Needs] = {
    # Who answers is decided by the encoder; the router's model answers short everyday requests.
    "router": Needs(
        {"router": Bar(0.85, 0.6), **_SUITES},
        {"everyday": Bar(0.75, 0.5), "following": _FOLLOWING},
        context=2048,
        first_token_s=3.0,
        tokens_per_s=5.0,
    ),
    "reasoning": Needs(
        {"reasoning": Bar(0.6, 0.2), **_SUITES},
        {"reasoning": Bar(0.75, 0.3), "following": _FOLLOWING},
        context=4096,
        first_token_s=20.0,
        tokens_per_s=3.0,
    ),
    "coding": Needs(
        {"coding": Bar(0.7, 0.3), **_SUITES},
        {"coding": Bar(0.75, 0.4), "following": _FOLLOWING},
        context=4096,
        first_token_s=20.0,
        tokens_per_s=3.0,
    ),
}
EMBEDDING = "embedding"  # the one role whose model need not talk
OTHER_ROLES = Needs(_SUITES, {"following": _FOLLOWING}, 4096, 20.0, 3.0)
FEWEST_CASES = 5  # of a suite, below which its share says too little to count
_MUST = 0.25  # of the context, below which a role cannot be filled


def needs_of(role: str) -> Needs:
    """What a role asks for; a stack's own roles all ask for the same."""
    if role == EMBEDDING:
        return Needs({}, {}, 0, 20.0, 0.0)
    return NEEDS.get(role, OTHER_ROLES)


def worse_first(verdict: Verdict) -> int:
    """A number to sort verdicts by: 0 is ``ok``, larger is worse."""
    return _ORDER[verdict]


def judge(
    role: str,
    seen: Capability | None,
    scores: Mapping[str, Score],
    context_length: int | None = None,
    *,
    suites: Mapping[str, Score] | None = None,
    speed: Speed | None = None,
    api: WireApi | None = None,
    by_label: bool = False,
) -> tuple[Verdict, str]:
    """A model's verdict for a role, and why: the worst of what was found.

    Args:
        seen: what its endpoint honours; ``None`` when the doctor has not looked.
        scores: right answers by kind of the doctor's questions; what was not asked does not count.
        context_length: what the stack states; the server's own figure counts when it is smaller.
        suites: right answers by suite of ``rolecall bench``.
        speed: as benchmarks measured it; the doctor's stand in for what is missing.
        api: the one its calls take, where that is not left to ``auto``.
        by_label: the role's model is asked who answers (``strategy: llm``), so it must give
            log-probabilities or obey a schema.
    """
    if role == EMBEDDING and seen is not None:
        return ("ok", "it embeds") if seen.embeddings else ("unfit", "it gives no embeddings")
    found: list[tuple[Verdict, str]] = []
    if seen is not None:
        chosen = api or choose_api(seen)
        spoken = seen.api(chosen)
        if not spoken.works:
            return "unfit", f"it gives no answer on {chosen}"
        if by_label and not (spoken.logprobs or spoken.json_schema):
            why = "gives no log-probabilities and ignores schemas, so it routes badly"
            found.append(("weak", why))
    needs = needs_of(role)
    found += _quality(needs, scores, suites or {})
    known = [n for n in (seen.context_length if seen else None, context_length) if n]
    if known and min(known) < needs.context:
        grade: Verdict = "weak" if min(known) >= _MUST * needs.context else "unfit"
        found.append((grade, f"reads {min(known)} tokens, {needs.context} are wanted"))
    found += _pace(needs, speed or Speed(), seen.speed if seen else Speed())
    worst = max((_ORDER[grade] for grade, _ in found), default=0)
    why = ", ".join(told for grade, told in found if _ORDER[grade] == worst)
    return next(v for v in _ORDER if _ORDER[v] == worst), why


def _quality(
    needs: Needs, scores: Mapping[str, Score], suites: Mapping[str, Score]
) -> list[tuple[Verdict, str]]:
    """What suites and questions say; a need that was not measured is said, and is ``ok``."""
    found: list[tuple[Verdict, str]] = []
    counted = {name for name, score in suites.items() if score.asked >= FEWEST_CASES}
    for name, bar in needs.suites.items():
        score = suites.get(name)
        if score is None or not score.asked:
            continue
        told = f"bench {name} {score.right} of {score.asked}"
        if name in counted:
            found.append((bar.grade(score.share), told))
        else:
            found.append(("ok", f"{told}: too few to judge"))
    unasked: list[str] = []
    for kind, bar in needs.kinds.items():
        asked = scores.get(kind)
        if kind in counted:
            continue
        if asked is None or not asked.asked:
            if kind not in suites:
                unasked.append(kind)
        else:
            found.append((bar.grade(asked.share), f"{kind} {asked.right} of {asked.asked}"))
    if unasked:
        found.append(("ok", f"{' and '.join(unasked)} not measured"))
    return found


def _pace(needs: Needs, benched: Speed, examined: Speed) -> list[tuple[Verdict, str]]:
    found: list[tuple[Verdict, str]] = []
    first, pace = benched.ttft_ms or examined.ttft_ms, benched.tokens_per_s or examined.tokens_per_s
    if first is not None and first > 1000 * needs.first_token_s:
        found.append(("weak", f"the first token takes {first / 1000:.0f} s"))
    if pace is not None and pace < needs.tokens_per_s:
        found.append(("weak", f"writes {pace:.1f} tokens/s"))
    return found
