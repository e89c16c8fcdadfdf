"""An examination as plain JSON values: what ``rolecall doctor --json`` prints."""

from __future__ import annotations

from typing import Any

from rolecall.config.schema import Stack
from rolecall.doctor.examination import Examination
from rolecall.doctor.findings import Examined
from rolecall.models.capabilities import Capability, CapabilityFile


def as_json(found: Examination, stack: Stack) -> dict[str, Any]:
    """``stack``, ``endpoints`` (one entry per model at an endpoint), ``roles``, ``problem``."""
    return {
        "stack": stack.name,
        "endpoints": [_endpoint(one) for one in found.models],
        "roles": {
            role: {
                "verdict": judged.verdict,
                "why": judged.why,
                "model": judged.model,
                "endpoint": judged.endpoint,
            }
            for role, judged in found.roles.items()
        },
        "problem": found.file_problem,
    }


def _endpoint(one: Examined) -> dict[str, Any]:
    contact, seen = one.contact, one.capability
    earlier = CapabilityFile().get(contact.spec) if seen is None else None
    return {
        "endpoint": contact.spec.endpoint,
        "model": contact.spec.id,
        "roles": list(contact.roles),
        "runner": seen.runner if seen else one.facts.runner,
        "version": seen.version if seen else one.facts.version,
        "reachable": contact.reachable,
        "examined": seen is not None,
        "examined_before_s": round(earlier.age_s) if earlier else None,
        "why": one.why or None,
        "api": one.api,
        "models": contact.offered,
        "capabilities": _capabilities(seen) if seen else {},
        "speed": seen.speed.model_dump() if seen else {},
        "quality": {
            kind: {"right": s.right, "asked": s.asked, "missed": list(s.missed)}
            for kind, s in one.scores.items()
        },
        "problems": [problem.as_dict() for problem in one.problems],
        "notes": one.notes,
    }


def _capabilities(seen: Capability) -> dict[str, Any]:
    """By capability; those that depend on the wire API have one value for each."""
    by_api = {name: api.model_dump(mode="json") for name, api in seen.apis.items()}
    fields = next(iter(by_api.values()), {})
    body: dict[str, Any] = {
        "context_length": seen.context_length,
        **{name: api["works"] for name, api in by_api.items()},
    }
    for name in fields:
        if name != "works":
            body[name] = {api: values[name] for api, values in by_api.items()}
    for name in ("embeddings", "truncation", "calls_as_text", "makes_up_calls"):
        body[name] = getattr(seen, name)
    return body
