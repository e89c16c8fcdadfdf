"""One file over HTTP: resumable, verified, complete or not there at all."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rolecall.errors import DownloadFailed, StateError
from rolecall.progress import Progress

if TYPE_CHECKING:
    import httpx

_CHUNK = 1 << 20
_TRIES_WITHOUT_PROGRESS = 4
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


def refuse_when_offline(model: str) -> None:
    """Stop before any network use when ``ROLECALL_OFFLINE`` is set to anything but 0.

    Raises:
        DownloadFailed: naming the command that works without a network.
    """
    if os.environ.get("ROLECALL_OFFLINE", "0") not in {"", "0"}:
        raise DownloadFailed(
            f"ROLECALL_OFFLINE is set and {model} is not here. Copy its files to a folder, then: "
            f"rolecall models pull {model} --from DIR"
        )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write into an error that says what to do.

    Raises:
        StateError: the disk is full, or the folder cannot be written to.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StateError(
                f"the disk with {path.parent} is full. Free some space, or set ROLECALL_HOME to "
                "another disk, then run the command again: it goes on where it stopped."
            ) from error
        raise StateError(f"cannot write {path}: {error.strerror or error}") from error


def check_space(folder: Path, needed: int, what: str) -> None:
    """Refuse to begin what cannot end.

    Args:
        needed: bytes.

    Raises:
        StateError: with both numbers.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StateError(
            f"{what} needs {needed / 1e6:,.0f} MB on the disk with {folder}; {free / 1e6:,.0f} MB "
            "are free. Free some space, or set ROLECALL_HOME to another disk."
        )


def sha256_of(path: Path) -> str:
    """The checksum of a file, as lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: Path, sha256: str | None, what: str) -> None:
    """Check a file that was fetched, and delete it when it is not what was promised.

    Raises:
        DownloadFailed: it differs.
    """
    if sha256 is None:
        return
    found = sha256_of(path)
    if found != sha256:
        path.unlink(missing_ok=True)
        raise DownloadFailed(
            f"{what}: wrong checksum (sha256 {found}, expected {sha256}); the bad file was "
            "deleted. Run the command again; if it repeats, the source or a proxy alters the file."
        )


def download(url: str, target: Path, *, sha256: str | None, label: str, progress: Progress) -> None:
    """Fetch ``url`` into ``target``; bytes already in ``target.part`` are not fetched again.

    Redirects are followed; proxies and certificates come from the environment. Without a
    ``sha256``, the one that Hugging Face states in ``X-Linked-ETag`` is used when there is one.

    Raises:
        DownloadFailed: no connection, a refusal, or a wrong checksum.
        StateError: the disk is full.
    """
    import httpx

    part = target.with_name(target.name + ".part")
    failures = 0
    timeout = httpx.Timeout(60.0, connect=20.0)
    with httpx.Client(follow_redirects=True, timeout=timeout) as client:
        while True:
            before = _size(part)
            try:
                stated = _fetch_rest(client, url, part, label, progress)
                break
            except httpx.TransportError as error:
                failures = 0 if _size(part) > before else failures + 1
                if failures >= _TRIES_WITHOUT_PROGRESS:
                    raise DownloadFailed(
                        f"{label}: no answer from {_host(url)} ({error}). Check the network and "
                        "proxy settings; the same command goes on where it stopped."
                    ) from error
                time.sleep(0.2 * 2**failures)
            except (httpx.InvalidURL, httpx.TooManyRedirects, httpx.UnsupportedProtocol) as error:
                raise DownloadFailed(f"{label}: {error}") from error
    verify(part, sha256 or stated, f"{label}: {_host(url)}")
    with writing(target):
        os.replace(part, target)


def _fetch_rest(
    client: httpx.Client, url: str, part: Path, label: str, progress: Progress
) -> str | None:
    start = _size(part)
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with client.stream("GET", url, headers=headers) as response:
        stated = _linked_checksum(response)
        if response.status_code == 416:
            if response.headers.get("Content-Range", "").rpartition("/")[2] == str(start):
                return stated
            with writing(part):
                part.unlink(missing_ok=True)
        elif response.status_code not in {200, 206}:
            raise DownloadFailed(
                f"{label}: {_host(url)} answered {response.status_code} "
                f"{response.reason_phrase}. Check the index or mirror that is set up."
            )
        else:
            resumed = response.status_code == 206 and _starts_at(response, start)
            _append(response, part, start if resumed else 0, label, progress)
            return stated
    return _fetch_rest(client, url, part, label, progress)


def _append(
    response: httpx.Response, part: Path, start: int, label: str, progress: Progress
) -> None:
    length = response.headers.get("Content-Length")
    total = start + int(length) if length and length.isdigit() else None
    with progress.step(label, total=total, done=start) as advance, writing(part):
        _copy(response.iter_raw(_CHUNK), part, start, advance)


def _copy(chunks: Iterator[bytes], part: Path, start: int, advance: Callable[[int], None]) -> None:
    with part.open("ab") as file:
        file.truncate(start)
        for chunk in chunks:
            file.write(chunk)
            advance(len(chunk))


def _starts_at(response: httpx.Response, start: int) -> bool:
    return str(response.headers.get("Content-Range", "")).startswith(f"bytes {start}-")


def _linked_checksum(response: httpx.Response) -> str | None:
    for answer in (*response.history, response):
        value = str(answer.headers.get("X-Linked-ETag", "")).strip('"').lower()
        if len(value) == 64 and set(value) <= set("0123456789abcdef"):
            return value
    return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _host(url: str) -> str:
    from urllib.parse import urlsplit

    return urlsplit(url).hostname or url
