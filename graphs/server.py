"""The graph that servers load (``langgraph.json``): the active stack, no checkpointer.

A server brings its own checkpointer. Traces go to ``telemetry.db`` as they do from the command
line.
"""

from __future__ import annotations

from rolecall.config.load import load_stack
from rolecall.graphs.assistant import build_assistant
from rolecall.models.client import LocalLLMClient
from rolecall.telemetry.open import open_recorder

_stack = load_stack()
graph = build_assistant(
    LocalLLMClient(_stack), recorder=open_recorder(_stack.settings.telemetry)
).compile(name="rolecall")
