"""What must hold between the rows of ``threads.db``, as SQL, and how it is mended.

Each statement takes ``:thread``: one thread's id, or NULL for all.
"""

from __future__ import annotations

from dataclasses import dataclass

_NOW = "CAST(strftime('%s', 'now') AS REAL)"
_ONE = "(:thread IS NULL OR thread_id = :thread)"


@dataclass(frozen=True)
class Rule:
    """A rule over rows.

    Attributes:
        name: what is checked.
        tables: those it needs; the rule is left out where one is missing.
        find: gives a thread's id and a number for each thread that breaks it.
        problem: says what is wrong; ``{n}`` is that number.
        mend: statements that make it hold again; none: it cannot be mended.
        remedy: what helps where nothing can be mended.
    """

    name: str
    tables: tuple[str, ...]
    find: str
    problem: str
    mend: tuple[str, ...] = ()
    remedy: str = ""


def _thread_rows(source: str, title: str, conditions: str) -> str:
    return (
        "INSERT INTO threads (thread_id, title, created_at, updated_at, last_used) "  # noqa: S608
        f"SELECT thread_id, {title}, {_NOW}, {_NOW}, "
        "(SELECT coalesce(max(last_used), 0) FROM threads) + 1 "
        f"FROM {source} WHERE {conditions} GROUP BY thread_id"
    )


_NO_THREAD = f"thread_id NOT IN (SELECT thread_id FROM threads) AND {_ONE}"  # noqa: S608
_LOST_WRITES = (
    "NOT EXISTS (SELECT 1 FROM saver_steps s WHERE s.line_id = saver_writes.line_id "
    "AND s.checkpoint_id = saver_writes.checkpoint_id)"
)
_NO_LINE = "line_id NOT IN (SELECT line_id FROM saver_lines)"
_NO_DECISION = "decision IS NOT NULL AND NOT json_valid(decision)"
_STALE = (
    "kind = 'answer' AND NOT EXISTS (SELECT 1 FROM turns t WHERE t.turn_id = journal.turn_id "
    "AND t.status != 'done')"
)
_OF_NO_TURN = "NOT EXISTS (SELECT 1 FROM turns t WHERE t.turn_id = journal.turn_id)"

RULES = (
    Rule(
        "turns",
        ("turns", "threads"),
        f"SELECT thread_id, count(*) FROM turns WHERE {_NO_THREAD} GROUP BY thread_id",  # noqa: S608
        "{n} turns belong to a thread that is not listed",
        (_thread_rows("turns", "substr(min(question), 1, 60)", _NO_THREAD),),
    ),
    Rule(
        "turn numbers",
        ("turns",),
        "SELECT thread_id, count(*) - count(DISTINCT number) AS n FROM turns NOT INDEXED "  # noqa: S608
        f"WHERE {_ONE} GROUP BY thread_id HAVING n > 0",
        "{n} turns have a number that another one has",
        (
            "UPDATE turns SET number = -rowid WHERE thread_id IN (SELECT thread_id FROM turns "  # noqa: S608
            f"NOT INDEXED WHERE {_ONE} GROUP BY thread_id "
            "HAVING count(*) > count(DISTINCT number))",
            "UPDATE turns SET number = (SELECT count(*) FROM turns AS other "
            "WHERE other.thread_id = turns.thread_id AND other.rowid <= turns.rowid) "
            "WHERE number < 0",
        ),
    ),
    Rule(
        "lost turns",
        ("turns",),
        "SELECT thread_id, max(number) - count(DISTINCT number) AS n FROM turns "  # noqa: S608
        f"WHERE {_ONE} GROUP BY thread_id HAVING n > 0",
        "{n} turns before the last one are missing",
        remedy="put a backup back: rolecall threads restore FILE",
    ),
    Rule(
        "decisions",
        ("turns",),
        f"SELECT thread_id, count(*) FROM turns WHERE {_NO_DECISION} AND {_ONE} "  # noqa: S608
        "GROUP BY thread_id",
        "{n} turns have a decision that cannot be read",
        (f"UPDATE turns SET decision = NULL WHERE {_NO_DECISION} AND {_ONE}",),  # noqa: S608
    ),
    Rule(
        "steps of no thread",
        ("saver_lines", "threads"),
        f"SELECT thread_id, count(*) FROM saver_lines WHERE {_NO_THREAD} GROUP BY thread_id",  # noqa: S608
        "steps are kept, but the thread is not listed and has no turns",
        (_thread_rows("saver_lines", "'found by threads check'", _NO_THREAD),),
    ),
    Rule(
        "threads without steps",
        ("saver_lines", "turns"),
        "SELECT thread_id, count(*) FROM turns WHERE status = 'done' AND thread_id NOT IN "  # noqa: S608
        f"(SELECT thread_id FROM saver_lines) AND {_ONE} GROUP BY thread_id",
        "{n} turns can be read, but no step is kept: the models will not remember them",
        remedy="nothing is lost to read; put a backup back to go on where it was",
    ),
    Rule(
        "writes of no step",
        ("saver_writes", "saver_steps", "saver_lines"),
        "SELECT coalesce(l.thread_id, '') AS thread_id, count(*) FROM saver_writes "  # noqa: S608
        f"LEFT JOIN saver_lines l USING (line_id) WHERE {_LOST_WRITES} AND {_ONE} "
        "GROUP BY l.thread_id",
        "{n} writes belong to a step that is gone",
        (f"DELETE FROM saver_writes WHERE {_LOST_WRITES}",),  # noqa: S608
    ),
    Rule(
        "rows of no line",
        ("saver_parts", "saver_steps", "saver_lines"),
        "SELECT '' AS thread_id, n FROM (SELECT "  # noqa: S608
        f"(SELECT count(*) FROM saver_parts WHERE {_NO_LINE}) + "
        f"(SELECT count(*) FROM saver_steps WHERE {_NO_LINE}) AS n) "
        "WHERE n > 0 AND :thread IS NULL",
        "{n} rows belong to no thread",
        (
            f"DELETE FROM saver_parts WHERE {_NO_LINE}",  # noqa: S608
            f"DELETE FROM saver_steps WHERE {_NO_LINE}",  # noqa: S608
        ),
    ),
    Rule(
        "journal",
        ("journal", "turns"),
        f"SELECT thread_id, count(*) FROM journal WHERE ({_STALE} OR {_OF_NO_TURN}) AND {_ONE} "  # noqa: S608
        "GROUP BY thread_id",
        "{n} journal entries of turns that are done or gone",
        (f"DELETE FROM journal WHERE ({_STALE} OR {_OF_NO_TURN}) AND {_ONE}",),  # noqa: S608
    ),
    Rule(
        "half-done calls",
        ("journal", "turns"),
        "SELECT thread_id, count(*) FROM journal WHERE kind = 'tool' AND status = 'begun' "  # noqa: S608
        "AND turn_id IN (SELECT turn_id FROM turns WHERE status IN ('failed', 'interrupted')) "
        f"AND {_ONE} GROUP BY thread_id",
        "{n} tool calls may or may not have happened",
        remedy="rolecall resume {thread} asks what to do about them",
    ),
    Rule(
        "summaries",
        ("summaries", "threads"),
        f"SELECT thread_id, count(*) FROM summaries WHERE {_NO_THREAD} GROUP BY thread_id",  # noqa: S608
        "a summary is kept of a thread that is gone",
        (f"DELETE FROM summaries WHERE {_NO_THREAD}",),  # noqa: S608
    ),
)
