"""The scripted runner: listens, records what it is asked, answers what it was told."""

from __future__ import annotations

import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from rolecall.models.scripted.connection import BadRequest, ClientGone, Connection
from rolecall.models.scripted.delivery import Voice, deliver, recite
from rolecall.models.scripted.dialect import Dialect, speech_of
from rolecall.models.scripted.script import (
    Fault,
    FaultKind,
    Request,
    Script,
    ScriptedReply,
    perform,
)
from rolecall.models.scripted.verbatim import Verbatim

Page = dict[str, Any] | Verbatim | Callable[[Request], "dict[str, Any] | Verbatim"]
"""What a path says: JSON, a whole HTTP answer, or a rule that gives one of them."""

_HOST = "127.0.0.1"
_JOIN_S = 5.0


class ScriptedRunner:
    """A model server without a model, on a free port of loopback, in a background thread.

    Attributes:
        default: the script when the queue is empty; a rule ``(Request) -> ScriptedReply`` lets one
            runner serve every role.
        faults: faults by path (``{"/v1/models": "hang_before_headers"}``), before any script.
        pages: what further paths say (``{"/props": {"n_ctx": 4096}}``), instead of the dialect.
        requests: everything it was asked, in order; ``calls`` are those put to a model.
        cancelled: clients that left before their answer was complete.
        most_at_once: the largest number of calls that were being answered at the same time.
    """

    def __init__(
        self,
        models: Sequence[str] = ("tiny",),
        dialect: Dialect = "openai",
        *,
        port: int = 0,
        context_length: int = 8192,
        capabilities: Sequence[str] = ("completion", "tools", "thinking"),
    ) -> None:
        self.models = list(models)
        self.dialect = dialect
        self.default: Script = ScriptedReply("ok")
        self.faults: dict[str, Fault | FaultKind | int] = {}
        self.pages: dict[str, Page] = {}
        self.requests: list[Request] = []
        self.cancelled = 0
        self.most_at_once = 0
        self._context_length = context_length
        self._capabilities = capabilities
        self._port = port
        self._queue: deque[Script] = deque()
        self._lock = threading.Lock()
        self._answering = 0
        self._closing = False
        self._listener: socket.socket | None = None
        self._bell: tuple[socket.socket, socket.socket] | None = None
        self._door: threading.Thread | None = None
        self._connections: dict[Connection, threading.Thread] = {}
        self._speech = speech_of(dialect)

    @property
    def url(self) -> str:
        """Where it listens, without a path: ``http://127.0.0.1:PORT``."""
        return f"http://{_HOST}:{self._port}"

    @property
    def endpoint(self) -> str:
        """What a stack names: ``url`` for Ollama's dialect, else ``url`` and ``/v1``."""
        return self.url if self.dialect == "ollama" else f"{self.url}/v1"

    @property
    def calls(self) -> list[Request]:
        """The requests that were put to a model."""
        return [one for one in self.requests if one.path in self._speech.voices]

    def enqueue(self, *scripts: Script) -> None:
        """Say these next, in order, one each."""
        self._queue.extend(scripts)

    def start(self) -> None:
        """Listen; ``with`` does it."""
        self._listener = socket.create_server((_HOST, self._port), backlog=512)
        self._port = self._listener.getsockname()[1]
        self._bell = socket.socketpair()
        self._closing = False
        self._door = threading.Thread(target=self._accept, name="scripted-runner", daemon=True)
        self._door.start()

    def close(self) -> None:
        """Stop listening, end every hang, wait for the threads."""
        if self._listener is None or self._bell is None or self._door is None:
            return
        self._closing = True
        self._bell[1].send(b"!")
        self._door.join(_JOIN_S)
        with self._lock:
            threads = dict(self._connections)
        for connection in threads:
            connection.hang_up()
        for thread in threads.values():
            thread.join(_JOIN_S)
        for sock in (self._listener, *self._bell):
            sock.close()
        self._listener = self._bell = self._door = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- serving --------------------------------------------------------------------------------

    def _accept(self) -> None:
        assert self._listener is not None
        assert self._bell is not None
        with selectors.DefaultSelector() as ready:
            ready.register(self._listener, selectors.EVENT_READ)
            ready.register(self._bell[0], selectors.EVENT_READ)
            while not self._closing:
                if all(key.fileobj is not self._listener for key, _ in ready.select()):
                    continue
                connection = Connection(self._listener.accept()[0])
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                with self._lock:
                    self._connections[connection] = thread
                thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            while not self._closing and self._turn(connection):
                pass
        except ClientGone:
            if not self._closing:
                with self._lock:
                    self.cancelled += 1
        finally:
            connection.close()
            with self._lock:
                self._connections.pop(connection, None)

    def _turn(self, connection: Connection) -> bool:
        """Read one request and answer it."""
        try:
            request = connection.read()
        except BadRequest as error:
            refusal, plain = self._refusal(400, str(error))
            deliver(connection, refusal, Request("POST", "/", {}, {}), plain)
            return False
        if request is None:
            return False
        self.requests.append(request)
        reply, voice = self._answer(request)
        if request.path not in self._speech.voices:
            return _say(connection, reply, request, voice)
        with self._counted():
            return _say(connection, reply, request, voice)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._answering += 1
            self.most_at_once = max(self.most_at_once, self._answering)
        try:
            yield
        finally:
            with self._lock:
                self._answering -= 1

    def _answer(self, request: Request) -> tuple[ScriptedReply | Verbatim, Voice]:
        voice = self._speech.voices.get(request.path)
        if (fault := self.faults.get(request.path)) is not None:
            return ScriptedReply(fault=fault), voice or self._speech.plain(self._about(request))
        if (page := self.pages.get(request.path)) is not None:
            return self._page(page, request)
        if voice is None:
            if (found := self._about(request)) is not None:
                return ScriptedReply(), self._speech.plain(found)
            return self._refusal(404, f"{request.method} {request.path} is not served here")
        if request.method != "POST":
            return self._refusal(405, f"{request.path} takes POST")
        if not self._has(request.model):
            return self._refusal(404, f"model '{request.model}' not found")
        script = self._queue.popleft() if self._queue else self.default
        try:
            return perform(script, request), voice
        except Exception as error:  # a rule is the user's code: the client must not wait for it
            return self._refusal(500, f"the rule raised {type(error).__name__}: {error}")

    def _page(self, page: Page, request: Request) -> tuple[ScriptedReply | Verbatim, Voice]:
        try:
            said = page(request) if callable(page) else page
        except Exception as error:  # a rule is the user's code: the client must not wait for it
            return self._refusal(500, f"the rule raised {type(error).__name__}: {error}")
        if isinstance(said, Verbatim):
            return said, self._speech.plain({})
        return ScriptedReply(), self._speech.plain(said)

    def _about(self, request: Request) -> dict[str, Any] | None:
        """What the runner says about itself, by path."""
        if request.path == "/api/show" and not self._has(request.model):
            return None
        return self._speech.about(request, self.models, self._context_length, self._capabilities)

    def _has(self, model: str) -> bool:
        tagged = f"{model}:latest" if self.dialect == "ollama" else model
        return model in self.models or tagged in self.models

    def _refusal(self, status: int, message: str) -> tuple[ScriptedReply, Voice]:
        fault = Fault("status", status=status, body=self._speech.error(status, message))
        return ScriptedReply(fault=fault), self._speech.plain({})


def _say(
    connection: Connection, reply: ScriptedReply | Verbatim, request: Request, voice: Voice
) -> bool:
    if isinstance(reply, Verbatim):
        return recite(connection, reply)
    return deliver(connection, reply, request, voice)
