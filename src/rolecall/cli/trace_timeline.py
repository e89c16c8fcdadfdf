"""``rolecall trace timeline``: when what ran in one turn."""

from __future__ import annotations

from pathlib import Path

from rolecall.errors import StateError, UsageError


def show_timeline(trace: str, output: Path | None, *, as_json: bool) -> None:
    """Draw a trace's timeline into a file, or print it.

    Raises:
        UsageError: no such trace, or the file's ending names no format.
        StateError: the file cannot be written.
    """
    from rolecall.cli.output import print_json, write
    from rolecall.telemetry.open import open_traces
    from rolecall.telemetry.timeline import timeline_of
    from rolecall.timeline_drawing import FORMS, draw_timeline, to_text

    form = None if output is None else output.suffix.lower().removeprefix(".")
    if form is not None and form not in FORMS:
        raise UsageError(f"--output {output}: expected a name that ends in .svg, .png or .html")
    found = open_traces().show(trace)
    timeline = timeline_of(found)
    if output is not None and form is not None:
        try:
            output.write_bytes(draw_timeline(timeline, form))
        except OSError as error:
            raise StateError(f"cannot write {output}: {error.strerror or error}") from error
    if as_json:
        print_json(
            {
                "trace_id": found["turn"]["trace_id"],
                "file": None if output is None else str(output),
                "total_ms": timeline.total_ms,
                "bars": [bar.as_dict() for bar in timeline.bars],
            }
        )
    elif output is None:
        write(to_text(timeline))
