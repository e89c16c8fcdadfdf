"""Exchanges with real runners, kept in YAML and played again by the scripted runner.

    runner: Ollama
    kind: documented            # or recorded
    version: "0.13"
    model: qwen3:1.7b
    pages: {/api/tags: {models: [{name: "qwen3:1.7b"}]}}
    exchanges:
      - name: plain answer
        api: ollama             # what the client speaks
        source: https://…       # where the runner's makers say so; none for a recorded exchange
        answers:
          - content_type: application/x-ndjson
            events: [{message: {role: assistant, content: Hi}, done: true, done_reason: stop}]
        gives: {text: Hi, finish_reason: stop}

Each entry of ``answers`` is one HTTP answer; ``gives`` is what a client must make of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from rolecall.models.scripted.verbatim import Verbatim

if TYPE_CHECKING:
    from rolecall.models.scripted.runner import ScriptedRunner


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(_Strict):
    """One HTTP answer; see :class:`Verbatim`."""

    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = None
    events: list[dict[str, Any] | str] = Field(default_factory=list)

    def verbatim(self, piece_bytes: int | None = None) -> Verbatim:
        """What the scripted runner sends."""
        return Verbatim(
            body=self.body,
            events=self.events,
            status=self.status,
            content_type=self.content_type,
            headers=self.headers,
            piece_bytes=piece_bytes,
        )


class Outcome(_Strict):
    """What a client must make of the answers; a field that is not given is not compared.

    ``error`` is a part of the message; with it, ``text`` is what had come until then.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: list[dict[str, Any]] = Field(default_factory=list)
    finish_reason: str | None = None
    usage: tuple[int, int] | None = None
    error: str | None = None


class Exchange(_Strict):
    """What one call is answered, attempt by attempt."""

    name: str
    api: Literal["chat_completions", "responses", "ollama"]
    source: str = ""
    offers_tools: bool = False
    wants_schema: bool = False
    pages: dict[str, Any] = Field(default_factory=dict)
    answers: list[Answer]
    gives: Outcome


class Exchanges(_Strict):
    """The exchanges with one runner.

    ``pages`` are what it says about itself, by path; those of an exchange add to them.
    """

    runner: str
    kind: Literal["documented", "recorded"]
    version: str
    model: str
    pages: dict[str, Any] = Field(default_factory=dict)
    exchanges: list[Exchange]

    def play_on(
        self,
        runner: ScriptedRunner,
        exchange: Exchange | None = None,
        *,
        piece_bytes: int | None = None,
    ) -> None:
        """Let a scripted runner be this one, and answer the next calls as in an exchange.

        The last answer is repeated when there are more calls.

        Args:
            piece_bytes: cuts streams into pieces of this size, wherever that falls.
        """
        runner.models = [self.model]
        runner.pages = {**self.pages, **(exchange.pages if exchange else {})}
        said = [answer.verbatim(piece_bytes) for answer in exchange.answers] if exchange else []
        runner.enqueue(*said)
        runner.default = said[-1] if said else runner.default


def load_exchanges(file: Path) -> Exchanges:
    """Read a file of exchanges.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not YAML, or not of this form; the message names the key.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{file}: {error}") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{file} holds no mapping")
    return Exchanges.model_validate(content)
