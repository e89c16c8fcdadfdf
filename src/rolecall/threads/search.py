"""Full-text search over the turns of all threads or of one."""

from __future__ import annotations

import re
from typing import Any

from rolecall.sqlite import Database
from rolecall.threads.thread_id import SCRATCH_REPLAY

_RANKED = 2_000
"""Of more matches than this, only the newest are ranked: the cost of a search stays bounded."""

_AROUND = 60

_BEST = (
    "SELECT rowid FROM (SELECT rowid, bm25(turns_fts) AS score FROM turns_fts "
    "WHERE turns_fts MATCH ? {where} ORDER BY rowid DESC LIMIT ?) "
    "ORDER BY score, rowid DESC LIMIT ? OFFSET ?"
)
# "+rowid": the index is read once and filtered, not asked anew for each row
_OF_THREAD = (
    "AND rowid >= (SELECT min(rowid) FROM turns WHERE thread_id = ?) "
    "AND +rowid IN (SELECT rowid FROM turns WHERE thread_id = ?)"
)
TURNS_OF_SCRATCH = (
    "SELECT turns.rowid FROM turns JOIN threads USING (thread_id) "  # noqa: S608 - our own names
    f"WHERE threads.forked_from IS NOT NULL AND threads.thread_id GLOB '{SCRATCH_REPLAY}*'"
)
"""SQL: what is there only while a turn is replayed, a copy of what other threads hold."""

_OF_ALL = f"AND +rowid NOT IN ({TURNS_OF_SCRATCH})"
_MARKED = (
    "SELECT turns_fts.rowid AS place, turns.thread_id, turns.number, turns.created_at, "
    "turns.question, turns.answer, "
    "CASE WHEN length(turns.question) + length(coalesce(turns.answer, '')) <= 8000 "
    "THEN snippet(turns_fts, -1, '[', ']', '…', 16) END AS snippet "
    "FROM turns_fts JOIN turns ON turns.rowid = turns_fts.rowid WHERE turns_fts MATCH ? "
    "AND turns_fts.rowid BETWEEN ? AND ? AND +turns_fts.rowid IN ({marks})"
)


def search(
    db: Database, text: str, thread_id: str | None, limit: int, offset: int
) -> list[dict[str, Any]]:
    """Turns whose question or answer has all words of a text, best match first.

    Args:
        db: the database.
        text: words in any order; ``word*`` stands for all words that begin so.
        thread_id: only turns of this thread.
        limit: how many at most.
        offset: how many of the best to skip.
    """
    words = match_expression(text)
    if not words:
        return []
    given = [] if thread_id is None else [thread_id, thread_id]
    where = _OF_THREAD if given else _OF_ALL
    rows = db.execute(_BEST.format(where=where), [words, *given, _RANKED, limit, offset])
    best = [rowid for (rowid,) in rows.fetchall()]
    if not best:
        return []
    marked = _MARKED.format(marks=", ".join("?" * len(best)))
    found = {
        row.pop("place"): row for row in db.query(marked, [words, min(best), max(best), *best])
    }
    for row in found.values():
        said = f"{row['question']}\n{row.pop('answer') or ''}"
        row["snippet"] = row["snippet"] or _excerpt(said, text)
    return [found[rowid] for rowid in best if rowid in found]


def _excerpt(said: str, text: str) -> str:
    """What stands around the first hit; FTS5's own takes minutes where hits are ten thousands."""
    words = "|".join(re.escape(stem) for word in text.split() if (stem := word.strip('*"')))
    hit = re.search(rf"\b({words})", said, re.IGNORECASE) if words else None
    start = max(hit.start() - _AROUND, 0) if hit else 0
    shown = said[start : start + 2 * _AROUND]
    if words:
        shown = re.sub(rf"\b({words})", r"[\1]", shown, flags=re.IGNORECASE)
    return f"{'…' if start else ''}{shown}…"


def match_expression(text: str) -> str:
    """A text as an FTS5 expression: each word quoted, nothing in it an operator."""
    plain = text.replace("\x00", " ").encode(errors="replace").decode()
    return " ".join(_quoted(word) for word in plain.split())


def _quoted(word: str) -> str:
    stem = word.rstrip("*")
    quoted = '"' + stem.replace('"', '""') + '"'
    return f"{quoted}*" if stem != word and any(c.isalnum() for c in stem) else quoted
