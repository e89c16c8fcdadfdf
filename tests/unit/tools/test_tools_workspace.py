"""The confinement: nothing outside the workspace is ever read."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.tools import ToolException

from rolecall.errors import ConfigError
from rolecall.tools.read_file import reader
from rolecall.tools.search_files import searcher
from rolecall.tools.workspace import MAX_READ_BYTES, Workspace

SECRET = "the secret outside"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace with every kind of way out of it."""
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "secret.txt").write_text(SECRET)
    (outside / "deep" / "secret.txt").write_text(SECRET)
    root = tmp_path / "root"
    (root / "src").mkdir(parents=True)
    (root / "inside.txt").write_text("inside")
    (root / "src" / "main.py").write_text("print(1)\n")
    (root / "link.txt").symlink_to(outside / "secret.txt")
    (root / "folder_link").symlink_to(outside)
    (root / "src" / "up").symlink_to("../..")
    (root / "chain").symlink_to("folder_link/deep")
    (root / "loop").symlink_to("loop")
    (root / "good_link").symlink_to("src/main.py")
    (root / "good_folder").symlink_to("src")
    (root / "proc_link").symlink_to(f"/proc/self/root{outside}/secret.txt")
    (root / "device").symlink_to("/dev/zero")
    os.mkfifo(root / "fifo")
    return root


ESCAPES = [
    "../outside/secret.txt",
    "src/../../outside/secret.txt",
    "./.././outside/secret.txt",
    "src/up/outside/secret.txt",
    "link.txt",
    "folder_link/secret.txt",
    "folder_link/deep/secret.txt",
    "folder_link/../outside/secret.txt",
    "chain/secret.txt",
    "good_folder/../../outside/secret.txt",
    "proc_link",
    "device",
    "/etc/passwd",
    "//etc/passwd",
    "/dev/zero",
    "/proc/self/environ",
    "/proc/self/fd/0",
    "../root_sibling",
    "..",
    "/",
    "loop",
    "fifo",
    "inside.txt/x",
    "inside.txt\0.png",
    "\0",
    "",
    "   ",
    "a" * 300,
    "a/" * 3000,
    "\ud800",
    "C:\\Windows\\win.ini",
    "C:/Windows/win.ini",
    "\\\\server\\share",
    "..\\outside\\secret.txt",
    "~/.ssh/id_rsa",
    "file:///etc/passwd",
]


@pytest.mark.parametrize("path", ESCAPES)
def test_every_way_out_is_refused(root: Path, path: str) -> None:
    with pytest.raises(ToolException) as raised:
        Workspace(root).read(path)
    assert SECRET not in str(raised.value)
    for tool in (reader(Workspace(root)), searcher(Workspace(root))):
        with pytest.raises(ToolException):
            tool("secret", path) if tool.__name__ == "search_files" else tool(path)


def test_an_absolute_path_outside_is_refused_even_next_to_the_root(root: Path) -> None:
    sibling = root.parent / "root_sibling"
    sibling.mkdir()
    (sibling / "x.txt").write_text(SECRET)
    with pytest.raises(ToolException, match="outside the workspace"):
        Workspace(root).read(str(sibling / "x.txt"))


def test_outside_what_exists_and_what_does_not_look_alike(root: Path) -> None:
    messages = []
    for name in ("secret.txt", "absent.txt"):
        with pytest.raises(ToolException) as raised:
            Workspace(root).read(f"../outside/{name}")
        messages.append(str(raised.value).replace(name, ""))
    assert messages[0] == messages[1]


def test_links_that_stay_inside_are_followed(root: Path) -> None:
    workspace = Workspace(root)
    assert workspace.read("good_link").path == "src/main.py"
    assert workspace.read("good_folder/main.py").lines == ["print(1)"]
    assert workspace.read("src/../inside.txt").lines == ["inside"]
    assert workspace.read(str(root / "inside.txt")).lines == ["inside"]


def test_the_root_itself_may_be_a_link(root: Path) -> None:
    alias = root.parent / "alias"
    alias.symlink_to(root)
    assert Workspace(alias).read(str(alias / "inside.txt")).lines == ["inside"]


def test_a_socket_and_a_fifo_are_refused_without_waiting(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)  # a socket's path has to be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("sock")
        for name in ("sock", "fifo"):
            with pytest.raises(ToolException, match="pipe or socket"):
                Workspace(root).read(name)


def test_proc_is_refused_even_inside_the_root() -> None:
    with pytest.raises(ToolException, match="not a file on disk"):
        Workspace(Path("/")).read("proc/self/environ")
    with pytest.raises(ToolException):
        Workspace(Path("/")).read("dev/zero")


@pytest.mark.parametrize("swapped", ["file", "folder"])
def test_a_link_swapped_in_after_the_check_is_refused(
    root: Path, swapped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "work").mkdir()
    (root / "work" / "secret.txt").write_text("harmless")
    original = Workspace.resolve

    def resolve_then_swap(self: Workspace, path: str) -> Path:
        found = original(self, path)
        if swapped == "file":
            (root / "work" / "secret.txt").unlink()
            (root / "work" / "secret.txt").symlink_to("../../outside/secret.txt")
        else:
            (root / "work").rename(root / "old")
            (root / "work").symlink_to("../outside")
        return found

    monkeypatch.setattr(Workspace, "resolve", resolve_then_swap)
    with pytest.raises(ToolException):
        Workspace(root).read("work/secret.txt")


def test_a_link_swapped_in_between_stat_and_open_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.stat

    def stat_then_swap(path: Any, **keywords: Any) -> os.stat_result:
        result = original(path, **keywords)
        if path == "inside.txt":
            (root / "inside.txt").unlink()
            (root / "inside.txt").symlink_to("../outside/secret.txt")
        return result

    monkeypatch.setattr(os, "stat", stat_then_swap)
    with pytest.raises(ToolException):
        Workspace(root).read("inside.txt")


def test_a_race_of_swaps_never_yields_the_outside(root: Path) -> None:
    target, spare = root / "racing.txt", root / "spare"
    ended = threading.Event()

    def swap() -> None:
        while not ended.is_set():
            for outside in (True, False):
                if outside:
                    spare.symlink_to("../outside/secret.txt")
                else:
                    spare.write_text("harmless")
                spare.replace(target)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for _ in range(500):
            try:
                assert Workspace(root).read("racing.txt").lines in (["harmless"], [])
            except ToolException:
                continue
    finally:
        ended.set()
        swapping.join()


def test_no_descriptor_is_left_open(root: Path) -> None:
    workspace = Workspace(root)
    before = len(os.listdir("/proc/self/fd"))
    for path in [*ESCAPES, "inside.txt", "src", "src/main.py", "absent"]:
        for method in (workspace.read, workspace.names, workspace.is_folder):
            try:
                method(path)
            except ToolException:
                continue
    list(workspace.walk("."))
    assert len(os.listdir("/proc/self/fd")) == before


_WAYS = ["..", ".", "", "/", "\0", "src", "up", "link.txt", "folder_link", "chain", "good_folder"]
_GOALS = ["secret.txt", "outside", "deep", "root", "loop", "proc_link", "etc", "passwd"]
_PARTS = st.sampled_from([*_WAYS, *_GOALS])


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(path=st.lists(_PARTS, max_size=8).map("/".join) | st.text(max_size=40))
def test_no_path_yields_content_from_outside(root: Path, path: str) -> None:
    workspace = Workspace(root)
    for tool, arguments in (
        (reader(workspace), {"path": path}),
        (searcher(workspace), {"pattern": "secret|root:", "path": path}),
    ):
        try:
            answer = tool(**arguments)
        except ToolException as error:
            answer = str(error)
        assert SECRET not in answer
        assert "root:x:" not in answer
    with contextlib.suppress(ToolException):
        assert workspace.resolve(path).is_relative_to(workspace.root)


def test_a_missing_file_names_its_neighbours(root: Path) -> None:
    with pytest.raises(ToolException, match=r"Did you mean src/main\.py"):
        Workspace(root).read("src/mian.py")
    with pytest.raises(ToolException, match="That folder holds"):
        Workspace(root).read("zzzzzz")
    with pytest.raises(ToolException, match="does not exist"):
        Workspace(root).read("no/such/folder/x")


def test_a_workspace_that_is_no_folder_is_a_config_error(root: Path) -> None:
    for wrong in (root / "inside.txt", root / "absent"):
        with pytest.raises(ConfigError, match=r"settings\.workspace"):
            Workspace(wrong)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a\r\nb\rc\n", ["a", "b", "c"]),
        (b"\xef\xbb\xbfhi", ["hi"]),
        ("grüß\nGott".encode("utf-16"), ["grüß", "Gott"]),
        (b"caf\xe9", ["caf\ufffd"]),
        ("a\x0cb\u2028c".encode(), ["a\x0cb\u2028c"]),
    ],
)
def test_encodings(root: Path, data: bytes, lines: list[str]) -> None:
    (root / "text").write_bytes(data)
    assert Workspace(root).read("text").lines == lines


def test_a_binary_file_is_refused(root: Path) -> None:
    (root / "x.bin").write_bytes(b"\x7fELF\0\0")
    with pytest.raises(ToolException, match="binary file"):
        Workspace(root).read("x.bin")


def test_a_large_file_is_cut_and_says_so(root: Path) -> None:
    (root / "big.txt").write_bytes(b"0123456789\n" * 200_000)
    file = Workspace(root).read("big.txt")
    assert file.cut
    assert file.size == 2_200_000
    assert sum(len(line) + 1 for line in file.lines) <= MAX_READ_BYTES + 1
    (root / "exact.txt").write_bytes(b"x" * MAX_READ_BYTES)
    assert not Workspace(root).read("exact.txt").cut
