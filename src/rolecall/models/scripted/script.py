"""What a scripted runner is told to say, and what it was asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rolecall.models.scripted.verbatim import Verbatim

FaultKind = Literal[
    "status",
    "refuse",
    "hang_before_headers",
    "hang_after_first_token",
    "cut_stream",
    "truncated_json",
    "html_instead_of_json",
    "empty_choices",
    "null_content",
    "wrong_content_type",
    "redirect",
    "slow",
    "invalid_utf8",
    "usage_missing",
]

_PIECE = re.compile(r"\s*\S+|\s+")


@dataclass(frozen=True)
class Fault:
    """One way to fail; a bare kind is enough where its defaults do.

    Attributes:
        kind: ``status`` answers ``status`` with ``headers`` and ``body`` (text as it stands,
            anything else as JSON); ``refuse`` closes the connection before any header; the two
            ``hang_*`` hold it until the client or the runner goes; ``cut_stream`` closes after
            ``after`` tokens; ``truncated_json`` ends inside the JSON; ``redirect`` answers 307
            to ``location``; ``slow`` sends ``bytes_per_s``.
        clean: ``cut_stream`` ends the HTTP message properly, so that only its sense is cut.
    """

    kind: FaultKind
    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    after: int = 1
    clean: bool = False
    location: str = "/"
    bytes_per_s: int = 100


@dataclass(frozen=True)
class ScriptedReply:
    """One answer, in no dialect.

    Attributes:
        reasoning: the model's thoughts; ``reasoning_field`` names their place in chat completions,
            ``reasoning_summary`` puts them into a summary in Responses.
        tool_calls: ``{"name": …, "args": {…}}``; ``args`` may be text (sent as it stands) and
            ``id`` may be given.
        finish_reason: in the words of chat completions; with tool calls ``stop`` becomes
            ``tool_calls``.
        usage: input and output tokens; ``None`` counts roughly.
        logprobs: the first token's alternatives, sent when the request asks for log-probabilities.
        delay_s: before the first byte. ``chunk_delay_s``: before each further token of a stream.
        pieces: how the text is cut in a stream; by default one word each.
        fault: how to fail; a number is a status.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: Sequence[Mapping[str, Any]] = ()
    finish_reason: str = "stop"
    usage: tuple[int, int] | None = None
    logprobs: Mapping[str, float] | None = None
    delay_s: float = 0.0
    chunk_delay_s: float = 0.0
    pieces: Sequence[str] = ()
    reasoning_field: Literal["reasoning_content", "reasoning"] = "reasoning_content"
    reasoning_summary: bool = False
    fault: Fault | FaultKind | int | None = None

    def __post_init__(self) -> None:
        if any("name" not in call for call in self.tool_calls):
            raise ValueError('a tool call needs a name: {"name": "clock", "args": {}}')

    @property
    def failing(self) -> Fault | None:
        """The fault in its full form."""
        if isinstance(self.fault, int):
            return Fault("status", status=self.fault)
        return Fault(self.fault) if isinstance(self.fault, str) else self.fault

    @property
    def finish(self) -> str:
        """The finish reason that goes on the wire."""
        if self.tool_calls and self.finish_reason == "stop":
            return "tool_calls"
        return self.finish_reason

    @property
    def said(self) -> str:
        """The whole text."""
        return self.text or "".join(self.pieces)

    @property
    def words(self) -> list[str]:
        """The text as a stream sends it."""
        return list(self.pieces) or _PIECE.findall(self.text)

    @property
    def thoughts(self) -> list[str]:
        """The reasoning as a stream sends it."""
        return _PIECE.findall(self.reasoning)


@dataclass(frozen=True)
class Request:
    """What a client asked. Header names are in lower case; ``body`` is ``{}`` without one."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def model(self) -> str:
        """The model id it names."""
        return str(self.body.get("model", ""))

    @property
    def stream(self) -> bool:
        """Whether it wants a stream; Ollama streams unless told not to."""
        return bool(self.body.get("stream", self.path == "/api/chat"))

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation, wherever the dialect keeps it."""
        found = self.body.get("messages", self.body.get("input"))
        if isinstance(found, str):
            return [{"role": "user", "content": found}]
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    @property
    def text(self) -> str:
        """The text of the last user message."""
        for message in reversed(self.messages):
            if message.get("role") == "user":
                content = message.get("content") or ""
                if isinstance(content, str):
                    return content
                return "".join(part.get("text") or "" for part in content)
        return ""

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema that the answer is asked to obey."""
        form = self.body.get("response_format") or (self.body.get("text") or {}).get("format")
        if form is None:
            native = self.body.get("format")
            return native if isinstance(native, dict) else None
        schema = (form.get("json_schema") or form).get("schema")
        return schema if isinstance(schema, dict) else None

    @property
    def top_logprobs(self) -> int:
        """Alternatives wanted per token; 0 when no log-probabilities are wanted."""
        wanted = self.body.get("top_logprobs") or 0
        return max(int(wanted), 1) if self.body.get("logprobs") or wanted else 0


Script = ScriptedReply | Verbatim | str | Callable[[Request], "ScriptedReply | Verbatim | str"]
"""A reply, its text alone, a whole HTTP answer, or a rule that answers a request."""


def perform(script: Script, request: Request) -> ScriptedReply | Verbatim:
    """The reply that a script gives to a request."""
    reply = script(request) if callable(script) else script
    return ScriptedReply(reply) if isinstance(reply, str) else reply


def tokens_of(reply: ScriptedReply, request: Request) -> tuple[int, int]:
    """Input and output tokens: as scripted, else about four characters and one word each."""
    if reply.usage is not None:
        return reply.usage
    asked = sum(len(str(message.get("content") or "")) for message in request.messages)
    said = len(reply.words) + len(reply.thoughts) + 8 * len(reply.tool_calls)
    return max(asked // 4, 1), max(said, 1)


def top_tokens(
    reply: ScriptedReply, request: Request, token: str, *, first: bool
) -> dict[str, Any] | None:
    """One token's log-probability with its alternatives, or ``None`` when none are wanted.

    The scripted values describe the first token; the ones after it count as certain.
    """
    count = request.top_logprobs
    if not count:
        return None
    scripted = dict(reply.logprobs) if reply.logprobs and first else {token: 0.0}
    best = sorted(scripted.items(), key=lambda pair: -pair[1])[:count]
    return {
        **_token(token, scripted.get(token.strip(), scripted.get(token, best[0][1]))),
        "top_logprobs": [_token(text, value) for text, value in best],
    }


def _token(text: str, value: float) -> dict[str, Any]:
    return {"token": text, "logprob": value, "bytes": list(text.encode())}
