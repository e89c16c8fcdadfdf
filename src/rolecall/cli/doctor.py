"""``rolecall doctor``: what a stack can do, what is broken, what to change, on one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rolecall.doctor.examination import Examination
    from rolecall.doctor.findings import Examined

_COLOURS = {"ok": "green", "weak": "yellow", "unfit": "red", "unreachable": "red"}
_MARKS = {"ok": "✓", "weak": "~", "unfit": "✗", "unreachable": "✗"}
_ROWS = (
    ("answers", "works"),
    ("JSON schema", "json_schema"),
    ("tool calls", "tools"),
    ("two calls at once", "parallel_tools"),
    ("reasoning", "reasoning"),
    ("usage in a stream", "streaming_usage"),
    ("log-probabilities", "logprobs"),
)
_TOO_LONG = {"refuses": "refused", "cuts": "cut in silence", "reads": "read", None: "not tried"}


def run_doctor(
    stack_name: str | None,
    role: str | None,
    *,
    as_json: bool,
    quick: bool,
    every: bool,
    write: bool,
    strict: bool,
) -> None:
    """Examine, show, and end with 3 under ``strict`` unless every role is ``ok`` or ``weak``."""
    from rolecall import bridge
    from rolecall.cli.output import print_json, printable
    from rolecall.cli.progress import RichProgress
    from rolecall.config.load import load_stack
    from rolecall.doctor.examination import examine
    from rolecall.doctor.report import as_json as as_values
    from rolecall.errors import UnknownRole

    stack = load_stack(stack_name)
    if role is not None and role not in stack.models:
        raise UnknownRole(
            f"stack {stack.name} has no role {role!r}; it has {', '.join(stack.models)}"
        )
    found = bridge.run(
        examine(stack, role=role, quick=quick, every=every, write=write, progress=RichProgress())
    )
    if as_json:
        print_json(printable(as_values(found, stack)))
    else:
        _show(found)
    if strict and any(one.verdict in {"unfit", "unreachable"} for one in found.roles.values()):
        raise typer.Exit(3)


def _show(found: Examination) -> None:
    from rolecall.cli.output import ago, out, styled, table
    from rolecall.models.capabilities import CapabilityFile

    for one in found.models:
        if one.capability is not None:
            _show_model(one)
    others = [one for one in found.models if one.capability is None]
    if others:
        shown = table("", "model", "endpoint", "why")
        shown.show_header = False
        for one in others:
            spec, why = one.contact.spec, one.why or "there; not examined (--all)"
            earlier = CapabilityFile().get(spec)
            if earlier is not None:
                why += f"; examined {ago(earlier.age_s)}"
            shown.add_row(_judged(one.verdict), spec.id, spec.endpoint, why)
        out.print(shown)
    problems = [(one, problem) for one in found.models for problem in one.problems]
    if problems:
        out.print(styled("\nwhat to change", "bold"))
        for what, remedy, models in _together(problems):
            out.print(styled(f"✗ {what} ({models})", ""), soft_wrap=True)
            out.print(styled(f"  → {remedy}", "cyan"), soft_wrap=True)
    if found.file_problem:
        out.print(styled(f"! {found.file_problem}", "yellow"), soft_wrap=True)
    out.print()
    roles = table("role", "verdict", "model", "why")
    for role, judged in found.roles.items():
        roles.add_row(role, _judged(judged.verdict), judged.model, judged.why)
    out.print(roles)


def _together(problems: list[tuple[Examined, Any]]) -> list[tuple[str, str, str]]:
    """Equal problems of several models as one."""
    models: dict[tuple[str, str], list[str]] = {}
    for one, problem in problems:
        models.setdefault((problem.what, problem.remedy), []).append(one.contact.spec.id)
    return [(what, remedy, ", ".join(names)) for (what, remedy), names in models.items()]


def _judged(verdict: str) -> Any:
    from rolecall.cli.output import styled

    return styled(f"{_MARKS[verdict]} {verdict}", _COLOURS[verdict])


def _show_model(one: Examined) -> None:
    from rolecall.cli.output import out, styled, table

    seen = one.capability
    assert seen is not None
    runner = " ".join(part for part in (seen.runner or "unknown runner", seen.version) if part)
    out.print(styled(f"{one.contact.spec.id} at {one.contact.spec.endpoint} ({runner})", "bold"))
    shown = table("", *(f"{name} *" if name == one.api else name for name in seen.apis))
    for label, field in _ROWS:
        values = [
            getattr(api, field) if api.works or field == "works" else None
            for api in seen.apis.values()
        ]
        if any(value is not None for value in values):
            shown.add_row(label, *(_cell(value) for value in values))
    out.print(shown)
    speed = seen.speed
    facts = [
        f"context {seen.context_length or 'unknown'}",
        f"too long a prompt: {_TOO_LONG[seen.truncation]}",
        f"embeddings: {'yes' if seen.embeddings else 'no'}",
        _figure("first token", speed.ttft_ms, "ms", 0),
        _figure("reads", speed.prefill_tokens_per_s, "tokens/s", 0),
        _figure("writes", speed.tokens_per_s, "tokens/s", 1),
        _figure("loaded in", speed.load_s, "s", 1),
    ]
    out.print("* the API in use. " + " · ".join(fact for fact in facts if fact))
    right = [f"{kind} {score.right}/{score.asked}" for kind, score in one.scores.items()]
    if right:
        out.print("right answers: " + " · ".join(right))
    for note in one.notes:
        out.print(styled(f"- {note}", "dim"))
    out.print()


def _cell(value: bool | str | None) -> Any:
    from rolecall.cli.output import styled

    if value is None:
        return styled("– not seen", "dim")
    if isinstance(value, bool):
        return styled("✓ yes" if value else "✗ no", "green" if value else "red")
    if value == "none":
        return styled("– none", "dim")
    good = value not in {"text", "in the text"}
    return styled(f"{'✓' if good else '~'} {value}", "green" if good else "yellow")


def _figure(label: str, value: float | None, unit: str, digits: int) -> str:
    return "" if value is None else f"{label} {value:.{digits}f} {unit}"
