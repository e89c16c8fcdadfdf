"""Sums and histograms per day (UTC), kept by triggers as rows come: a million calls are summed up
without reading them.

A time is counted in the bucket that it falls into. Buckets are 2 to 5 % wide (0.05 ms below 1 ms),
so a percentile taken from their middles is off by 2.5 % at most.
"""

from __future__ import annotations

from collections.abc import Callable

from rolecall.sqlite import Database

_Addition = Callable[[str, str, str], str]
"""``(row, source, sign)``: SQL that adds a row, or all rows of a table, to the sums."""

_ONE = "(SELECT 1)"
"""The source of a trigger's statement: there is one row, ``new`` or ``old``."""

CALL_SUMS = (
    "calls",
    "ok",
    "errors",
    "cancelled",
    "journaled",
    "fallbacks",
    "input_tokens",
    "output_tokens",
    "ok_tokens",
    "ok_output",
    "ok_ms",
    "timed",
    "waited_ms",
    "generated",
    "generating_ms",
)
TURN_SUMS = ("turns", "done", "failed", "interrupted", "small")
DECISION_SUMS = ("decisions", "fast_path", "escalations", "latency_ms")
TOOL_SUMS = ("calls", "errors", "not_meant", "skipped", "latency_ms")

_TABLES = """
CREATE TABLE call_days (
    id INTEGER PRIMARY KEY,
    day TEXT NOT NULL, node TEXT NOT NULL, role TEXT NOT NULL, model TEXT NOT NULL,
    {calls},
    UNIQUE (day, node, role, model)
);
CREATE TABLE call_times (
    series INTEGER NOT NULL, kind TEXT NOT NULL, bucket INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (series, kind, bucket)
) WITHOUT ROWID;
CREATE TABLE turn_days (day TEXT PRIMARY KEY, {turns}) WITHOUT ROWID;
CREATE TABLE turn_times (
    day TEXT NOT NULL, bucket INTEGER NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (day, bucket)
) WITHOUT ROWID;
CREATE TABLE decision_days (day TEXT PRIMARY KEY, {decisions}) WITHOUT ROWID;
CREATE TABLE tool_days (day TEXT, name TEXT, {tools}, PRIMARY KEY (day, name)) WITHOUT ROWID;
"""


# Up to which time, in microseconds, buckets are how wide: 1 to 2 by 0.05, 2 to 5 by 0.1, 5 to 10
# by 0.25, in each decade from a millisecond to an hour and more.
_WIDTHS: list[tuple[int, int]] = [(1000, 50)] + [
    (10**decade * upto, 10**decade * width // 100)
    for decade in range(3, 9)
    for upto, width in ((2, 5), (5, 10), (10, 25))
]


def middle_ms(bucket: int) -> float:
    """The middle of a bucket, which is named by its lower end in microseconds."""
    width = next((width for upto, width in _WIDTHS if bucket < upto), _WIDTHS[-1][1])
    return (bucket + width / 2) / 1000.0


def create(db: Database) -> None:
    """Create the tables, fill them from the rows that are there, and set the triggers."""
    for statement in _statements():
        db.execute(statement)


def _statements() -> list[str]:
    tables = _TABLES.format(
        calls=_columns(CALL_SUMS),
        turns=_columns(TURN_SUMS),
        decisions=_columns(DECISION_SUMS),
        tools=_columns(TOOL_SUMS),
    )
    made = [part for part in tables.split(";") if part.strip()]
    for table, additions in _ADDITIONS.items():
        made += [addition("new", f"{table} AS new", "+") for addition in additions]
        body = ";\n".join(addition("new", _ONE, "+") for addition in additions)
        made.append(f"CREATE TRIGGER {table}_added AFTER INSERT ON {table} BEGIN {body}; END")
    gone = ";\n".join(addition("old", _ONE, "-") for addition in _ADDITIONS["turns"])
    come = ";\n".join(addition("new", _ONE, "+") for addition in _ADDITIONS["turns"])
    made.append(
        "CREATE TRIGGER turns_changed AFTER UPDATE OF status, role, started_at, total_ms ON turns "
        f"BEGIN {gone};\n{come}; END"
    )
    return made


def _columns(names: tuple[str, ...]) -> str:
    return ", ".join(f"{name} NUMERIC NOT NULL DEFAULT 0" for name in names)


def _day(column: str) -> str:
    return f"coalesce(date({column}, 'unixepoch'), '')"


def _bucket(ms: str) -> str:
    """SQL for the bucket of a time in milliseconds: its lower end in microseconds."""
    us = f"CAST({ms} * 1000 AS INTEGER)"
    cases = "".join(f" WHEN {us} < {upto} THEN {us} / {w} * {w}" for upto, w in _WIDTHS)
    widest = _WIDTHS[-1][1]
    return f"CASE{cases} ELSE {us} / {widest} * {widest} END"


def _add(table: str, keys: dict[str, str], sums: dict[str, str], source: str, where: str) -> str:
    """SQL that adds ``sums`` to the row of ``keys``: of a trigger's row, or of all of a table."""
    changes = ", ".join(f"{name} = {name} + excluded.{name}" for name in sums)
    all_rows = source != _ONE
    values = [f"sum({value})" if all_rows else value for value in sums.values()]
    groups = ", ".join(str(n + 1) for n in range(len(keys)))
    return (
        f"INSERT INTO {table} ({', '.join([*keys, *sums])}) "  # noqa: S608 - our own names
        f"SELECT {', '.join([*keys.values(), *values])} FROM {source} WHERE {where} "
        + (f"GROUP BY {groups} " if all_rows else "")
        + f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}"
    )


_FIRST_ATTEMPT = """(
    SELECT first.model || ' ' || first.endpoint FROM model_calls AS first
    WHERE first.trace_id = {row}.trace_id AND first.node = {row}.node
    AND first.attempt = 1 AND first.id < {row}.id ORDER BY first.id DESC LIMIT 1
)"""


def _calls(row: str, source: str, sign: str) -> str:
    ok = f"{row}.status = 'ok'"
    ms, ttft = f"coalesce({row}.latency_ms, 0)", f"coalesce({row}.ttft_ms, 0)"
    tokens = f"coalesce({row}.output_tokens, 0)"
    # calls that tell how fast tokens came after the first one
    timed = f"({ok} AND {row}.output_tokens > 0 AND {row}.latency_ms > {row}.ttft_ms)"
    first = _FIRST_ATTEMPT.format(row=row)
    values = (
        f"{row}.status IS NOT 'journaled'",
        f"{row}.status IS 'ok'",
        f"{row}.status IS 'error'",
        f"{row}.status IS 'cancelled'",
        f"{row}.status IS 'journaled'",
        f"{ok} AND {row}.attempt > 1 AND {row}.model || ' ' || {row}.endpoint IS NOT {first}",
        f"coalesce({row}.input_tokens, 0)",
        tokens,
        f"CASE WHEN {ok} THEN coalesce({row}.input_tokens, 0) + {tokens} ELSE 0 END",
        f"CASE WHEN {ok} THEN {tokens} ELSE 0 END",
        f"CASE WHEN {ok} THEN {ms} ELSE 0 END",
        timed,
        f"CASE WHEN {timed} THEN {ttft} ELSE 0 END",
        f"CASE WHEN {timed} THEN {tokens} ELSE 0 END",
        f"CASE WHEN {timed} THEN {ms} - {ttft} ELSE 0 END",
    )
    sums = {name: f"coalesce({value}, 0)" for name, value in zip(CALL_SUMS, values, strict=True)}
    return _add("call_days", _call_keys(row), sums, source, "true")


def _call_keys(row: str) -> dict[str, str]:
    names = {name: f"coalesce({row}.{name}, '')" for name in ("node", "role", "model")}
    return {"day": _day(f"{row}.started_at"), **names}


def _call_times(kind: str, column: str) -> _Addition:
    def addition(row: str, source: str, sign: str) -> str:
        same = " AND ".join(f"days.{key} = {value}" for key, value in _call_keys(row).items())
        series = f"(SELECT days.id FROM call_days AS days WHERE {same})"  # noqa: S608
        keys = {"series": series, "kind": f"'{kind}'", "bucket": _bucket(f"{row}.{column}")}
        where = f"{row}.status = 'ok' AND {row}.{column} >= 0"
        return _add("call_times", keys, {"count": "1"}, source, where)

    return addition


def _turns(row: str, source: str, sign: str) -> str:
    values = (
        "1",
        f"{row}.status IS 'done'",
        f"{row}.status IS 'failed'",
        f"{row}.status IS 'interrupted'",
        f"({row}.status IS 'done' AND {row}.role IS 'answer')",
    )
    sums = {name: f"{sign}({value})" for name, value in zip(TURN_SUMS, values, strict=True)}
    keys = {"day": _day(f"{row}.started_at")}
    return _add("turn_days", keys, sums, source, f"coalesce({row}.status, '') != 'running'")


def _turn_times(row: str, source: str, sign: str) -> str:
    keys = {"day": _day(f"{row}.started_at"), "bucket": _bucket(f"{row}.total_ms")}
    where = f"{row}.status = 'done' AND {row}.total_ms >= 0"
    return _add("turn_times", keys, {"count": f"{sign}1"}, source, where)


def _decisions(row: str, source: str, sign: str) -> str:
    values = (
        f"({row}.strategy IS NOT 'escalation')",
        f"({row}.strategy IS NOT 'escalation' AND {row}.routing_decision IS 'HANDLE')",
        f"({row}.strategy IS 'escalation')",
        f"coalesce({row}.latency_ms, 0)",
    )
    sums = dict(zip(DECISION_SUMS, values, strict=True))
    return _add("decision_days", {"day": _day(f"{row}.at")}, sums, source, "true")


def _tools(row: str, source: str, sign: str) -> str:
    made = f"{row}.status NOT IN ('not_meant', 'journaled')"
    values = (
        made,
        f"{row}.status IN ('error', 'unknown')",
        f"{row}.status IS 'not_meant'",
        f"{row}.status IS 'skipped'",
        f"CASE WHEN {made} THEN {row}.latency_ms END",
    )
    sums = {name: f"coalesce({value}, 0)" for name, value in zip(TOOL_SUMS, values, strict=True)}
    keys = {"day": _day(f"{row}.started_at"), "name": f"coalesce({row}.name, '')"}
    return _add("tool_days", keys, sums, source, "true")


_ADDITIONS: dict[str, tuple[_Addition, ...]] = {
    "model_calls": (_calls, _call_times("ttft", "ttft_ms"), _call_times("total", "latency_ms")),
    "turns": (_turns, _turn_times),
    "decisions": (_decisions,),
    "tool_calls": (_tools,),
}
