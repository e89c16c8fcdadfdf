"""``rolecall trace export`` and ``import``: traces as JSON lines."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rolecall.errors import StateError, UsageError


def export_traces(since: str | None, output: Path | None, *, texts: bool, as_json: bool) -> None:
    """Write the traces to a file, or to standard output.

    Raises:
        UsageError: ``--json`` without a file, or ``since`` is not understood.
        StateError: the file cannot be written; what stood there before is left.
    """
    from rolecall.cli.output import drop_output, err, print_json
    from rolecall.telemetry.archive import write_traces
    from rolecall.telemetry.open import open_file
    from rolecall.telemetry.stats import first_day

    day = first_day(since)
    if output is None:
        if as_json:
            raise UsageError("--json tells what was written to a file: add --output FILE")
        try:
            write_traces(open_file(), sys.stdout, since=day, texts=texts)
            sys.stdout.flush()
        except BrokenPipeError:
            drop_output()
        return
    beside = output.with_name(output.name + ".part")
    try:
        with beside.open("w", encoding="utf-8") as file:
            count = write_traces(open_file(), file, since=day, texts=texts)
        os.replace(beside, output)
    except OSError as error:
        raise StateError(f"cannot write {output}: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)
    if as_json:
        print_json({"file": str(output), "traces": count})
    else:
        err.print(f"{count:,} traces written to {output}")


def import_traces(path: Path, *, as_json: bool) -> None:
    """Add a file's traces, all of them or none.

    Raises:
        UsageError: the file or one of its lines is wrong.
    """
    from rolecall.cli.output import out, print_json
    from rolecall.telemetry.archive import read_traces
    from rolecall.telemetry.open import open_file

    done = read_traces(open_file(), path)
    if as_json:
        print_json({"file": str(path), "added": done.added, "skipped": done.skipped})
    else:
        skipped = f", {done.skipped:,} skipped: their ids are in use" if done.skipped else ""
        out.print(f"{done.added:,} traces added{skipped}.")
