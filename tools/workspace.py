"""The one folder that tools may read, and the gate to it.

A path is resolved first, and then opened from the root one component at a time without following
symbolic links (``openat`` with ``O_NOFOLLOW``). A link swapped in between is refused, not followed.
"""

from __future__ import annotations

import difflib
import itertools
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rolecall.errors import ConfigError
from rolecall.tools.failure import failure, shortened

MAX_READ_BYTES = 1_000_000
SKIPPED_FOLDERS = frozenset({"node_modules", "__pycache__", "venv", "site-packages"})
_PSEUDO_FILESYSTEMS = ("/proc", "/sys", "/dev/fd")
_MAX_NAME_BYTES = 255
_MAX_PATH_BYTES = 4096
_MAX_FOLDER_ENTRIES = 20_000
_SNIFFED_BYTES = 8192
_WINDOWS_PATH = re.compile(r"[A-Za-z]:|.*\\", re.DOTALL)
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class TextFile:
    """A file's text.

    Attributes:
        path: relative to the workspace, with forward slashes.
        lines: without line ends.
        size: of the whole file, in bytes.
        cut: whether the file is larger than ``MAX_READ_BYTES`` and ``lines`` is only its start.
    """

    path: str
    lines: list[str]
    size: int
    cut: bool


class Workspace:
    """Read access to the regular files below ``root``, and to nothing else.

    Raises:
        ConfigError: ``root`` is not a folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root.expanduser()))
        if not self.root.is_dir():
            raise ConfigError(f"the workspace {root} is not a folder: set settings.workspace")

    def resolve(self, path: str) -> Path:
        """Where ``path`` leads, links followed: always the root or below it; it may not exist.

        Raises:
            ToolException: it leads out of the workspace or cannot be a path here.
        """
        _refuse_malformed(path)
        try:
            real = Path(os.path.realpath(self.root / path))
        except OSError as error:  # it changed from a link to a file while it was looked at
            raise failure(f"{shortened(path)} cannot be read: {error.strerror}.") from None
        if not real.is_relative_to(self.root):
            raise failure(
                f"{shortened(path)} is outside the workspace. Only files inside it can be read: "
                "give a path relative to the workspace, such as README.md."
            )
        if any(real.is_relative_to(pseudo) for pseudo in _PSEUDO_FILESYSTEMS):
            raise failure(f"{shortened(path)} is not a file on disk and cannot be read.")
        return real

    def relative(self, path: str) -> str:
        """``path`` as the other methods name files: relative to the root, links followed."""
        return self.resolve(path).relative_to(self.root).as_posix()

    def is_folder(self, path: str) -> bool:
        """Whether ``path`` is a folder.

        Raises:
            ToolException: it does not exist or leads out of the workspace.
        """
        with self._opened(self.relative(path), path) as descriptor:
            return stat.S_ISDIR(os.fstat(descriptor).st_mode)

    def names(self, path: str) -> list[str]:
        """The names in a folder, sorted, folders with a slash at the end.

        Raises:
            ToolException: it is not a folder or leads out of the workspace.
        """
        with self._opened(self.relative(path), path) as descriptor:
            if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise failure(f"{shortened(path)} is not a folder.")
            folders, files = _entries(descriptor)
        return sorted([*(f"{name}/" for name in folders), *files])

    def read(self, path: str) -> TextFile:
        """The text of a regular file: UTF-8 (or UTF-16 with a mark), bad bytes replaced.

        Raises:
            ToolException: no such file, not a regular text file, or outside the workspace.
        """
        relative = self.relative(path)
        with self._opened(relative, path) as descriptor:
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise failure(f"{shortened(path)} is a folder, not a file.")
            if not stat.S_ISREG(status.st_mode):
                raise failure(f"{shortened(path)} is not a regular file and cannot be read.")
            data = _read_up_to(descriptor, MAX_READ_BYTES + 1)
        lines = _lines(data[:MAX_READ_BYTES])
        if lines is None:
            raise failure(f"{shortened(path)} is a binary file ({status.st_size} bytes), not text.")
        size = max(status.st_size, len(data))
        return TextFile(relative, lines, size, cut=len(data) > MAX_READ_BYTES)

    def walk(self, path: str) -> Iterator[str]:
        """Files below a folder, in a stable order; hidden and dependency folders are left out.

        Links are not followed. Folders that cannot be read are passed over.
        """
        pending = [self.relative(path)]
        while pending:
            folder = pending.pop()
            try:
                folders, files = self._folder(folder)
            except OSError:
                continue
            prefix = "" if folder == "." else f"{folder}/"
            yield from (prefix + name for name in files)
            pending.extend(
                prefix + name
                for name in reversed(folders)
                if not name.startswith(".") and name not in SKIPPED_FOLDERS
            )

    def _folder(self, relative: str) -> tuple[list[str], list[str]]:
        descriptor = self._descend(relative)
        try:
            return _entries(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def _opened(self, relative: str, path: str) -> Iterator[int]:
        """A descriptor below the root; ``path`` is how the caller named it, for messages."""
        try:
            descriptor = self._descend(relative)
        except FileNotFoundError:
            raise failure(self._missing(relative, path)) from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise failure(f"{shortened(path)} cannot be read: {reason}.") from None
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _descend(self, relative: str) -> int:
        current = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        for part in Path(relative).parts:
            try:
                following = _step(current, part)
            finally:
                os.close(current)
            current = following
        return current

    def _missing(self, relative: str, path: str) -> str:
        wanted = Path(relative)
        message = f"{shortened(path)} does not exist in the workspace."
        try:
            folders, files = self._folder(wanted.parent.as_posix())
        except OSError:
            return f"{message} See what is there with read_file(path='.')."
        there = sorted([*(f"{name}/" for name in folders), *files])
        near = difflib.get_close_matches(wanted.name, there, n=3, cutoff=0.5)
        if near:
            prefix = "" if wanted.parent == Path() else f"{wanted.parent.as_posix()}/"
            return f"{message} Did you mean {' or '.join(prefix + name for name in near)}?"
        return f"{message} That folder holds: {', '.join(there[:20]) or 'nothing'}."


def _refuse_malformed(path: str) -> None:
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        raise failure("the path is not valid text: write it again.") from None
    if b"\0" in encoded:
        raise failure("the path contains a NUL byte: write it again without it.")
    if not path.strip():
        raise failure("the path is empty: give one such as README.md, or . for the workspace.")
    if _WINDOWS_PATH.match(path):
        raise failure(
            f"{shortened(path)} looks like a Windows path. Use a path relative to the workspace "
            "with forward slashes, such as src/main.py."
        )
    longest = max(len(part) for part in encoded.split(b"/"))
    if len(encoded) > _MAX_PATH_BYTES or longest > _MAX_NAME_BYTES:
        raise failure(
            f"the path is too long ({len(encoded)} bytes): at most {_MAX_PATH_BYTES} bytes, "
            f"and {_MAX_NAME_BYTES} for each name."
        )


def _step(parent: int, name: str) -> int:
    """Open a file or folder by its name in an open folder; never through a link."""
    mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        # merely opening a device can have effects: a tape rewinds
        raise OSError("it is a link, device, pipe or socket")
    # O_NONBLOCK: should a pipe take its place now, opening it must not wait for a writer
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    return os.open(name, flags, dir_fd=parent)


def _entries(descriptor: int) -> tuple[list[str], list[str]]:
    folders: list[str] = []
    files: list[str] = []
    with os.scandir(descriptor) as entries:
        for entry in itertools.islice(entries, _MAX_FOLDER_ENTRIES):
            (folders if entry.is_dir(follow_symlinks=False) else files).append(entry.name)
    return sorted(folders), sorted(files)


def _read_up_to(descriptor: int, limit: int) -> bytes:
    chunks: list[bytes] = []
    while limit > 0 and (chunk := os.read(descriptor, limit)):
        chunks.append(chunk)
        limit -= len(chunk)
    return b"".join(chunks)


def _lines(data: bytes) -> list[str] | None:
    if data.startswith(_UTF_16_MARKS):
        text = data.decode("utf-16", errors="replace")
    elif b"\0" in data[:_SNIFFED_BYTES]:
        return None
    else:
        text = data.decode("utf-8-sig", errors="replace")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not lines[-1]:
        lines.pop()
    return lines
