"""Whether the state that a step holds is one that this program's graph can go on from."""

from __future__ import annotations

from langgraph.checkpoint.base import CheckpointTuple

from rolecall.errors import UndecodableState
from rolecall.graphs.state import STATE_VERSION, AssistantState
from rolecall.schema_version import newer_state

VERSION_KEY = "state_version"
"""Where a step's metadata has the version; steps of version 1 have none."""

_KNOWN = frozenset(AssistantState.__annotations__)
_WITHIN_A_TURN = frozenset({"messages", "turn", "tool_rounds", "active_s"})
_OF_LANGGRAPH = ("__", "branch:", "join:", "start:")


def check_state(step: CheckpointTuple) -> None:
    """Refuse to go on from a state that would be misread. Nothing is changed.

    Raises:
        NewerState: a newer program saved it.
        UndecodableState: it has values that the graph does not know, or lacks some.
    """
    where = step.config["configurable"]
    if where.get("checkpoint_ns"):
        return  # a graph of a tool's own
    given: dict[str, object] = dict(step.metadata)
    version = given.get(VERSION_KEY, 1)
    about = f"step {step.checkpoint['id']} of thread {where['thread_id']}"
    if not isinstance(version, int) or version > STATE_VERSION:
        raise newer_state(f"{about} holds a state of version {version}")
    names = {n for n in step.checkpoint["channel_values"] if not n.startswith(_OF_LANGGRAPH)}
    unknown = names - _KNOWN
    lacking = _WITHIN_A_TURN - names if "turn" in names else frozenset()
    if unknown or lacking:
        what = (
            f"holds {', '.join(sorted(unknown))}, which this graph does not have"
            if unknown
            else f"lacks {', '.join(sorted(lacking))}"
        )
        raise UndecodableState(
            f"{about} {what}: another graph saved it. Nothing was changed. Fork the thread at an "
            f"earlier step: rolecall threads show {where['thread_id']} --steps"
        )
