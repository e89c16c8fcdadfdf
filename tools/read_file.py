"""The tool that shows a model a text file of the workspace."""

from __future__ import annotations

from collections.abc import Callable

from rolecall.tools.failure import failure, shortened
from rolecall.tools.workspace import MAX_READ_BYTES, TextFile, Workspace

MAX_LINES = 2000
MAX_OUTPUT_CHARS = 40_000
_MAX_NAMES = 200


def reader(workspace: Workspace) -> Callable[..., str]:
    """The function ``read_file`` for one workspace."""

    def read_file(path: str, start_line: int = 1, max_lines: int = 400) -> str:
        """Read a text file of the workspace, or list a folder of it.

        Args:
            path: The file, relative to the workspace, such as src/main.py. A folder such as .
                is listed.
            start_line: The first line to show, counted from 1.
            max_lines: How many lines to show at most.
        """
        if workspace.is_folder(path):
            return _listing(path, workspace.names(path))
        return _shown(workspace.read(path), max(1, start_line), max(1, min(max_lines, MAX_LINES)))

    return read_file


def _shown(file: TextFile, start: int, count: int) -> str:
    total = len(file.lines)
    if not total:
        return f"[{file.path} is empty]"
    if start > total:
        raise failure(
            f"start_line {start} is past the end: {file.path} has {total} lines"
            f"{' that can be read' if file.cut else ''}."
        )
    shown: list[str] = []
    room = MAX_OUTPUT_CHARS
    for line in file.lines[start - 1 : start - 1 + count]:
        if len(line) + 1 > room:
            break
        shown.append(line)
        room -= len(line) + 1
    if not shown:
        shown.append(f"{file.lines[start - 1][:MAX_OUTPUT_CHARS]}… [line cut]")
    last = start + len(shown) - 1
    notes = [f"{file.path}, lines {start}-{last} of {total}"]
    if last < total:
        notes.append(f"go on with start_line={last + 1}")
    if file.cut:
        notes.append(
            f"the file is cut: only the first {MAX_READ_BYTES} of its {file.size} bytes are read"
        )
    return "\n".join([f"[{'; '.join(notes)}]", *shown])


def _listing(path: str, names: list[str]) -> str:
    more = f"\n[{len(names) - _MAX_NAMES} more]" if len(names) > _MAX_NAMES else ""
    listed = "\n".join(names[:_MAX_NAMES]) or "[nothing]"
    return f"[{shortened(path)} is a folder; it holds]\n{listed}{more}"
