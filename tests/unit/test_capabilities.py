"""The capability file: what it keeps, what it does when it is damaged, what is chosen from it."""

from __future__ import annotations

import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.config.schema import ModelSpec
from rolecall.models import capabilities
from rolecall.models.capabilities import (
    ApiSeen,
    Capability,
    CapabilityFile,
    choose_api,
    endpoint_key,
)

SPEC = ModelSpec(id="tiny", endpoint="http://localhost:1234/v1")


def entry(model: str = "tiny", **more: Any) -> Capability:
    values: dict[str, Any] = {
        "endpoint": "http://localhost:1234",
        "model": model,
        "fingerprint": "f",
        "measured_at": time.time(),
    }
    return Capability.model_validate(values | more)


@pytest.fixture(autouse=True)
def nothing_told_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "_told", set())


def test_an_entry_is_found_by_endpoint_and_model_however_the_url_is_written() -> None:
    CapabilityFile().put([entry(json_schema=True)])
    for url in ("http://localhost:1234", "http://localhost:1234/v1/chat/completions"):
        assert CapabilityFile().get(ModelSpec(id="tiny", endpoint=url)) is not None
    assert CapabilityFile().get(ModelSpec(id="other", endpoint=SPEC.endpoint)) is None
    assert CapabilityFile().get(ModelSpec(id="tiny", endpoint="http://localhost:9/v1")) is None


def test_the_key_of_an_endpoint_needs_no_api_key_to_be_set() -> None:
    spec = ModelSpec(id="a", endpoint="http://localhost:1/v1", api_key_env="NOT_SET_ANYWHERE")
    assert endpoint_key(spec) == "http://localhost:1"
    assert endpoint_key(ModelSpec(id="a", endpoint="embedded")) == "embedded"


def test_new_entries_replace_their_own_and_leave_others() -> None:
    file = CapabilityFile()
    file.put([entry("a"), entry("b", embeddings=False)])
    file.put([entry("b", embeddings=True)])
    assert {one.model: one.embeddings for one in file.entries()} == {"a": None, "b": True}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "cannot be read"),
        ('{"format": 1, "entr', "cannot be read"),
        ("\x00\xff", "cannot be read"),
        ("[]", "not a capability file"),
        ('{"format": 1}', "not a capability file"),
        ('{"format": 0, "entries": []}', "format 0"),
        ('{"format": 99, "entries": []}', "format 99"),
        ('{"format": 1, "entries": [{"model": 3}]}', "1 damaged entries"),
    ],
)
def test_a_file_that_cannot_be_used_is_ignored_told_of_once_and_made_anew(
    content: str, said: str, caplog: pytest.LogCaptureFixture, rolecall_home: Path
) -> None:
    file = CapabilityFile()
    file.put([])
    file.path.write_text(content, encoding="utf-8")
    with caplog.at_level(logging.WARNING):
        assert file.entries() == []
        assert file.get(SPEC) is None
    assert len(caplog.records) == 1
    assert said in caplog.text
    assert "rolecall doctor" in caplog.text
    file.put([entry()])
    assert file.problem() is None
    assert file.get(SPEC) is not None
    assert (rolecall_home / "capabilities.unreadable.json").read_text("utf-8") == content


def test_a_damaged_entry_does_not_take_the_others_along() -> None:
    file = CapabilityFile()
    file.put([entry("a"), entry("b")])
    body = json.loads(file.path.read_text())
    body["entries"][0]["measured_at"] = "yesterday"
    body["entries"][1]["of_a_later_version"] = 1
    file.path.write_text(json.dumps(body))
    assert [one.model for one in file.entries()] == ["b"]


def test_writers_at_the_same_time_lose_nothing() -> None:
    with ThreadPoolExecutor(8) as writers:
        list(writers.map(lambda n: CapabilityFile().put([entry(f"model-{n}")]), range(16)))
    assert len(CapabilityFile().entries()) == 16


def test_an_age_is_told() -> None:
    assert 3590 < entry(measured_at=time.time() - 3600).age_s < 3610


def test_without_an_entry_chat_completions_are_spoken() -> None:
    assert choose_api(None) == "chat_completions"
    assert choose_api(entry()) == "chat_completions"


GOOD = {"works": True, "json_schema": True, "tools": "native", "logprobs": True}


@pytest.mark.parametrize(
    ("chat", "responses", "ollama", "chosen"),
    [
        (GOOD, GOOD, {}, "chat_completions"),
        (GOOD, {**GOOD, "json_schema": False}, {}, "chat_completions"),
        ({**GOOD, "json_schema": False}, GOOD, {}, "responses"),
        ({**GOOD, "tools": "text"}, GOOD, {}, "responses"),
        (GOOD, {**GOOD, "reasoning": "reasoning item"}, {}, "responses"),
        ({**GOOD, "reasoning": "in the text"}, GOOD, {}, "chat_completions"),
        ({"works": False}, {"works": True}, {}, "responses"),
        ({"works": False}, {"works": False}, {}, "chat_completions"),
        (GOOD, GOOD, GOOD, "ollama"),  # it alone can set the context length
        (GOOD, {"works": True}, {**GOOD, "logprobs": False}, "chat_completions"),
    ],
)
def test_auto_speaks_what_honours_more(
    chat: dict[str, Any], responses: dict[str, Any], ollama: dict[str, Any], chosen: str
) -> None:
    apis = {"chat_completions": chat, "responses": responses, "ollama": ollama}
    assert choose_api(entry(apis=apis)) == chosen


SEEN = st.builds(
    ApiSeen,
    works=st.sampled_from([True, False, None]),
    json_schema=st.sampled_from([True, False, None]),
    tools=st.sampled_from(["native", "text", "none", None]),
    reasoning=st.sampled_from(["reasoning_content", "in the text", "none", None]),
    logprobs=st.sampled_from([True, False, None]),
)


@given(st.dictionaries(st.sampled_from(["chat_completions", "responses", "ollama"]), SEEN))
def test_auto_speaks_an_api_that_works_if_there_is_one(apis: dict[Any, ApiSeen]) -> None:
    chosen = choose_api(entry(apis=apis))
    if any(seen.works for seen in apis.values()):
        assert apis[chosen].works
    else:
        assert chosen == "chat_completions"


def _seen(**apis: ApiSeen) -> dict[str, Any]:
    return {"apis": {name: seen.model_dump() for name, seen in apis.items()}}


def test_what_was_not_measured_this_time_keeps_its_earlier_value() -> None:
    file = CapabilityFile()
    full = ApiSeen(works=True, json_schema=True, tools="native")
    earlier = _seen(chat_completions=full, responses=full)
    file.put([entry(truncation="refuses", embeddings=True, speed={"load_s": 3.0}, **earlier)])
    now = _seen(chat_completions=ApiSeen(works=True, json_schema=False))
    file.put([entry(embeddings=False, speed={"ttft_ms": 5.0}, **now)])
    (kept,) = file.entries()
    assert (kept.truncation, kept.embeddings) == ("refuses", False)
    assert (kept.speed.load_s, kept.speed.ttft_ms) == (3.0, 5.0)
    assert kept.api("chat_completions") == full.model_copy(update={"json_schema": False})
    assert kept.api("responses") == full


def test_of_an_api_that_stopped_working_nothing_is_kept() -> None:
    file = CapabilityFile()
    file.put([entry(**_seen(responses=ApiSeen(works=True, json_schema=True)))])
    file.put([entry(**_seen(responses=ApiSeen(works=False)))])
    assert file.entries()[0].api("responses") == ApiSeen(works=False)


@pytest.mark.parametrize("fingerprint", ["another", ""])
def test_of_another_server_or_one_that_is_not_known_nothing_is_kept(fingerprint: str) -> None:
    file = CapabilityFile()
    file.put([entry(truncation="cuts", fingerprint=fingerprint and "f")])
    file.put([entry(fingerprint=fingerprint)])
    assert file.entries()[0].truncation is None


def test_a_file_of_brackets_is_ignored() -> None:
    file = CapabilityFile()
    file.path.parent.mkdir(parents=True, exist_ok=True)
    file.path.write_text("[" * 100_000)
    assert file.entries() == []
    assert "cannot be read" in (file.problem() or "")
