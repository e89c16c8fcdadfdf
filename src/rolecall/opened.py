"""What an open assistant works with: its stack, the compiled graph, this home's threads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rolecall.config.schema import Stack
from rolecall.telemetry.recorder import Recorder
from rolecall.threads.journal import Journal
from rolecall.threads.saver import ThreadSaver
from rolecall.threads.transcript import Transcript

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph


@dataclass(frozen=True)
class Opened:
    """The parts that turns, forks and the work after turns share.

    Attributes:
        stack: its settings bound what is done.
        graph: the assistant, compiled with ``saver``.
        saver: this home's checkpoints.
        transcript: this home's turns.
        journal: answers and tool calls from before their step was saved.
        recorder: takes telemetry.
        locks: the folder of lock files.
    """

    stack: Stack
    graph: CompiledStateGraph[Any, Any, Any, Any]
    saver: ThreadSaver
    transcript: Transcript
    journal: Journal
    recorder: Recorder
    locks: Path
