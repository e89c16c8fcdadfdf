"""What ``rolecall router status`` knows of the router in use, and the drift warning."""

from __future__ import annotations

import time
from typing import Any

from rolecall.cli.output import out, styled, table
from rolecall.config.load import load_stack
from rolecall.config.schema import BUILT_IN_ROLES, ModelRole
from rolecall.errors import ArtefactDamaged, DataError, RolecallError
from rolecall.home import folder
from rolecall.routing.corrections import corrections
from rolecall.routing.drift import WINDOW, Drift, drift
from rolecall.routing.encoder.artefact import Artefact
from rolecall.routing.encoder.bands import threshold_for
from rolecall.routing.encoder.versions import current_artefact, current_name
from rolecall.routing.explanation import own_examples_found
from rolecall.routing.hybrid import UNMEASURED_WEIGHT
from rolecall.telemetry.open import open_traces

_DAY_S = 24 * 3600.0
_FEWEST_EXAMPLES = 3


def router_status(stack: str | None) -> dict[str, Any]:
    """Everything about the router in use, as plain values."""
    loaded = load_stack(stack)
    routing = loaded.settings.routing
    found: dict[str, Any] = {
        "stack": loaded.name,
        "strategy": routing.strategy,
        "max_error": routing.max_error,
        "version": current_name(),
        "corrections": None,
        "problem": None,
    }
    try:
        found["corrections"] = len(corrections())
        artefact = current_artefact()
    except (ArtefactDamaged, DataError) as error:
        return {**found, "problem": str(error)}
    roles = list(loaded.roles.values())
    model = loaded.models[ModelRole.ROUTER][0].id if ModelRole.ROUTER in loaded.models else None
    own = [role for role in roles if role.name not in BUILT_IN_ROLES]
    counted = {role.label: own_examples_found(artefact, roles, role) for role in own}
    seen = recent_drift(artefact)
    return {
        **found,
        "accuracy": artefact.measured["accuracy"],
        "sure_from": threshold_for(artefact.bands, routing.max_error),
        "router_model": model,
        "router_model_weight": artefact.consult.get(model or "", UNMEASURED_WEIGHT),
        "router_model_measured": model in artefact.consult,
        "own_roles": {
            label: {"examples": total, "found_when_left_out": hits}
            for label, (hits, total) in counted.items()
        },
        "drift": {"index": seen.index, "n": seen.n, "warning": seen.warning or None},
    }


def recent_drift(artefact: Artefact) -> Drift:
    """Drift over the latest decisions of this home."""
    return drift(open_traces().encoder_confidences(WINDOW), artefact.confidences)


def daily_drift_warning() -> str:
    """The warning to show after a turn, once a day; empty when there is nothing to tell."""
    try:
        asked = folder("router") / "drift-asked"
        if asked.is_file() and time.time() - asked.stat().st_mtime < _DAY_S:
            return ""
        seen = recent_drift(current_artefact())
        if seen.index is not None:
            asked.touch()
    except (OSError, RolecallError):
        return ""
    return seen.warning


def print_status(found: dict[str, Any]) -> None:
    """Show the status to people."""
    shown = table("", "")
    shown.show_header = False
    shown.add_row("strategy", f"{found['strategy']} (stack {found['stack']})")
    shown.add_row("version", found["version"])
    if found["problem"]:
        shown.add_row("problem", styled(found["problem"], "red"))
        out.print(shown)
        return
    shown.add_row("accuracy on held-out styles", f"{found['accuracy']:.3f}")
    sure = found["sure_from"]
    promise = f"sure from {sure:.3f}" if sure <= 1 else "cannot be promised: it is never sure"
    shown.add_row(f"max_error {found['max_error']}", promise)
    if found["router_model"]:
        weight = found["router_model_weight"]
        how = "measured" if found["router_model_measured"] else "not measured"
        does = "is not asked: it does not help" if weight == 0 else f"counts with weight {weight:g}"
        shown.add_row("when not sure", f"{found['router_model']} {does} ({how})")
    for label, row in found["own_roles"].items():
        hits, total = row["found_when_left_out"], row["examples"]
        says = f"{hits} of its {total} examples are routed to it when left out"
        if total < _FEWEST_EXAMPLES:
            says = f"it has {total} examples; add some, to tell how well it is routed to"
        shown.add_row(label, says)
    shown.add_row("corrections", str(found["corrections"]))
    seen = found["drift"]
    if seen["index"] is None:
        shown.add_row("drift", f"too few decisions to tell ({seen['n']})")
    else:
        shown.add_row("drift", f"stability index {seen['index']:.2f} over {seen['n']} decisions")
    out.print(shown)
    if seen["warning"]:
        out.print(styled(seen["warning"], "yellow"))
