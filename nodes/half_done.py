"""A tool call that a dead run had begun: it may or may not have happened, so the user decides."""

from __future__ import annotations

import time
from typing import Any

from langgraph.errors import GraphInterrupt
from langgraph.types import Interrupt

from rolecall.nodes.journal import CallAsLeft, Journal, TurnKey, kept

AGAIN, SKIP, RESULT = "again", "skip", "result:"
_CHOICES = [AGAIN, SKIP, f"{RESULT} TEXT"]
_SCHEMA = {
    "title": "What becomes of a call that was half done",
    "anyOf": [
        {"enum": [AGAIN, SKIP]},
        {"type": "string", "pattern": rf"^{RESULT}\s*\S"},
    ],
}
_SKIPPED = (
    "Error: the turn was stopped while this call was running: it may or may not have happened. "
    "The user decided that it is not made again."
)


def half_done(key: str, call: CallAsLeft) -> GraphInterrupt:
    """What the tool runner raises: the turn waits until the user has decided."""
    arguments = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(call.began_at))
    value = {
        "half_done": key,
        "tool": call.name,
        "arguments": call.arguments,
        "since": since,
        "question": (
            f"{call.name}({arguments}) was begun at {since} and its end is not known: "
            "it may or may not have happened. Make the call again, skip it, or say what it gave?"
        ),
        "choices": _CHOICES,
    }
    return GraphInterrupt((Interrupt.from_ns(value, f"half_done:{key}", response_schema=_SCHEMA),))


def key_in(value: Any) -> str | None:
    """Which call a question is about, when it is one of ours."""
    return value.get("half_done") if isinstance(value, dict) else None


async def decide(journal: Journal, turn: TurnKey, key: str, answer: str) -> None:
    """Write the user's decision down; the turn can run on after it.

    Args:
        journal: where the call stands.
        turn: whose call it is.
        key: which one.
        answer: ``again``, ``skip`` or ``result: TEXT``.
    """
    call = await journal.call(turn, key)
    if call is None:
        return
    if answer == AGAIN:
        await kept(journal.let_wait(turn, key))
    elif answer == SKIP:
        await kept(journal.end_call(turn, key, call.began_at, "skipped", _SKIPPED))
    else:
        result = answer.removeprefix(RESULT).strip()
        await kept(journal.end_call(turn, key, call.began_at, "success", result))
