"""A scripted runner repeats what a real one said, byte for byte, and says pages of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from rolecall.models.scripted import Request, ScriptedReply, ScriptedRunner, Verbatim
from rolecall.models.scripted import load_exchanges as load

BODY: dict[str, Any] = {"model": "tiny", "messages": [], "stream": True}
FILE = """
runner: Some
kind: documented
version: "1"
model: small
pages: {/props: {n_ctx: 64}}
exchanges:
  - name: one
    api: chat_completions
    answers: [{status: 429, headers: {Retry-After: "3"}, body: {error: busy}}, {body: {}}]
    gives: {error: busy}
"""


@pytest.fixture
def speaker() -> Iterator[ScriptedRunner]:
    with ScriptedRunner() as running:
        yield running


def ask(runner: ScriptedRunner, model: str = "tiny") -> httpx.Response:
    return httpx.post(f"{runner.endpoint}/chat/completions", json={**BODY, "model": model})


def test_events_are_framed_as_their_content_type_wants(speaker: ScriptedRunner) -> None:
    events: list[Any] = [{"a": 1}, ": a comment\n\n", {"type": "response.created"}]
    speaker.enqueue(
        Verbatim(events=events, content_type="text/event-stream"),
        Verbatim(events=events[:1], content_type="application/x-ndjson"),
    )
    sse, lines = ask(speaker), ask(speaker)
    assert sse.text == (
        'data: {"a":1}\n\n: a comment\n\n'
        'event: response.created\ndata: {"type":"response.created"}\n\n'
    )
    assert lines.text == '{"a":1}\n'
    assert sse.headers["content-type"] == "text/event-stream"


def test_a_stream_can_be_cut_into_pieces_of_any_size(speaker: ScriptedRunner) -> None:
    events = [{"text": "söme wörds"}] * 3
    for size in (1, 7, 10_000):
        speaker.enqueue(Verbatim(events=events, content_type="text/event-stream", piece_bytes=size))
        assert ask(speaker).text == 'data: {"text":"söme wörds"}\n\n' * 3


def test_a_body_status_and_headers_are_sent_as_they_stand(speaker: ScriptedRunner) -> None:
    speaker.enqueue(
        Verbatim(body="no", status=418, content_type="text/plain", headers={"X-Odd": "1"})
    )
    answer = ask(speaker)
    assert (answer.status_code, answer.text, answer.headers["x-odd"]) == (418, "no", "1")
    assert len(speaker.calls) == 1


def test_pages_say_what_a_test_tells_them(speaker: ScriptedRunner) -> None:
    def counted(request: Request) -> dict[str, Any]:
        return {"tokens": len(request.body["content"])}

    def broken(request: Request) -> dict[str, Any]:
        raise KeyError("content")

    speaker.pages = {
        "/props": {"n_ctx": 64},
        "/tokenize": counted,
        "/v1/models": Verbatim(body="[]"),
        "/broken": broken,
    }
    assert httpx.get(speaker.url + "/props").json() == {"n_ctx": 64}
    asked = httpx.post(speaker.url + "/tokenize", json={"content": "abc"})
    assert asked.json() == {"tokens": 3}
    assert httpx.get(speaker.url + "/v1/models").text == "[]"
    assert httpx.get(speaker.url + "/broken").status_code == 500
    assert speaker.calls == []


def test_kept_exchanges_are_played_and_the_last_answer_is_repeated(
    speaker: ScriptedRunner, tmp_path: Path
) -> None:
    file = tmp_path / "some.yaml"
    file.write_text(FILE)
    kept = load(file)
    kept.play_on(speaker, kept.exchanges[0])
    assert [ask(speaker, "small").status_code for _ in range(3)] == [429, 200, 200]
    assert httpx.get(speaker.url + "/props").json() == {"n_ctx": 64}
    speaker.default = ScriptedReply("ok")
    assert ask(speaker, "small").status_code == 200


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (FILE.replace("kind: documented", "kind: guessed"), "kind"),
        (FILE.replace("gives:", "gave:"), "gave"),
        ("- a list", "no mapping"),
        ("a: [", "some.yaml"),
    ],
)
def test_a_file_of_exchanges_that_is_wrong_says_where(
    tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "some.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=words):
        load(file)
