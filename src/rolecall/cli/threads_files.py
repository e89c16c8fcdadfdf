"""``rolecall threads export``, ``import``, ``backup``, ``restore``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rolecall.cli.options import JsonOption

Form = Literal["markdown", "jsonl"]
_DATABASES = ("threads.db", "telemetry.db")


def export(
    thread: Annotated[str | None, typer.Argument(help="The thread's id.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All threads.")] = False,
    form: Annotated[
        Form, typer.Option("--format", "-f", help="jsonl is complete and can be imported.")
    ] = "markdown",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; default: print.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Export threads: markdown to read, JSON lines to import, or one JSON object."""
    from rolecall import bridge
    from rolecall.cli.output import err
    from rolecall.cli.threads_open import open_threads
    from rolecall.cli.threads_written import as_object, in_lines, in_markdown
    from rolecall.errors import UsageError

    if (thread is None) != every:
        raise UsageError("name one thread, or give --all")
    write = as_object if as_json else in_markdown if form == "markdown" else in_lines

    with open_threads() as threads:

        async def chosen() -> AsyncIterator[str]:
            if thread is not None:
                await threads.transcript.thread(thread)  # is it there?
                yield thread
            else:
                async for name in threads.transcript.each_thread():
                    yield name

        def save(take: Callable[[str], Any]) -> int:
            return bridge.run(write(threads, chosen(), take, single=thread is not None))

        if output is None:
            save(_printed)
            return
        count = _into_file(output, save)
    err.print(f"{count} turns written to {output}")


def import_(
    file: Annotated[Path, typer.Argument(help="A file that export --format jsonl wrote.")],
    name: Annotated[
        str | None, typer.Option("--as", help="The thread's id here.", metavar="ID")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Import threads: all of a file, or none."""
    from rolecall import bridge
    from rolecall.cli.output import out, print_json
    from rolecall.cli.threads_open import open_threads
    from rolecall.threads.archive_reading import Importer

    with open_threads() as threads:
        importer = Importer(threads.file, threads.saver, threads.locks)
        done = bridge.run(importer.take_in(file, name))
    if as_json:
        print_json({"imported": [vars(one) for one in done]})
        return
    for one in done:
        out.print(f"{one.thread_id}: {one.turns} turns, {one.steps} steps")


def backup(
    file: Annotated[
        Path, typer.Argument(help="The copy: a file, or a folder to copy the traces too.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace an older copy.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy the threads while they are in use. A folder takes threads and traces."""
    from rolecall.cli.output import out, print_json
    from rolecall.home import folder
    from rolecall.threads.backup import back_up

    targets = [file / name for name in _DATABASES] if file.is_dir() else [file]
    written: list[tuple[str, int]] = []
    for name, target in zip(_DATABASES, targets, strict=False):
        source = folder() / name
        if name == _DATABASES[0] or source.exists():
            written.append((str(target), back_up(source, target, replace=force)))
    if as_json:
        print_json({"written": [{"file": name, "bytes": size} for name, size in written]})
        return
    for name, size in written:
        out.print(f"{name}: {size / 1e6:.1f} MB")


def restore(
    file: Annotated[Path, typer.Argument(help="A copy that backup made: a file or a folder.")],
    as_json: JsonOption = False,
) -> None:
    """Put a copy back, after checking it. What is there now is moved aside, not deleted."""
    from rolecall.cli.output import out, print_json
    from rolecall.home import folder
    from rolecall.telemetry.schema import migrations as of_telemetry
    from rolecall.threads.backup import restore as put_back
    from rolecall.threads.schema import migrations as of_threads

    kinds = ((of_threads, "threads"), (of_telemetry, "model_calls"))
    sources = [file / name for name in _DATABASES] if file.is_dir() else [file]
    done = []
    for name, source, (kind, table) in zip(_DATABASES, sources, kinds, strict=False):
        if name == _DATABASES[0] or source.exists():
            moved = put_back(source, folder() / name, kind, table)
            done.append({"file": name, "moved_to": str(moved) if moved else None})
    if as_json:
        print_json({"restored": done})
        return
    for one in done:
        aside = f"; what was there is now {one['moved_to']}" if one["moved_to"] else ""
        out.print(f"{one['file']} restored{aside}")


def _printed(text: str) -> None:
    from rolecall.cli.output import write

    write(text)


def _into_file(output: Path, save: Callable[[Callable[[str], Any]], int]) -> int:
    """Write a file whole, or leave what was there."""
    import os

    from rolecall.database_errors import file_error

    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with part.open("x", encoding="utf-8") as file:
            count = save(file.write)
        part.replace(output)
    except OSError as error:
        raise file_error("write", output, error) from error
    finally:
        part.unlink(missing_ok=True)
    return count
