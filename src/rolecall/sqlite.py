"""sqlite-utils, without pandas.

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

__all__ = ["Database", "Migrations"]
