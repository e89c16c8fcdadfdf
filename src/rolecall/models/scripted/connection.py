"""One client's connection: HTTP/1.1 with keep-alive, read and written with few system calls."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from rolecall.models.scripted.script import Request

_READ_BYTES = 65_536


class ClientGone(Exception):
    """The client closed the connection before its answer was complete."""


class BadRequest(Exception):
    """What arrived is not a request that a runner understands."""


class Connection:
    """A connected client.

    Blocking, one thread each: the shortest way from the request's last byte to the answer's first.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = b""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self) -> Request | None:
        """The next request; ``None`` when the client has none.

        Raises:
            BadRequest: the body is not a JSON object, or comes without its length.
        """
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if not self._fill():
                return None
        head, self._buffer = self._buffer[:end].decode("latin-1"), self._buffer[end + 4 :]
        first, *lines = head.split("\r\n")
        method, _, rest = first.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if "transfer-encoding" in headers:
            raise BadRequest("send the body with its Content-Length")
        if headers.get("expect", "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        said = headers.get("content-length", "0")
        if not said.isdecimal():
            raise BadRequest(f"Content-Length: {said} is not a number")
        length = int(said)
        while len(self._buffer) < length:
            if not self._fill():
                return None
        raw, self._buffer = self._buffer[:length], self._buffer[length:]
        return Request(method, path, headers, _parse(raw))

    def send(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            ClientGone: the client does not take it.
        """
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise ClientGone from error

    def rest(self, seconds: float | None) -> None:
        """Wait; without a time, until the client goes or :meth:`hang_up`.

        Raises:
            ClientGone: the client went meanwhile.
        """
        if seconds is not None and seconds <= 0:
            return
        try:
            self._socket.settimeout(seconds)
            arrived = self._socket.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return
        except OSError as error:
            raise ClientGone from error
        finally:
            self._reset_timeout()
        if not arrived:
            raise ClientGone

    def hang_up(self) -> None:
        """Wake the thread that serves this connection, wherever it waits."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def _reset_timeout(self) -> None:
        if self._socket.fileno() >= 0:
            self._socket.settimeout(None)

    def _fill(self) -> bool:
        try:
            received = self._socket.recv(_READ_BYTES)
        except OSError:
            return False
        self._buffer += received
        return bool(received)


def head(status: int, content_type: str, length: int | None, more: Mapping[str, str]) -> bytes:
    """Status line and headers; without a length the body is chunked."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Scripted"
    lines = [f"HTTP/1.1 {status} {phrase}", "Server: scripted", f"Content-Type: {content_type}"]
    lines.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
    lines += [f"{name}: {value}" for name, value in more.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _parse(raw: bytes) -> dict[str, Any]:
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest("the body is not a JSON object")
    return body
