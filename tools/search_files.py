"""The tool that finds text in the files of the workspace."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import regex

from rolecall.tools.failure import failure, shortened
from rolecall.tools.workspace import MAX_READ_BYTES, TextFile, Workspace

MAX_FILES = 5000
MAX_BYTES = 50_000_000
MAX_MATCHES = 100
MAX_PATTERN_CHARS = 500
MAX_SECONDS = 10.0
_MAX_LINE_CHARS = 240
_CONTEXT_CHARS = 80


def searcher(workspace: Workspace, seconds: float = MAX_SECONDS) -> Callable[..., str]:
    """The function ``search_files`` for one workspace; a call takes ``seconds`` at most."""

    def search_files(pattern: str, path: str = ".") -> str:
        """Search the text files of the workspace, line by line, with a regular expression.

        Answers with one line for each match: file:line: text. Case matters unless the pattern
        starts with (?i). Hidden folders, binary files, node_modules and the like are left out.

        Args:
            pattern: What to look for: a regular expression, or plain text.
            path: The file or folder to search, relative to the workspace.
        """
        wanted, note = _compiled(pattern)
        search = _Search(workspace, wanted, time.monotonic() + seconds)
        if workspace.is_folder(path):
            found = search.through(workspace.walk(path))
        else:
            found = list(search.matches(workspace.read(path), MAX_MATCHES))
        if search.ended_by and not found:
            raise failure(f"no match so far, but {search.ended_by}.")
        if not found:
            found = [f"[no match for {shortened(pattern)} in {search.files} files]"]
        elif search.ended_by:
            found.append(f"[stopped: {search.ended_by}]")
        if search.cut:
            found.append(
                f"[only the first {MAX_READ_BYTES} bytes were searched of: "
                f"{', '.join(search.cut[:5])}]"
            )
        return "\n".join([*note, *found])

    return search_files


@dataclass
class _Search:
    workspace: Workspace
    wanted: regex.Pattern[str]
    deadline: float
    files: int = 0
    bytes: int = 0
    ended_by: str = ""
    cut: list[str] = field(default_factory=list)

    def through(self, paths: Iterable[str]) -> list[str]:
        from langchain_core.tools import ToolException

        found: list[str] = []
        for tried, path in enumerate(paths):
            if tried >= MAX_FILES or self.bytes >= MAX_BYTES:
                self.ended_by = (
                    f"only {self.files} files were searched: give a narrower path, such as a folder"
                )
            elif time.monotonic() > self.deadline:
                self.ended_by = f"time ran out before {path}: give a narrower path"
            if self.ended_by:
                break
            try:
                file = self.workspace.read(path)
            except ToolException:
                continue  # binary, or not ours to read
            found.extend(self.matches(file, MAX_MATCHES - len(found)))
        return found

    def matches(self, file: TextFile, room: int) -> Iterator[str]:
        self.files += 1
        self.bytes += min(file.size, MAX_READ_BYTES)
        if file.cut:
            self.cut.append(file.path)
        for number, line in enumerate(file.lines, start=1):
            left = self.deadline - time.monotonic()
            try:
                match = self.wanted.search(line, timeout=left) if left > 0 else None
            except TimeoutError:
                left = 0.0
            if left <= 0:
                self.ended_by = (
                    f"time ran out at {file.path}:{number}: use a simpler pattern or a "
                    "narrower path"
                )
                return
            if match is None:
                continue
            if room == 0:
                self.ended_by = f"there are more than {MAX_MATCHES} matches: be more specific"
                return
            room -= 1
            yield f"{file.path}:{number}: {_around(line, match.start())}"


def _compiled(pattern: str) -> tuple[regex.Pattern[str], list[str]]:
    if not pattern:
        raise failure("the pattern is empty: give the text to look for.")
    if len(pattern) > MAX_PATTERN_CHARS:
        raise failure(
            f"the pattern has {len(pattern)} characters, at most {MAX_PATTERN_CHARS} are allowed: "
            "look for a shorter part."
        )
    try:
        return regex.compile(pattern), []
    except (regex.error, RecursionError, OverflowError, ValueError) as error:
        note = f"[not a valid regular expression ({error}): searched for as plain text]"
        return regex.compile(regex.escape(pattern)), [note]


def _around(line: str, start: int) -> str:
    """The part of a line around a match: a minified file's line may have a megabyte."""
    if len(line) <= _MAX_LINE_CHARS:
        return line.strip()
    begin = max(0, start - _CONTEXT_CHARS)
    end = begin + _MAX_LINE_CHARS
    return f"{'…' if begin else ''}{line[begin:end].strip()}{'…' if end < len(line) else ''}"
