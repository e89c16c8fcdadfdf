"""sqlite-utils, without pandas; texts that SQLite takes.

It loads pandas wherever that is installed, for a kind of value that nobody stores here: a third of
a second and 40 MB at every start.
"""

from __future__ import annotations

import sys

_unwanted = "pandas" not in sys.modules
if _unwanted:
    sys.modules["pandas"] = None  # type: ignore[assignment]  # an import of it fails
try:
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations
finally:
    if _unwanted:
        del sys.modules["pandas"]

__all__ = ["Database", "Migrations", "storable"]


def storable(text: str) -> str:
    """A text as UTF-8 can hold it: models write halves of surrogate pairs."""
    return text if text.isascii() else text.encode(errors="replace").decode()
