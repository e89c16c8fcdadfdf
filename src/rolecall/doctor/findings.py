"""What is known of one model at one endpoint, while it is examined and after."""

from __future__ import annotations

from dataclasses import dataclass, field

from rolecall.doctor.contact import Contact
from rolecall.doctor.problems import Problem
from rolecall.doctor.quality import Score
from rolecall.doctor.verdict import Verdict
from rolecall.models.capabilities import Capability, WireApi
from rolecall.models.server_facts import UNKNOWN, ServerFacts


@dataclass
class Examined:
    """A model at an endpoint: what was found.

    Attributes:
        capability: ``None`` when it was only looked at.
        api: the wire API that its calls take.
        scores: right answers by kind of question.
        notes: probes that saw nothing, and why.
    """

    contact: Contact
    facts: ServerFacts = UNKNOWN
    capability: Capability | None = None
    api: WireApi | None = None
    scores: dict[str, Score] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    verdict: Verdict = "ok"
    why: str = ""
