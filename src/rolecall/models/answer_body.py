"""The body of a runner's HTTP answer: how large it may be, and what it is when it is no stream."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx

from rolecall.models.failures import AnswerTooLong, RunnerGaveUp

MAX_BYTES = 32 * 1024 * 1024
"""Of one answer on the wire. A streamed token takes about 250 bytes, so this is 130,000 tokens."""

_DONE = b"[DONE]"


class _Bounded(httpx.AsyncByteStream):
    """A body that ends with an error where it gets too large. Remembers its last bytes.

    Bytes that are no UTF-8 are replaced, as a token cut in the middle of a character gives them:
    one of them is no reason to lose an answer.
    """

    def __init__(self, source: httpx.AsyncByteStream, *, text: bool) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace") if text else None
        self.tail = b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MAX_BYTES
        async for data in self._source:
            left -= len(data)
            if left < 0:
                raise AnswerTooLong(f"{MAX_BYTES // 2**20} MiB")
            self.tail = (self.tail + data)[-64:] if len(data) < 64 else data[-64:]
            yield data if self._decoder is None else self._decoder.decode(data).encode()
        if self._decoder is not None and (rest := self._decoder.decode(b"", final=True)):
            yield rest.encode()

    async def aclose(self) -> None:
        await self._source.aclose()


async def bound(response: httpx.Response) -> None:
    """An event hook for httpx clients: no answer is larger than :data:`MAX_BYTES`."""
    source = cast("httpx.AsyncByteStream", response.stream)
    response.stream = _Bounded(source, text="content-encoding" not in response.headers)


def ended_as_announced(response: httpx.Response) -> bool:
    """Whether a stream that has been read ended with the mark of OpenAI's API, ``[DONE]``."""
    return isinstance(response.stream, _Bounded) and _DONE in response.stream.tail


async def json_instead(response: httpx.Response) -> dict[str, Any] | None:
    """The object that a runner sent instead of a stream; ``None`` when it does stream.

    Raises:
        RunnerGaveUp: it is an error, sent with status 200 (LM Studio does for unknown paths).
    """
    if not response.headers.get("content-type", "").startswith("application/json"):
        return None
    await response.aread()
    try:
        body = response.json()
    except ValueError:
        return None  # events under a wrong name, or nothing of the API
    if not isinstance(body, dict):
        return None
    if error := body.get("error"):
        raise RunnerGaveUp(_words_of(error))
    return body


def told(error: object) -> Exception:
    """What an error inside of a stream is raised as: with its status, if it names one."""
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, int | str) and str(code).isdecimal() and 400 <= int(code) < 600:
        return StatusInStream(int(code), error)
    return RunnerGaveUp(_words_of(error))


class StatusInStream(Exception):
    """An HTTP status that came too late to be one (llama.cpp, SGLang: inside of the stream)."""

    def __init__(self, status_code: int, body: object) -> None:
        super().__init__(_words_of(body))
        self.status_code = status_code
        self.body = body


def _words_of(error: object) -> str:
    return str(error.get("message") or error) if isinstance(error, dict) else str(error)
