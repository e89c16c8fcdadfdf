"""What a replayed turn came to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rolecall.errors import RolecallError, TurnFailed
from rolecall.questions import Question
from rolecall.replay.comparison import Side
from rolecall.reply import Reply


def side_of_replay(
    row: Mapping[str, Any], reply: Reply | None, error: RolecallError | None
) -> Side:
    """The replay, without its tools.

    Args:
        row: the turn in the transcript.
        reply: what it brought, as far as it came.
        error: what ended it.
    """
    known: dict[str, Any] = {}
    if reply is not None:
        answered = [call for call in reply.calls if call["status"] == "ok"]
        known = {
            "decision": reply.decision,
            "strategy": reply.strategy,
            "path": reply.path,
            "model": answered[-1]["model"] if answered else None,
            "latency_ms": reply.timings_ms.get("total"),
            "input_tokens": reply.usage["input_tokens"] if answered else None,
            "output_tokens": reply.usage["output_tokens"] if answered else None,
        }
    if error is not None:
        told = reply.error if reply is not None else None
        known |= {
            "answer": (reply.text if reply is not None else "") or None,
            "error": told or str(error),
            "exit_code": error.exit_code,
        }
    elif reply is not None and reply.waiting_for is not None:
        asked = Question("", reply.waiting_for, reply.answer_schema)
        known |= {
            "error": f"it waits for the user: {asked.text}",
            "exit_code": TurnFailed.exit_code,
            "waits": True,
        }
    else:
        known |= {name: row[name] for name in ("answer", "role", "finish_reason")}
    return Side(**known)
