"""``rolecall graph``: draws a stack's graph without the network."""

from __future__ import annotations

import sys
from pathlib import Path

from rolecall.errors import StateError, UsageError

_FORMS = ("ascii", "mermaid", "svg", "png")


def draw(
    name: str, form: str, output: str | None, stack: str | None, trace: str | None = None
) -> None:
    """Draw a graph to a file or standard output; with ``trace``, its way stands out.

    Raises:
        UsageError: no such graph, format or trace, a trace of another graph, or a picture would
            go to a terminal.
        StateError: the file cannot be written.
    """
    from rolecall.config.load import load_stack
    from rolecall.drawing import draw_graph
    from rolecall.graphs.assistant import build_assistant
    from rolecall.models.client import LocalLLMClient

    if name != "assistant":
        raise UsageError(f"there is no graph {name!r}; graphs: assistant")
    if form not in _FORMS:
        raise UsageError(f"there is no format {form!r}; formats: {', '.join(_FORMS)}")
    loaded = load_stack(stack)
    drawn = build_assistant(LocalLLMClient(loaded)).compile(name="rolecall").get_graph()
    path = _path(trace) if trace is not None else []
    if missing := sorted(set(path) - set(drawn.nodes)):
        raise UsageError(
            f"trace {trace} went through {', '.join(missing)}, which stack {loaded.name} does not "
            "have: name its stack with --stack"
        )
    data = draw_graph(drawn, form, path)
    if output is None:
        if form == "png" and sys.stdout.isatty():
            raise UsageError("a PNG does not belong on a terminal: --output graph.png")
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return
    try:
        Path(output).write_bytes(data)
    except OSError as error:
        raise StateError(f"cannot write {output}: {error.strerror or error}") from error


def _path(trace: str) -> list[str]:
    from rolecall.telemetry.open import open_traces
    from rolecall.telemetry.steps import path_of

    return path_of(open_traces().show(trace))
