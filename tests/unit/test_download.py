"""One download: resumed, restarted, verified, or refused with a reason."""

import errno
import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rolecall.errors import DownloadFailed, StateError
from rolecall.models.embedded import download as module
from rolecall.models.embedded.download import check_space, download, refuse_when_offline
from rolecall.progress import SilentProgress

pytestmark = pytest.mark.enable_socket
BODY = bytes(range(256)) * 4096
GOOD = hashlib.sha256(BODY).hexdigest()


class Origin:
    """A web server whose manners are set by its attributes."""

    def __init__(self) -> None:
        self.ranges: list[str | None] = []
        self.honours_range = True
        self.cut_after: list[int] = []
        self.status: int | None = None
        self.linked_etag: str | None = None
        self.url = ""


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Origin]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    state = Origin()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.ranges.append(wanted)
            if state.status is not None:
                self.send_error(state.status)
                return
            start = 0
            if wanted and state.honours_range:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(BODY):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(BODY)}")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
            else:
                self.send_response(200)
            if state.linked_etag:
                self.send_header("X-Linked-ETag", f'"{state.linked_etag}"')
            body = BODY[start:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if state.cut_after:
                body = body[: state.cut_after.pop(0)]
                self.close_connection = True
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/file.whl"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def fetch(origin: Origin, target: Path, sha256: str | None = GOOD) -> None:
    download(origin.url, target, sha256=sha256, label="Downloading x", progress=SilentProgress())


def test_a_file_arrives_whole_and_leaves_nothing_beside_it(origin: Origin, tmp_path: Path) -> None:
    fetch(origin, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == BODY
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_an_interrupted_download_fetches_only_the_rest(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(BODY[:1000])
    fetch(origin, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == BODY
    assert origin.ranges == ["bytes=1000-"]


def test_a_cut_connection_is_taken_up_where_it_broke(origin: Origin, tmp_path: Path) -> None:
    origin.cut_after = [300_000, 200_000]
    fetch(origin, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == BODY
    assert origin.ranges[0] is None
    assert len(origin.ranges) == 3


def test_a_server_that_ignores_range_restarts_cleanly(origin: Origin, tmp_path: Path) -> None:
    origin.honours_range = False
    (tmp_path / "x.part").write_bytes(b"other bytes")
    fetch(origin, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == BODY


def test_a_part_that_is_already_complete_is_kept(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(BODY)
    fetch(origin, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == BODY
    assert len(origin.ranges) == 1


def test_a_part_longer_than_the_file_is_thrown_away(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(BODY + b"too much")
    fetch(origin, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == BODY


def test_a_wrong_checksum_deletes_the_file_and_says_so(origin: Origin, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="wrong checksum"):
        fetch(origin, tmp_path / "x", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_checksum_stated_by_the_hub_is_checked(origin: Origin, tmp_path: Path) -> None:
    origin.linked_etag = "0" * 64
    with pytest.raises(DownloadFailed, match="wrong checksum"):
        fetch(origin, tmp_path / "x", sha256=None)


def test_a_refusal_names_host_and_status(origin: Origin, tmp_path: Path) -> None:
    origin.status = 403
    with pytest.raises(DownloadFailed, match=r"127\.0\.0\.1 answered 403"):
        fetch(origin, tmp_path / "x")


def test_a_server_that_is_gone_is_given_up_on(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    origin.cut_after = [0] * 20
    with pytest.raises(DownloadFailed, match="goes on where it stopped"):
        fetch(origin, tmp_path / "x")
    assert len(origin.ranges) == 4


def test_a_full_disk_is_a_state_error_and_keeps_the_part(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(
        chunks: Iterator[bytes], part: Path, start: int, advance: Callable[[int], None]
    ) -> None:
        part.write_bytes(next(chunks)[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_copy", full)
    with pytest.raises(StateError, match="is full"):
        fetch(origin, tmp_path / "x")
    assert (tmp_path / "x.part").read_bytes() == BODY[:10]


def test_progress_counts_what_was_already_there(origin: Origin, tmp_path: Path) -> None:
    seen: dict[str, Any] = {"moved": 0}

    class Recording:
        @contextmanager
        def step(
            self, label: str, total: int | None = None, done: int = 0, unit: str = "bytes"
        ) -> Iterator[Callable[[int], None]]:
            seen.update(label=label, total=total, done=done)

            def advance(amount: int) -> None:
                seen["moved"] += amount

            yield advance

    (tmp_path / "x.part").write_bytes(BODY[:1000])
    download(origin.url, tmp_path / "x", sha256=GOOD, label="L", progress=Recording())
    assert seen == {"label": "L", "total": len(BODY), "done": 1000, "moved": len(BODY) - 1000}


def test_too_little_space_names_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"needs 1,000,000,000 MB .* MB are free"):
        check_space(tmp_path, 10**15, "smollm2-135m")


def test_offline_names_the_command_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLECALL_OFFLINE", "1")
    with pytest.raises(DownloadFailed, match="rolecall models pull m --from DIR"):
        refuse_when_offline("m")
    monkeypatch.setenv("ROLECALL_OFFLINE", "0")
    refuse_when_offline("m")
