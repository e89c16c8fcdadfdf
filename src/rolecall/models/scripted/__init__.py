"""A scripted runner: a real HTTP server on loopback that says what a test tells it to.

    with ScriptedRunner(models=["tiny"]) as runner:
        runner.enqueue("Hello")
        runner.enqueue(ScriptedReply(tool_calls=[{"name": "clock", "args": {}}]))
        ...                                   # point a stack's endpoint at runner.endpoint
        assert runner.requests[0].body["model"] == "tiny"

It plays chat completions, Responses and Ollama's native API, streamed and not, and fails on
demand in every way of :class:`Fault`.
"""

from __future__ import annotations

from rolecall.models.scripted.dialect import Dialect
from rolecall.models.scripted.runner import ScriptedRunner
from rolecall.models.scripted.script import Fault, FaultKind, Request, ScriptedReply

__all__ = ["Dialect", "Fault", "FaultKind", "Request", "ScriptedReply", "ScriptedRunner"]
