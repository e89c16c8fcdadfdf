"""Server-sent events of JSON, read from a runner with httpx and nothing between.

The ``openai`` SDK can do this too. Its request building, typed objects and layers of iteration
took half of the time that a call costs beside the model's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import httpx

_DATA = b"data:"
_DONE = b"[DONE]"
_READ_OUT_S = 1.0


class Refused(Exception):
    """A runner answered with an HTTP status that is no success."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.status_code = response.status_code
        self.message = response.text or response.reason_phrase
        try:
            self.body: Any = response.json()
        except ValueError:
            self.body = None
        super().__init__(f"HTTP {self.status_code}: {self.message}")


@asynccontextmanager
async def posted(
    http: httpx.AsyncClient,
    url: httpx.URL | str,
    body: Mapping[str, Any],
    headers: Mapping[str, str],
) -> AsyncIterator[httpx.Response]:
    """The response to a JSON object, its body not read yet. Leaving it closes the connection.

    Raises:
        Refused: its status is no success.
        httpx.HTTPError: there is no response.
    """
    async with http.stream("POST", url, json=body, headers=headers) as response:
        if not response.is_success:
            await response.aread()
            raise Refused(response)
        yield response


async def events(response: httpx.Response) -> AsyncGenerator[Any, None]:
    """What stands in the events of a stream, until ``[DONE]`` or its end.

    Lines end with LF or CRLF, nothing else: JSON may hold every other line break of Unicode.
    Names and ids of events are not of OpenAI's chat completions and are passed over.

    Raises:
        ValueError: an event is not JSON.
    """
    said: list[bytes] = []
    async with aclosing(_lines(response)) as lines:
        async for line in lines:
            if line.startswith(_DATA):
                said.append(line[len(_DATA) :].strip())
            elif not line and said:
                text, said = b"\n".join(said), []
                if text.startswith(_DONE):
                    await _read_out(lines)
                    return
                yield json.loads(text)
    if said and not said[0].startswith(_DONE):
        yield json.loads(b"\n".join(said))


async def _read_out(lines: AsyncGenerator[bytes, None]) -> None:
    """To the end of the body, which lets the connection be used again; the answer is complete."""
    with suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(_READ_OUT_S):
            async for _ in lines:
                pass


async def _lines(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    pending: list[bytes] = []  # not joined before the line ends: it may come in very many pieces
    async for data in response.aiter_bytes():
        if b"\n" not in data:
            pending.append(data)
            continue
        *lines, rest = data.split(b"\n")
        lines[0] = b"".join([*pending, lines[0]])
        pending = [rest] if rest else []
        for line in lines:
            yield line.removesuffix(b"\r")
    if pending:
        yield b"".join(pending)
