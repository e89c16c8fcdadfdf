"""Which paths a runner of each kind serves, and its words for errors and for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rolecall.models.scripted import chat_completions, ollama, responses
from rolecall.models.scripted.delivery import Voice
from rolecall.models.scripted.events import Event, encode
from rolecall.models.scripted.script import Request, ScriptedReply

Dialect = Literal["openai", "chat_completions", "ollama"]
"""``openai`` also serves Responses, ``chat_completions`` does not, ``ollama`` adds ``/api``."""

_SSE = "text/event-stream"


@dataclass(frozen=True)
class Speech:
    """A dialect: the voices by path, and the words of an error (status, message)."""

    dialect: Dialect
    voices: Mapping[str, Voice]
    error: Callable[[int, str], dict[str, Any]]

    def plain(self, body: dict[str, Any] | None) -> Voice:
        """The voice that says one JSON object, whatever the script."""

        def whole(reply: ScriptedReply, request: Request) -> bytes:
            return encode(body or {})

        def stream(reply: ScriptedReply, request: Request) -> Iterator[Event]:
            yield Event(whole(reply, request), token=True)

        return Voice(whole, stream, "application/json", self.error)

    def about(
        self,
        request: Request,
        models: Sequence[str],
        context_length: int,
        capabilities: Sequence[str],
    ) -> dict[str, Any] | None:
        """What the runner says about itself at a path; ``None`` where it says nothing."""
        if request.path == "/v1/models":
            return _model_list(models, context_length)
        if self.dialect != "ollama":
            return {"status": "ok"} if request.path == "/health" else None
        match request.path:
            case "/api/tags" | "/api/ps":
                return ollama.tags(models)
            case "/api/version":
                return {"version": ollama.VERSION}
            case "/api/show":
                return ollama.show(request.model, context_length, capabilities)
        return None


def speech_of(dialect: Dialect) -> Speech:
    """Everything that a runner of this kind can say."""
    chat = Voice(chat_completions.whole, chat_completions.stream, _SSE, _openai_error)
    voices = {"/v1/chat/completions": chat}
    if dialect != "chat_completions":
        voices["/v1/responses"] = Voice(responses.whole, responses.stream, _SSE, _openai_error)
    if dialect == "ollama":
        lines = "application/x-ndjson"
        voices["/api/chat"] = Voice(ollama.whole, ollama.stream, lines, _ollama_error)
    return Speech(dialect, voices, _ollama_error if dialect == "ollama" else _openai_error)


def _openai_error(status: int, message: str) -> dict[str, Any]:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


def _ollama_error(status: int, message: str) -> dict[str, Any]:
    return {"error": message}


def _model_list(models: Sequence[str], context_length: int) -> dict[str, Any]:
    meta = {"n_ctx": context_length, "n_ctx_train": context_length}
    entries = [
        {"id": model, "object": "model", "created": 0, "owned_by": "scripted", "meta": meta}
        for model in models
    ]
    return {"object": "list", "data": entries}
