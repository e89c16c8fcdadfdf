"""What libraries raise becomes one error that names the model, the endpoint and what to do."""

from __future__ import annotations

import json

import httpx
import openai
import pytest
from ollama import ResponseError

from rolecall.config.schema import ModelSpec
from rolecall.errors import ModelCallFailed, UnknownModel
from rolecall.models.failures import DeadlinePassed, RunnerGaveUp, StreamBroken, explain

SPEC = ModelSpec(id="tiny", endpoint="http://localhost:1/v1", timeout_s=7, deadline_s=70)
REQUEST = httpx.Request("POST", "http://localhost:1/v1")


def status(code: int, message: str = "no", body: object = None) -> Exception:
    reply = httpx.Response(code, request=REQUEST)
    return openai.APIStatusError(message, response=reply, body=body)  # type: ignore[arg-type]


def caused(outer: Exception, inner: BaseException) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "said", "retryable"),
    [
        (status(500), "HTTP 500: no", True),
        (status(429), "HTTP 429", True),
        (status(503, body={"error": {"message": "Loading model"}}), "Loading model", True),
        (status(400), "HTTP 400", False),
        (status(400, "context size exceeded"), "longer than the model can read", False),
        (status(413), "longer than the model can read", False),
        (status(401), "api_key_env", False),
        (status(403), "api_key_env", False),
        (status(404), "does not know this model or path", False),
        (status(307), "redirect", False),
        (ResponseError("model not found", 404), "model not found", False),
        (ResponseError("runner stopped"), "runner stopped", True),
        (TimeoutError(), "no sign of life for 7 s", False),
        (httpx.ReadTimeout(""), "timeout_s", False),
        (httpx.ConnectTimeout(""), "no connection", True),
        (httpx.ConnectError("refused"), "nothing answers there", True),
        (ConnectionError("Failed to connect to Ollama"), "nothing answers there", True),
        (httpx.ConnectError("[Errno -2] Name or service not known"), "host name", True),
        (httpx.ConnectError("CERTIFICATE_VERIFY_FAILED"), "TLS", True),
        (httpx.RemoteProtocolError("peer closed"), "connection broke: peer closed", True),
        (ConnectionResetError(), "connection broke: ConnectionResetError", True),
        (json.JSONDecodeError("bad", "x", 0), "not of the API", True),
        (KeyError("choices"), "lacks 'choices'", True),
        (StreamBroken(""), "before it is complete", True),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "no"), "request cannot be sent", False),
        (RunnerGaveUp("out of memory"), "out of memory", True),
        (DeadlinePassed(), "not finished within 70 s", False),
        (RuntimeError("odd"), "RuntimeError: odd", True),
        (caused(RuntimeError("wrapped"), httpx.ConnectError("no")), "nothing answers", True),
        (caused(TimeoutError(), RuntimeError("cancelled")), "no sign of life", False),
    ],
)
def test_the_error_says_what_to_do(error: Exception, said: str, retryable: bool) -> None:
    failure = explain(error, SPEC, partial="so far")
    assert isinstance(failure, ModelCallFailed)
    assert str(failure).startswith("tiny at http://localhost:1/v1: ")
    assert said in str(failure)
    assert failure.retryable is retryable
    assert failure.partial == "so far"


def test_the_status_is_kept_and_long_bodies_are_cut() -> None:
    failure = explain(status(500, "x" * 5000), SPEC)
    assert isinstance(failure, ModelCallFailed)
    assert failure.status == 500
    assert len(str(failure)) < 400


def test_our_own_errors_pass_through() -> None:
    error = UnknownModel("there is none")
    assert explain(error, SPEC) is error
