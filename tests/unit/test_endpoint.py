"""Endpoints: which server a URL names, which names are the same model."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.config.schema import ModelSpec
from rolecall.errors import ConfigError
from rolecall.models.endpoint import address_of, name_at, offers, refuse_remote


def spec_of(endpoint: str, **more: object) -> ModelSpec:
    return ModelSpec.model_validate({"id": "tiny", "endpoint": endpoint, **more})


@pytest.mark.parametrize(
    ("endpoint", "root"),
    [
        ("http://localhost:1234", "http://localhost:1234"),
        ("http://localhost:1234/", "http://localhost:1234"),
        ("http://localhost:1234/v1", "http://localhost:1234"),
        ("http://localhost:1234/v1/", "http://localhost:1234"),
        ("http://localhost:1234/v1/chat/completions", "http://localhost:1234"),
        ("http://localhost:1234/v1/chat/completions/", "http://localhost:1234"),
        ("http://localhost:1234/v1/completions", "http://localhost:1234"),
        ("http://localhost:1234/v1/responses", "http://localhost:1234"),
        ("http://localhost:1234/v1/models", "http://localhost:1234"),
        ("http://localhost:1234/v1?a=b#c", "http://localhost:1234"),
        ("http://localhost:11434/api", "http://localhost:11434"),
        ("http://localhost:11434/api/chat", "http://localhost:11434"),
        ("http://localhost:11434/api/generate", "http://localhost:11434"),
        ("https://box.lan/openai/v1", "https://box.lan/openai"),
        ("http://[::1]:8080/v1", "http://[::1]:8080"),
        ("http://[fe80::1%25eth0]:80/v1", "http://[fe80::1%25eth0]"),
    ],
)
def test_every_spelling_names_the_server(endpoint: str, root: str) -> None:
    address = address_of(spec_of(endpoint))
    assert address.root == root
    assert address.openai_base == f"{root}/v1"
    assert address.tls == endpoint.startswith("https")


def test_a_key_that_is_missing_or_cannot_be_sent_is_a_config_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = spec_of("http://localhost/v1", api_key_env="SOME_KEY")
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(ConfigError, match="SOME_KEY, which is not set"):
        address_of(spec)
    monkeypatch.setenv("SOME_KEY", "ab\n")
    with pytest.raises(ConfigError, match="cannot be sent"):
        address_of(spec)
    monkeypatch.setenv("SOME_KEY", "ab")
    assert address_of(spec).headers == {"Authorization": "Bearer ab"}


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1/v1",
        "http://127.8.9.1/v1",
        "http://localhost/v1",
        "http://[::1]/v1",
        "http://[::ffff:127.0.0.1]/v1",
        "http://[::ffff:10.0.0.1]/v1",
        "http://0.0.0.0/v1",
        "http://[::]/v1",
        "http://10.1.2.3/v1",
        "http://172.16.0.1/v1",
        "http://192.168.1.1/v1",
        "http://169.254.1.1/v1",
        "http://100.64.0.1/v1",
        "http://[fd00::1]/v1",
        "http://[fe80::1%25eth0]/v1",
        "http://2130706433/v1",
    ],
)
def test_near_addresses_are_allowed(endpoint: str) -> None:
    asyncio.run(refuse_remote(spec_of(endpoint)))


@pytest.mark.parametrize(
    ("wanted", "listed"),
    [
        ("Qwen3-1.7B", "/models/qwen3-1.7b-q4_k_m.gguf"),
        ("qwen3-1.7b", "C:\\models\\Qwen3-1.7B-UD-Q4_K_XL.gguf"),
        ("gemma-3-4b-it", "ggml-org/gemma-3-4b-it-GGUF:Q4_K_M"),
        ("llama3", "llama3:latest"),
        ("phi-4", "mlx-community/phi-4-4bit"),
        ("big", "big-Q8_0-00001-of-00004.gguf"),
        ("m", "m-bf16"),
    ],
)
def test_the_same_model_under_another_name(wanted: str, listed: str) -> None:
    assert name_at(["other", listed], wanted) == listed


@pytest.mark.parametrize(
    ("wanted", "listed"),
    [
        ("qwen3-1.7b", "qwen3-1.7b-coder"),
        ("qwen3", "qwen3-8b"),
        ("mistral-small", "mistral-small-3.2"),
        ("llama3:70b", "llama3:8b"),
        ("tiny", ""),
        ("tiny", "tin"),
        ("/", "anything"),
    ],
)
def test_another_model(wanted: str, listed: str) -> None:
    assert not offers([listed], wanted)


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,8}(-[A-Za-z0-9]{1,6}){0,3}", fullmatch=True)


@given(NAMES, st.sampled_from(["", "-q4_k_m", "-Q8_0", ".gguf", "-q4_0.gguf", ":latest"]))
def test_a_folder_case_and_quantisation_never_matter(name: str, suffix: str) -> None:
    assert offers([f"some/Folder/{name.upper()}{suffix}"], name)


@given(st.lists(st.text(max_size=20), max_size=5), st.text(max_size=20))
def test_the_name_at_a_server_is_one_that_it_lists(listed: list[str], wanted: str) -> None:
    name = name_at(listed, wanted)
    assert name is None or name in listed
    if wanted in listed:
        assert name == wanted
