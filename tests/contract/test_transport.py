"""Connections to runners: kept, given up, closed, and what is told when they break."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from rolecall.models.transport import RunnerTransport

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[str]:
    running: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            running.discard(task)
            writer.close()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
    finally:
        listening.close()
        for task in running:
            task.cancel()


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=RunnerTransport(tls=False), timeout=3.0) as client:
        yield client


async def test_a_connection_is_used_again(http: httpx.AsyncClient) -> None:
    opened = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(_HEAD + b"content-length: 2\r\n\r\nok")

    async with server(serve) as url:
        assert [(await http.get(url)).text for _ in range(5)] == ["ok"] * 5
    assert opened == 1


async def test_a_server_that_hangs_up_after_each_answer_is_asked_again_at_once(
    http: httpx.AsyncClient,
) -> None:
    """As llama.cpp's server does after a streamed answer: without having announced it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        await reader.read(1)  # the next request is on its way

    async with server(serve) as url:
        for _ in range(10):
            assert (await http.post(url, content=b"{}")).text == "ok"


async def test_a_server_that_never_answers_is_asked_once(http: httpx.AsyncClient) -> None:
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1

    async with server(serve) as url:
        with pytest.raises(httpx.RemoteProtocolError, match="hung up without an answer"):
            await http.post(url, content=b"{}")
    assert asked == 1


async def test_closing_the_client_is_told_to_who_still_reads() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n")
        await reader.read()

    async with server(serve) as url:
        client = httpx.AsyncClient(transport=RunnerTransport(tls=False), timeout=30.0)
        begun = asyncio.Event()

        async def read() -> None:
            async with client.stream("GET", url) as response:
                async for _ in response.aiter_bytes():
                    begun.set()

        task = asyncio.create_task(read())
        await begun.wait()
        await client.aclose()
        with pytest.raises(httpx.ReadError, match="closed on this side"):
            await asyncio.wait_for(task, 5)


async def test_leaving_a_body_closes_its_connection(http: httpx.AsyncClient) -> None:
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n")
        assert await reader.read() == b""
        gone.set()

    async with server(serve) as url:
        async with http.stream("GET", url) as response:
            async for _ in response.aiter_bytes():
                break
        await asyncio.wait_for(gone.wait(), 5)


async def test_a_client_that_nobody_closes_is_let_go_without_a_word(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_HEAD + b"content-length: 2\r\n\r\nok")
        assert await reader.read() == b""
        gone.set()

    gone = asyncio.Event()
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
    async with server(serve) as url:
        client = httpx.AsyncClient(transport=RunnerTransport(tls=False))
        assert (await client.get(url)).text == "ok"
        del client
        gc.collect()
        await asyncio.wait_for(gone.wait(), 5)
    assert complaints == []
    assert capfd.readouterr().err == ""


async def test_silence_is_a_read_timeout_and_a_closed_port_a_connect_error() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    client = httpx.AsyncClient(transport=RunnerTransport(tls=False), timeout=0.2)
    async with client, server(serve) as url:
        with pytest.raises(httpx.ReadTimeout):
            await client.get(url)
    async with httpx.AsyncClient(transport=RunnerTransport(tls=False)) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(url)
