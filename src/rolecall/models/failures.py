"""Turns what a wire library raises into one of our errors, with the next thing to try."""

from __future__ import annotations

import json

import httpx

from rolecall.config.schema import EMBEDDED, ModelSpec
from rolecall.errors import (
    ConfigError,
    ContextTooLong,
    DownloadFailed,
    ModelCallFailed,
    NoModelReachable,
    RolecallError,
    RunnerFailed,
    UnknownModel,
)
from rolecall.models.limits import QueueFull
from rolecall.models.retry_after import retry_after_of

_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_REFUSALS = frozenset({400, 422, 501})
_ASKING_FOR_TIME = frozenset({429, 503})


class StreamBroken(Exception):
    """The stream ended without saying that the answer is complete."""


class RunnerGaveUp(Exception):
    """The runner itself reported a failure after it had begun to answer."""


class AnswerTooLong(Exception):
    """The answer went past what one answer may be: a runner that does not find an end."""

    def __init__(self, bound: str) -> None:
        super().__init__(f"its answer goes past {bound}, the bound for one answer")


class DeadlinePassed(Exception):
    """The attempt took longer than the model's ``deadline_s``, or than its message says."""


# Behind a TimeoutError stands the cancellation that it was made of.
_TELLING = (
    httpx.HTTPError,
    TimeoutError,
    StreamBroken,
    RunnerGaveUp,
    AnswerTooLong,
    DeadlinePassed,
    QueueFull,
)


def explain(error: BaseException, spec: ModelSpec, partial: str = "") -> RolecallError:
    """The error that a caller sees for one failed attempt.

    Args:
        error: what was raised while calling the model.
        spec: the model that was called.
        partial: text that had already arrived.
    """
    if isinstance(error, RolecallError):
        return error
    where = f"{spec.id} at {spec.endpoint}"

    def failed(what: str, *, retryable: bool, status: int | None = None) -> ModelCallFailed:
        return ModelCallFailed(
            f"{where}: {what}",
            retryable=retryable,
            status=status,
            partial=partial,
            retry_after=retry_after_of(error) if status in _ASKING_FOR_TIME else None,
        )

    status, body = _status(error)
    if status is not None:
        return failed(_say_status(status, body), retryable=status in _AGAIN, status=status)
    cause = _root(error)
    if isinstance(cause, DeadlinePassed) and not str(cause):
        return failed(
            f"not finished within {spec.deadline_s:g} s; a long answer may need a larger "
            "deadline_s in the stack",
            retryable=False,
        )
    if isinstance(cause, AnswerTooLong | DeadlinePassed | QueueFull):
        return failed(str(cause), retryable=False)
    if isinstance(cause, StreamBroken):
        return failed(f"the answer ends before it is complete{cause}", retryable=True)
    if isinstance(cause, RunnerGaveUp):
        return failed(f"gave up while answering: {_short(str(cause))}", retryable=True)
    if isinstance(cause, TimeoutError | httpx.TimeoutException):
        if isinstance(cause, httpx.ConnectTimeout):
            return failed("no connection within the time limit", retryable=True)
        return failed(
            f"no sign of life for {spec.timeout_s:g} s; a slow machine may need a larger "
            "timeout_s in the stack",
            retryable=False,
        )
    if isinstance(cause, httpx.ConnectError | ConnectionError) and not isinstance(
        cause, ConnectionResetError | BrokenPipeError
    ):
        return failed(_say_unreachable(spec, cause), retryable=True)
    if isinstance(cause, httpx.HTTPError | OSError):
        what = str(cause) or type(cause).__name__
        return failed(f"the connection broke: {what}", retryable=True)
    if isinstance(cause, UnicodeEncodeError):  # ours, not the server's
        return failed(f"the request cannot be sent: {_short(str(cause))}", retryable=False)
    if isinstance(cause, json.JSONDecodeError | UnicodeDecodeError | ValueError | TypeError):
        return failed(f"its answer is not of the API: {_short(str(cause))}", retryable=True)
    if isinstance(cause, KeyError | IndexError | AttributeError):
        return failed(f"its answer lacks {cause}", retryable=True)
    return failed(f"{type(cause).__name__}: {_short(str(cause))}", retryable=True)


def _status(error: BaseException) -> tuple[int | None, str]:
    status = getattr(error, "status_code", None)
    if not isinstance(status, int) or status < 300:
        return None, ""
    text = getattr(error, "message", None) or getattr(error, "error", None) or str(error)
    body = getattr(error, "body", None)
    if isinstance(body, dict):
        inner = body.get("error", body)
        text = inner.get("message", text) if isinstance(inner, dict) else inner
    elif isinstance(body, str) and body.strip():
        text = body
    return status, _short(str(text))


def _say_status(status: int, body: str) -> str:
    if status in {401, 403}:
        return f"refused the key (HTTP {status}: {body}); name its variable in api_key_env"
    if status == 404:
        return f"does not know this model or path (HTTP 404: {body})"
    if status == 413 or (status == 400 and "context" in body.lower()):
        return f"the conversation is longer than the model can read (HTTP {status}: {body})"
    if 300 <= status < 400:
        return f"answered with a redirect (HTTP {status}), which is not followed"
    return f"HTTP {status}: {body}"


def _say_unreachable(spec: ModelSpec, cause: BaseException) -> str:
    if spec.endpoint == EMBEDDED:
        return "the embedded server is gone; rolecall models ps shows what runs"
    text = str(cause)
    if ("name" in text.lower() and "known" in text.lower()) or "getaddrinfo" in text:
        return "the host name cannot be resolved"
    if "ssl" in text.lower() or "certificate" in text.lower():
        return f"TLS failed: {_short(text)}"
    return "nothing answers there; start the runner or correct the endpoint"


def _root(error: BaseException) -> BaseException:
    """The innermost cause that says more than the library's wrapper around it."""
    seen: BaseException = error
    while seen.__cause__ is not None and not isinstance(seen, _TELLING):
        seen = seen.__cause__
    return seen


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:297] + "..."


def is_gone(failure: RolecallError) -> bool:
    """Whether the server itself is the trouble, so that it must be started again."""
    return isinstance(failure, ModelCallFailed) and failure.retryable and failure.status is None


def severity(failure: RolecallError) -> int:
    """How much a failure says against the server: 0 nothing, 1 it may pass, 2 it cost much.

    Nothing: what the request itself or the stack is to blame for, a full queue, a slow answer.
    Much: a whole time limit of silence, or text that had come and is of no use now.
    """
    if isinstance(failure, RunnerFailed | DownloadFailed):
        return 1
    if not isinstance(failure, ModelCallFailed):
        return 0
    if failure.partial and failure.retryable:
        return 2
    if failure.retryable:
        return 1
    cause = _root(failure)
    return 2 if isinstance(cause, TimeoutError | httpx.TimeoutException) else 0


def refuses(failure: RolecallError) -> bool:
    """Whether the server did not like the request itself."""
    return isinstance(failure, ModelCallFailed) and failure.status in _REFUSALS


def is_mistake(failure: RolecallError) -> bool:
    """Whether the stack is to be corrected: no other model should paper over that."""
    return isinstance(failure, ConfigError)


def none_left(role: str, failures: list[RolecallError]) -> RolecallError:
    """What to raise when every candidate of a role has failed."""
    for failure in reversed(failures):
        if isinstance(failure, ModelCallFailed) and failure.partial:
            return failure  # text that has arrived is not lost
    unique = list(dict.fromkeys(str(failure) for failure in failures))
    if len(unique) == 1 and not isinstance(failures[0], ModelCallFailed):
        return failures[0]
    if any(isinstance(failure, ContextTooLong) for failure in failures) and all(
        isinstance(failure, ContextTooLong) or getattr(failure, "too_long", False)
        for failure in failures
    ):
        return ContextTooLong("\n".join(unique))
    if all(isinstance(failure, UnknownModel) for failure in failures):
        return UnknownModel("\n".join(unique))
    reasons = "\n".join(f"  - {line}" for line in unique)
    return NoModelReachable(
        f"no model could be reached for the role {role}:\n{reasons}\n"
        "rolecall stack check shows what the stack's endpoints offer."
    )
