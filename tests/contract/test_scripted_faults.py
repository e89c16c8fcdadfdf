"""Every fault of the scripted runner looks to a client as the real one does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, get_args

import httpx
import pytest

from rolecall.models.scripted import Fault, FaultKind, ScriptedReply, ScriptedRunner

TEXT = "one two three four"


@pytest.fixture
def runner() -> Iterator[ScriptedRunner]:
    with ScriptedRunner() as running:
        yield running


def ask(
    runner: ScriptedRunner, fault: Any = None, *, stream: bool = False, **more: Any
) -> httpx.Response:
    runner.enqueue(ScriptedReply(TEXT, fault=fault, **more))
    body = {"model": "tiny", "messages": [], "stream": stream}
    return httpx.post(f"{runner.endpoint}/chat/completions", json=body, timeout=2.0)


def eventually(happened: Callable[[], bool]) -> bool:
    end = time.monotonic() + 3
    while not happened() and time.monotonic() < end:
        time.sleep(0.005)
    return happened()


def contents(text: str) -> list[str]:
    chunks = [json.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")]
    return [c["choices"][0]["delta"]["content"] for c in chunks if "content" in str(c["choices"])][
        1:
    ]


def test_status_with_headers_and_body(runner: ScriptedRunner) -> None:
    answer = ask(runner, Fault("status", status=429, headers={"Retry-After": "2"}))
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2")
    assert answer.json()["error"]["code"] == 429
    assert ask(runner, 503).status_code == 503
    assert ask(runner, Fault("status", status=502, body="bad gateway")).text == "bad gateway"
    busy = {"error": {"message": "loading model"}}
    assert ask(runner, Fault("status", status=503, body=busy), stream=True).json() == busy


def test_refuse_closes_before_any_header(runner: ScriptedRunner) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        ask(runner, "refuse")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ["hang_before_headers", "hang_after_first_token"])
def test_a_hang_lasts_until_the_client_goes(
    runner: ScriptedRunner, fault: FaultKind, stream: bool
) -> None:
    runner.enqueue(ScriptedReply(TEXT, fault=fault))
    body = {"model": "tiny", "messages": [], "stream": stream}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{runner.endpoint}/chat/completions", json=body, timeout=0.1)
    assert eventually(lambda: runner.cancelled == 1)


@pytest.mark.parametrize("fault", ["hang_before_headers", "hang_after_first_token"])
def test_closing_the_runner_ends_a_hang(fault: FaultKind) -> None:
    failures: list[Exception] = []

    def client(runner: ScriptedRunner) -> None:
        try:
            ask(runner, fault, stream=True)
        except httpx.HTTPError as error:
            failures.append(error)

    with ScriptedRunner() as runner:
        thread = threading.Thread(target=client, args=(runner,))
        thread.start()
        assert eventually(lambda: bool(runner.calls))
    thread.join(3)
    assert [type(one) for one in failures] == [httpx.RemoteProtocolError]
    assert runner.cancelled == 0
    assert not [one for one in threading.enumerate() if one.name == "scripted-runner"]


def test_a_stream_is_cut_after_as_many_tokens_as_scripted(runner: ScriptedRunner) -> None:
    runner.enqueue(ScriptedReply(TEXT, fault=Fault("cut_stream", after=2)))
    body = {"model": "tiny", "messages": [], "stream": True}
    got: list[str] = []
    url = f"{runner.endpoint}/chat/completions"
    cut = pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read")
    with httpx.stream("POST", url, json=body) as answer, cut:
        got.extend(answer.iter_text())
    assert contents("".join(got)) == ["one", " two"]


def test_a_clean_cut_ends_the_message_without_its_end(runner: ScriptedRunner) -> None:
    answer = ask(runner, Fault("cut_stream", after=3, clean=True), stream=True)
    assert contents(answer.text) == ["one", " two", " three"]
    assert "[DONE]" not in answer.text
    with pytest.raises(httpx.RemoteProtocolError):
        ask(runner, "cut_stream")


def test_truncated_json(runner: ScriptedRunner) -> None:
    with pytest.raises(json.JSONDecodeError):
        ask(runner, "truncated_json").json()
    last = ask(runner, "truncated_json", stream=True).text.rstrip().split("\n\n")[-1]
    with pytest.raises(json.JSONDecodeError):
        json.loads(last.removeprefix("data: "))


@pytest.mark.parametrize("stream", [False, True])
def test_html_instead_of_json(runner: ScriptedRunner, stream: bool) -> None:
    answer = ask(runner, "html_instead_of_json", stream=stream)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "<html>" in answer.text


def test_empty_choices(runner: ScriptedRunner) -> None:
    assert ask(runner, "empty_choices").json()["choices"] == []
    assert '"choices":[{' not in ask(runner, "empty_choices", stream=True).text
    runner.enqueue(ScriptedReply(TEXT, fault="empty_choices"))
    body = {"model": "tiny", "input": "hi"}
    assert httpx.post(f"{runner.endpoint}/responses", json=body).json()["output"] == []


def test_null_content(runner: ScriptedRunner) -> None:
    assert ask(runner, "null_content").json()["choices"][0]["message"]["content"] is None
    assert contents(ask(runner, "null_content", stream=True).text) == []


@pytest.mark.parametrize("stream", [False, True])
def test_wrong_content_type(runner: ScriptedRunner, stream: bool) -> None:
    answer = ask(runner, "wrong_content_type", stream=stream)
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "one" in answer.text


def test_redirect(runner: ScriptedRunner) -> None:
    answer = ask(runner, Fault("redirect", location="http://192.0.2.1/v1"))
    assert (answer.status_code, answer.headers["Location"]) == (307, "http://192.0.2.1/v1")


@pytest.mark.parametrize("stream", [False, True])
def test_slow_drips_the_answer(runner: ScriptedRunner, stream: bool) -> None:
    begin = time.monotonic()
    answer = ask(runner, Fault("slow", bytes_per_s=2000), stream=stream)
    assert "one" in answer.text
    assert time.monotonic() - begin > 0.05


@pytest.mark.parametrize("stream", [False, True])
def test_invalid_utf8(runner: ScriptedRunner, stream: bool) -> None:
    with pytest.raises(UnicodeDecodeError):
        ask(runner, "invalid_utf8", stream=stream).content.decode()


def test_usage_missing(runner: ScriptedRunner) -> None:
    assert "usage" in ask(runner).json()
    assert "usage" not in ask(runner, "usage_missing").json()


def test_every_kind_of_fault_can_be_scripted_in_every_dialect() -> None:
    broken = {"refuse", "hang_before_headers", "hang_after_first_token", "cut_stream"}
    paths = {"/v1/chat/completions": {}, "/v1/responses": {"input": "hi"}, "/api/chat": {}}
    with ScriptedRunner(dialect="ollama") as runner, httpx.Client() as client:
        for kind in get_args(FaultKind):
            for path, body in paths.items():
                for stream in (False, True):
                    fault = Fault(kind, bytes_per_s=10_000_000)
                    runner.enqueue(ScriptedReply(TEXT, fault=fault, chunk_delay_s=0.001))
                    request: dict[str, Any] = {
                        "model": "tiny",
                        "messages": [],
                        "stream": stream,
                        **body,
                    }
                    try:
                        client.post(
                            runner.url + path,
                            json=request,
                            timeout=0.05 if "hang" in kind else 3,
                        )
                    except httpx.HTTPError:
                        assert kind in broken
        assert len(runner.calls) == len(get_args(FaultKind)) * 6
        assert httpx.get(f"{runner.url}/api/tags").status_code == 200


def test_a_path_can_fail_whatever_is_scripted(runner: ScriptedRunner) -> None:
    runner.faults["/v1/models"] = 500
    assert httpx.get(f"{runner.endpoint}/models").status_code == 500
    runner.faults["/v1/chat/completions"] = "refuse"
    with pytest.raises(httpx.RemoteProtocolError):
        ask(runner)


def test_delays_come_before_the_first_byte_and_between_tokens(runner: ScriptedRunner) -> None:
    begin = time.monotonic()
    ask(runner, stream=True, delay_s=0.05, chunk_delay_s=0.02)
    assert time.monotonic() - begin >= 0.05 + 3 * 0.02


def test_a_client_that_leaves_a_stream_is_counted(runner: ScriptedRunner) -> None:
    runner.enqueue(ScriptedReply(TEXT * 20, chunk_delay_s=0.02))
    body = {"model": "tiny", "messages": [], "stream": True}
    with httpx.stream("POST", f"{runner.endpoint}/chat/completions", json=body) as answer:
        next(answer.iter_text())
    assert eventually(lambda: runner.cancelled == 1)


def test_calls_at_the_same_time_are_counted(runner: ScriptedRunner) -> None:
    threads = [
        threading.Thread(target=ask, args=(runner,), kwargs={"delay_s": 0.2}) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runner.most_at_once == 3


def test_a_runner_comes_back_on_its_port() -> None:
    with ScriptedRunner() as first:
        assert ask(first).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(first.url)
    with ScriptedRunner(port=int(first.url.rpartition(":")[2])) as second:
        assert second.url == first.url
        assert ask(second).status_code == 200
