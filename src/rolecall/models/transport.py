"""HTTP to runners: httpx's interface on aiohttp's connections.

A call streamed through httpx's own transport takes four times the processor time of aiohttp's,
whose parser is written in C; beside a small local model that is felt.
"""

from __future__ import annotations

import asyncio
import ssl
import weakref
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

import httpx

if TYPE_CHECKING:
    import aiohttp

_CONNECTIONS = 256
_IDLE_S = 4.0  # most servers hang up after 5: a request must not meet that
_HEADER_BYTES = 64 * 1024
_STALE_CONNECTIONS = 3


@lru_cache(maxsize=1)
def no_certificates() -> ssl.SSLContext:
    """For plain http: reading the certificates takes tens of milliseconds."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class RunnerTransport(httpx.AsyncBaseTransport):
    """Connections to runners, kept for the next request; a pool for each event loop.

    Raises httpx's errors. Nothing is taken from the environment; cookies are not kept.

    Args:
        tls: whether https is spoken; reading the certificates takes tens of milliseconds.
    """

    def __init__(self, *, tls: bool) -> None:
        self._tls = tls
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = (
            WeakKeyDictionary()
        )
        self._bodies: WeakSet[_Body] = WeakSet()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the response's body is read as it is asked for.

        Raises:
            httpx.TransportError: there is no response.
        """
        await request.aread()
        try:
            response = await self._answer(request)
        except Exception as error:
            raise _told(error) from error
        body = _Body(response)
        self._bodies.add(body)
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=body,
            extensions={"reason_phrase": (response.reason or "").encode("latin-1", "replace")},
        )

    async def _answer(self, request: httpx.Request) -> aiohttp.ClientResponse:
        """The response, as far as its headers.

        llama.cpp's server hangs up after a streamed answer without having said so. A request that
        met such a connection was not read: it goes out again on another one.
        """
        import aiohttp
        from yarl import URL

        limits = request.extensions.get("timeout", {})
        for left in reversed(range(_STALE_CONNECTIONS + 1)):
            connection = _Connection()
            try:
                return await self._session().request(
                    request.method,
                    URL(str(request.url), encoded=True),
                    headers=[(_text(name), _text(value)) for name, value in request.headers.raw],
                    data=request.content or None,
                    allow_redirects=False,
                    timeout=_timeout(limits.get("pool"), limits.get("connect"), limits.get("read")),
                    trace_request_ctx=connection,
                )
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if not connection.used_before or not left:
                    raise
        raise AssertionError("not reached")

    async def aclose(self) -> None:
        """Close all connections; who still reads from one is told."""
        for body in list(self._bodies):
            body.cut()
        here = asyncio.get_running_loop()
        for loop, session in list(self._sessions.items()):
            if loop is here:
                await session.close()
            else:
                _let_go(session, loop)
        self._sessions.clear()

    def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            session = self._sessions[loop] = _open(self._tls)
            weakref.finalize(self, _let_go, session, loop)
        return session


@dataclass
class _Connection:
    """What a request went out on."""

    used_before: bool = False


class _Body(httpx.AsyncByteStream):
    """The body of a response. Left before its end, the connection is closed."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._response.content.iter_any():
                yield data
        except Exception as error:
            raise _told(error) from error

    def cut(self) -> None:
        """Its connection is closed: aiohttp would let a reader wait for ever."""
        content = self._response.content
        if not content.at_eof() and content.exception() is None:
            content.set_exception(httpx.ReadError("the connection was closed on this side"))

    async def aclose(self) -> None:
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


def _open(tls: bool) -> aiohttp.ClientSession:
    import aiohttp

    secured = httpx.create_ssl_context(trust_env=False) if tls else no_certificates()
    connector = aiohttp.TCPConnector(
        limit=_CONNECTIONS,
        ssl=secured,
        keepalive_timeout=_IDLE_S,
        resolver=aiohttp.ThreadedResolver(),
    )
    watch = aiohttp.TraceConfig()
    watch.on_connection_reuseconn.append(_note_use)
    return aiohttp.ClientSession(
        connector=connector,
        trace_configs=[watch],
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,  # httpx does
        skip_auto_headers=["User-Agent", "Accept", "Accept-Encoding", "Content-Type"],
        max_line_size=_HEADER_BYTES,
        max_field_size=_HEADER_BYTES,
    )


async def _note_use(
    session: aiohttp.ClientSession, context: SimpleNamespace, params: object
) -> None:
    context.trace_request_ctx.used_before = True


@lru_cache(maxsize=64)
def _timeout(
    pool: float | None, connect: float | None, read: float | None
) -> aiohttp.ClientTimeout:
    """Limits in seconds: for getting a connection, for making one, for silence while reading."""
    import aiohttp

    return aiohttp.ClientTimeout(total=None, connect=pool, sock_connect=connect, sock_read=read)


def _let_go(session: aiohttp.ClientSession, loop: asyncio.AbstractEventLoop) -> None:
    """Close a session that nobody closed, without aiohttp's complaint about it."""
    connector = session.connector
    session.detach()
    if connector is None or connector.closed or loop.is_closed():
        return
    if loop.is_running():
        loop.call_soon_threadsafe(lambda: asyncio.ensure_future(_closed(connector)))


async def _closed(connector: aiohttp.BaseConnector) -> None:
    await connector.close()


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _told(error: Exception) -> Exception:
    """httpx's error for aiohttp's."""
    import aiohttp

    text = str(error) or type(error).__name__
    if isinstance(error, aiohttp.ClientSSLError):
        return httpx.ConnectError(f"ssl: {text}")
    if isinstance(error, aiohttp.ClientConnectorError):
        return httpx.ConnectError(str(error.os_error) or text)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return httpx.ConnectTimeout(text)
    if isinstance(error, TimeoutError):
        return httpx.ReadTimeout(text)
    if isinstance(error, aiohttp.InvalidURL):
        return httpx.UnsupportedProtocol(text)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return httpx.RemoteProtocolError("the server hung up without an answer")
    if isinstance(error, aiohttp.ClientPayloadError):
        return httpx.RemoteProtocolError("the server hung up before the answer was complete")
    if isinstance(error, aiohttp.ClientResponseError):
        return httpx.RemoteProtocolError(error.message or text)
    if isinstance(error, aiohttp.ClientError | OSError):
        return httpx.ReadError(text)
    if isinstance(error, ValueError):
        return httpx.LocalProtocolError(text)
    return error
