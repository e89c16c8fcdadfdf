"""``rolecall trace stats``: what the recorded calls add up to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rolecall.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from rolecall.telemetry.stats import By

_BY = ("role", "model", "day")


def show_stats(
    since: str | None, by: str | None, largest: str | None, stack: str | None, *, as_json: bool
) -> None:
    """Print the sums.

    Raises:
        UsageError: ``since`` or ``by`` is not one of those that there are.
    """
    from rolecall.cli.output import out, print_json
    from rolecall.telemetry.open import open_traces

    chosen: By | None = None
    if by is not None:
        if by not in _BY:
            raise UsageError(f"--by {by!r}: expected one of {', '.join(_BY)}")
        chosen = by  # type: ignore[assignment]
    found = open_traces().stats(since, chosen, largest or _first_of_reasoning(stack))
    if as_json:
        print_json(found)
    else:
        for part in _parts(found):
            out.print(part)


def _first_of_reasoning(stack: str | None) -> str | None:
    """The model that would answer everything: the first of the reasoning role."""
    from rolecall.config.load import load_stack
    from rolecall.config.schema import ModelRole

    try:
        candidates = load_stack(stack).models.get(ModelRole.REASONING)
    except ConfigError:
        if stack is not None:
            raise
        return None  # telemetry can be read without a configuration
    return candidates[0].id if candidates else None


def _parts(found: dict[str, Any]) -> list[Any]:
    from rolecall.cli.output import printable, table

    calls, turns, tools, saved = (found[name] for name in ("calls", "turns", "tools", "saved"))
    if not calls["calls"] and not turns["turns"]:
        return [
            "Nothing is recorded" + (f" since {found['since']}." if found["since"] else " yet.")
        ]
    facts = table("", "")
    for name, text in (
        ("turns", f"{turns['turns']:,}, {turns['failed']:,} failed; {_times(turns['total_ms'])}"),
        ("small model", f"{_share(turns['small_model_share'])} of the answers"),
        (
            "escalations",
            f"{turns['escalations']:,} of {turns['fast_path']:,} on the fast path "
            f"({_share(turns['escalation_rate'])})",
        ),
        ("model calls", f"{calls['calls']:,}, {calls['errors']:,} failed"),
        ("fallbacks", f"{calls['fallbacks']:,} ({_share(calls['fallback_rate'])} of the answered)"),
        ("tool calls", f"{tools['calls']:,}, {tools['errors']:,} failed"),
        ("saved", _saved(saved)),
    ):
        facts.add_row(name, printable(text))
    first = found.get("by") or ""
    columns = ("calls", "failed", "fell back", "first token", "whole", "tokens/s", "in", "out")
    shown = table(first, *columns)
    groups = found.get("groups", [])
    rows = groups if first == "day" else sorted(groups, key=lambda row: -row["calls"])
    for row in [*rows, {"key": "all", **calls}]:
        shown.add_row(
            printable(row["key"] or "–"),
            f"{row['calls']:,}",
            _share(row["error_rate"]),
            _share(row["fallback_rate"]),
            _times(row["ttft_ms"]),
            _times(row["total_ms"]),
            "–" if row["tokens_per_s"] is None else f"{row['tokens_per_s']:.0f}",
            f"{row['input_tokens']:,}",
            f"{row['output_tokens']:,}",
        )
    return [facts, "", shown, "", f"Times: half within / 95 % within. {saved['rule']}"]


def _times(values: dict[str, float | None]) -> str:
    from rolecall.cli.output import seconds

    return f"{seconds(values['p50'])} / {seconds(values['p95'])}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _saved(saved: dict[str, Any]) -> str:
    if saved["seconds"] is None:
        return f"unknown: {saved['note']}"
    seconds = saved["seconds"]
    time = f"{seconds:,.0f} s" if seconds >= 0 else f"no time ({-seconds:,.0f} s lost)"
    return (
        f"about {time} and {saved['tokens']:,} tokens of {saved['largest']}, "
        f"by {saved['calls']:,} calls (compared with {saved['compared_calls']:,} of its own)"
    )
