"""Corrections: decisions that the user said should have been others.

Kept as JSON lines in ``ROLECALL_HOME/router/corrections.jsonl``, in the form of labelled prompts,
so that they can be read, edited and handed to ``rolecall router eval --data``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from rolecall.errors import DataError, StateError, UsageError
from rolecall.home import folder, home
from rolecall.routing.examples import Example, read_examples
from rolecall.telemetry.traces import Traces

_CONTEXT_TURNS = 4
_AS_IT_IS: Any = {"encoding": "utf-8", "errors": "surrogateescape"}  # also what was edited badly


@dataclass(frozen=True)
class Correction:
    """What a correction says: the message of a trace, and who should have answered it."""

    prompt: str
    context: list[str]
    label: str
    was: str
    trace_id: str


def corrections_path() -> Path:
    """Where corrections are kept."""
    return home() / "router" / "corrections.jsonl"


def correct(traces: Traces, trace_id: str, label: str, labels: Sequence[str]) -> Correction:
    """Record that a trace's message belongs to ``label``; a second correction replaces the first.

    Raises:
        UsageError: there is no such trace or label, the trace keeps no text, or it was decided
            like this already.
        DataError: the corrections made so far cannot be read; nothing was changed.
        StateError: the correction cannot be saved.
    """
    wanted = label.strip().upper()
    if wanted not in labels:
        raise UsageError(f"there is no label {label!r}; labels: {', '.join(labels)}")
    made = corrections()  # a file that cannot be read is told of before it is written to
    trace = traces.show(trace_id)
    turn = trace["turn"]
    if not turn["question"]:
        raise UsageError(
            f"trace {turn['trace_id']} keeps no text (settings.telemetry.store_texts is false); "
            f"add a line to {corrections_path()} by hand"
        )
    decisions = trace["decisions"]
    was = (decisions[0]["target_model"] or "HANDLE") if decisions else ""
    if was == wanted and all(row.id != turn["trace_id"] for row in made):
        raise UsageError(f"trace {turn['trace_id']} was decided as {wanted}: nothing to correct")
    earlier = traces.questions_before(turn["trace_id"], _CONTEXT_TURNS)
    correction = Correction(turn["question"], earlier, wanted, was, turn["trace_id"])
    _write(correction)
    return correction


def corrections() -> list[Example]:
    """All corrections; none when there is no file.

    Raises:
        DataError: the file was edited into something that cannot be read.
    """
    path = corrections_path()
    with suppress(OSError):  # what cannot be read is told below
        if not path.exists() or not path.read_bytes().strip():
            return []
    try:
        return read_examples(path)
    except DataError as error:
        raise DataError(
            f"{error}\nThese are your corrections: mend what is wrong in {path}, or delete it."
        ) from error


def _write(correction: Correction) -> None:
    path = folder("router") / corrections_path().name
    row: dict[str, Any] = {
        "id": correction.trace_id,
        "prompt": correction.prompt,
        "context": correction.context,
        "label": correction.label,
        "source": "corrections",
        "was": correction.was,
        "trace_id": correction.trace_id,
        "at": time.time(),
    }
    try:
        with FileLock(path.with_suffix(".lock"), timeout=10):
            old = path.read_text(**_AS_IT_IS) if path.is_file() else ""
            lines = [line for line in old.split("\n") if line.strip()]
            kept = [line for line in lines if _trace_of(line) != correction.trace_id]
            fresh = path.with_suffix(".tmp")
            kept.append(json.dumps(row, ensure_ascii=False))
            fresh.write_text("\n".join(kept) + "\n", **_AS_IT_IS)
            fresh.replace(path)
    except OSError as error:
        raise StateError(f"cannot write {path}: {error.strerror or error}") from error


def _trace_of(line: str) -> str | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found.get("trace_id") if isinstance(found, dict) else None
