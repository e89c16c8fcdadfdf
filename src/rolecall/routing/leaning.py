"""What a router model says about an empty message, kept between commands.

Measuring it takes a few calls; it only changes with the model or the prompt.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from rolecall.home import home

_KEEP_S = 30 * 24 * 3600.0


class LeaningFile:
    """Leanings by model and prompt. A file that cannot be used is as good as none."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or home() / "router-leaning.json"

    def get(self, model: str, prompt: Any) -> dict[str, float] | None:
        """The leaning by label, when it was measured in the last 30 days."""
        entry = self._read().get(_key(model, prompt))
        if not isinstance(entry, dict) or time.time() - entry.get("at", 0) > _KEEP_S:
            return None
        try:
            return {str(label): float(value) for label, value in entry["leaning"].items()}
        except (AttributeError, KeyError, TypeError, ValueError):
            return None

    def put(self, model: str, prompt: Any, leaning: dict[str, float]) -> None:
        """Keep a leaning. Two processes at once: one of them is kept, both are right."""
        entries = self._read()
        entries[_key(model, prompt)] = {"model": model, "leaning": leaning, "at": time.time()}
        fresh = self._path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(entries), encoding="utf-8")
            fresh.replace(self._path)
        except OSError:
            fresh.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return entries if isinstance(entries, dict) else {}


def _key(model: str, prompt: Any) -> str:
    text = json.dumps([model, prompt], ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
