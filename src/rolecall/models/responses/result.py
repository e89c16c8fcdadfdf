"""The response: OpenAI's own class, filled from a reply of the client."""

from __future__ import annotations

import time
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from openai.types.responses import Response as OpenAIResponse
from pydantic import Field

from rolecall.errors import AnswerTruncated
from rolecall.models.calls import CallRecord, OnCall
from rolecall.models.responses.items import Item

_CUT = {"length": "max_output_tokens", "content_filter": "content_filter"}


class Response(OpenAIResponse):
    """OpenAI's ``Response`` with where it came from; ``output_text`` is all of its text.

    ``status`` is ``completed``; ``incomplete`` when the answer was cut off
    (``incomplete_details.reason``); ``failed`` only on an error's ``response``, in
    ``response.failed`` and in the store.

    Attributes:
        role: the role whose model answered; not the one that was asked when that one failed.
        endpoint: the endpoint that answered.
        output_parsed: the object under ``text_format``, of a response just made: an instance of a
            pydantic class, else plain JSON values; ``None`` when tools were called instead.
    """

    role: str = ""
    endpoint: str = ""
    output_parsed: Any = Field(default=None, exclude=True)


def response_from(values: dict[str, Any], parsed: Any = None) -> Response:
    """The object of a response's JSON values. Fields that OpenAI's class lacks are kept."""
    response = Response.construct(**values)
    response.output_parsed = parsed
    return response


class Heard:
    """Listens to the attempts of one response: who answered, and the tokens of every reply."""

    def __init__(self, on_call: OnCall | None) -> None:
        self._on_call = on_call
        self._last: CallRecord | None = None
        self._usage: UsageMetadata | None = None

    def __call__(self, record: CallRecord) -> None:
        """Take the record of an attempt."""
        self._last = record
        if self._on_call is not None:
            self._on_call(record)

    def used(self, usage: UsageMetadata | None) -> None:
        """Add the tokens of a reply."""
        if usage is not None:
            self._usage = add_usage(self._usage, usage)

    @property
    def fields(self) -> dict[str, Any]:
        """The response's ``model``, ``role``, ``endpoint`` and ``usage``."""
        known: dict[str, Any] = {"usage": _usage(self._usage), "completed_at": time.time()}
        if self._last is not None:
            known |= {
                "model": self._last.model,
                "role": self._last.role,
                "endpoint": self._last.endpoint,
            }
        return known


def outcome_fields(finish_reason: str | None, output: list[Item]) -> dict[str, Any]:
    """How the answer ended, and what it brought."""
    cut = _CUT.get(str(finish_reason))
    return {
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": cut} if cut else None,
        "output": output,
    }


def failure_fields(error: BaseException, output: list[Item]) -> dict[str, Any]:
    """What failed, and what had been said before."""
    if isinstance(error, AnswerTruncated):
        return outcome_fields("length", output)
    return {
        "status": "failed",
        "error": {"code": "server_error", "message": str(error)},
        "output": output,
    }


def is_cut(reply: AIMessage) -> bool:
    """Whether the reply was cut off."""
    return reply.response_metadata.get("finish_reason") in _CUT


def _usage(usage: UsageMetadata | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    read = usage.get("input_token_details") or {}
    written = usage.get("output_token_details") or {}
    return {
        "input_tokens": usage["input_tokens"],
        "input_tokens_details": {
            "cached_tokens": read.get("cache_read") or 0,
            "cache_write_tokens": read.get("cache_creation") or 0,
        },
        "output_tokens": usage["output_tokens"],
        "output_tokens_details": {"reasoning_tokens": written.get("reasoning") or 0},
        "total_tokens": usage["total_tokens"],
    }
