"""Earlier turns of a thread, found by what was said: what the tool ``recall`` looks into."""

from __future__ import annotations

import re
from typing import Any

from rolecall.database import DatabaseFile
from rolecall.sqlite import Database
from rolecall.threads.search import TURNS_OF_SCRATCH
from rolecall.tools.recall import EarlierTurn

_WORD = re.compile(r"\w+")
_SHORTEST = 3  # letters of a word that is looked for
_STEM = 5  # letters after which a word's ending does not matter
_MOST_WORDS = 16
_COMMON = frozenset(
    """
    the and for are was were you your our has have had did does what which who whom when where why
    how that this these those with from about into can could would should will not but any all
    said say tell told earlier before user assistant conversation mention mentioned
    """.split()  # noqa: SIM905 - words are read more easily without quotes
)
_FOUND = (
    "SELECT turns.thread_id, turns.number, turns.created_at, turns.question, turns.answer "
    "FROM turns_fts JOIN turns ON turns.rowid = turns_fts.rowid "
    "WHERE turns_fts MATCH ?1 AND turns.status = 'done' "
    "{}ORDER BY bm25(turns_fts), turns.rowid DESC LIMIT ?2"
)
_OF_THREAD = "AND turns_fts.rowid IN (SELECT rowid FROM turns WHERE thread_id = ?3) "
_OF_ALL = f"AND turns_fts.rowid NOT IN ({TURNS_OF_SCRATCH} AND threads.thread_id != ?3) "


class ThreadHistory:
    """The answered turns of ``threads.db``.

    Args:
        file: the database.
        all_threads: whether a search also finds turns of other threads.
    """

    def __init__(self, file: DatabaseFile, all_threads: bool = False) -> None:
        self._file = file
        self._all_threads = all_threads

    async def search(self, thread_id: str, text: str, limit: int) -> list[EarlierTurn]:
        """Turns that have any of the words of a text, the best match first.

        Words that begin alike count; the rarer a word, the more it counts (bm25).

        Raises:
            StateError: the database cannot be read.
        """
        words = _wanted(text)
        if not words:
            return []
        sql = _FOUND.format(_OF_ALL if self._all_threads else _OF_THREAD)
        values: list[Any] = [words, limit, thread_id]

        def read(db: Database) -> list[EarlierTurn]:
            return [
                EarlierTurn(
                    thread=None if row[0] == thread_id else row[0],
                    number=row[1],
                    at=row[2],
                    question=row[3],
                    answer=row[4] or "",
                )
                for row in db.execute(sql, values)
            ]

        return await self._file.run(read)


def _wanted(text: str) -> str:
    """An FTS5 expression: any of the words that are not too common."""
    words = dict.fromkeys(word.lower() for word in _WORD.findall(text))
    telling = [
        word
        for word in words
        if word not in _COMMON and (len(word) >= _SHORTEST or word.isdigit() or not word.isascii())
    ]
    return " OR ".join(
        f'"{word[:-1]}"*' if len(word) > _STEM and word.isalpha() else f'"{word}"'
        for word in telling[:_MOST_WORDS]
    )
