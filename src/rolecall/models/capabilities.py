"""What models at endpoints were *seen* to honour: the file that ``rolecall doctor`` writes.

``ROLECALL_HOME/capabilities.json`` holds one entry per endpoint and model. An entry is good for the
server and the model it was measured on (:mod:`rolecall.models.identity`); it does not age.
``None`` in an entry means that it was not measured.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from rolecall.config.schema import EMBEDDED, ModelSpec
from rolecall.home import folder, home
from rolecall.models.endpoint import address_of

FORMAT = 1
REMAKE = "rolecall doctor writes it anew"

WireApi = Literal["chat_completions", "responses", "ollama"]
NO_REASONING = "none"
IN_TEXT = "in the text"

_Kind = TypeVar("_Kind", bound="_Seen")

_log = logging.getLogger(__name__)
_told: set[str] = set()


class _Seen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ApiSeen(_Seen):
    """What was seen on one wire API.

    Attributes:
        works: an answer came.
        json_schema: the answer obeyed a schema that it would not have met by itself.
        tools: calls came as such (``native``), written into the text, or not at all.
        parallel_tools: two calls came in one reply.
        reasoning: the field that reasoning came in, ``in the text``, or ``none``.
        streaming_usage: a stream told how many tokens it took.
        logprobs: alternatives of a token came with their log-probabilities.
    """

    works: bool | None = None
    json_schema: bool | None = None
    tools: Literal["native", "text", "none"] | None = None
    parallel_tools: bool | None = None
    reasoning: str | None = None
    streaming_usage: bool | None = None
    logprobs: bool | None = None


class Speed(_Seen):
    """Times of one model. ``prefill_tokens_per_s`` counts a prompt that was new to the server."""

    ttft_ms: float | None = None
    tokens_per_s: float | None = None
    prefill_tokens_per_s: float | None = None
    load_s: float | None = None


class Capability(_Seen):
    """One model at one endpoint.

    Attributes:
        endpoint: the server's root URL, or ``embedded``.
        fingerprint: of server and model; when it changes the entry counts no more.
        context_length: tokens that one request may use, as the server tells.
        truncation: what a prompt that is too long meets: an error (``refuses``), a silent cut
            (``cuts``), or an answer all the same because the context is longer (``reads``).
        calls_as_text: tool calls come as text, which the client reads.
        makes_up_calls: a tool was called for a message that needs none of those offered.
        quality: questions answered rightly, and asked, by kind.
        measured_at: seconds since the epoch.
    """

    endpoint: str
    model: str
    fingerprint: str
    runner: str | None = None
    version: str | None = None
    context_length: int | None = None
    apis: dict[WireApi, ApiSeen] = {}
    embeddings: bool | None = None
    truncation: Literal["refuses", "cuts", "reads"] | None = None
    calls_as_text: bool | None = None
    makes_up_calls: bool | None = None
    quality: dict[str, tuple[int, int]] | None = None
    speed: Speed = Speed()
    measured_at: float

    def api(self, name: WireApi) -> ApiSeen:
        """What was seen on an API; nothing, when it was not looked at."""
        return self.apis.get(name, ApiSeen())

    @property
    def age_s(self) -> float:
        """Seconds since it was measured."""
        return max(0.0, time.time() - self.measured_at)


def choose_api(seen: Capability | None) -> WireApi:
    """The API that ``api: auto`` speaks.

    Chat completions, unless another one that works was seen to honour *more* of these: JSON
    schemas, native tool calls, reasoning kept apart, log-probabilities, and the context length of
    the stack (which only Ollama's own API can set). Where two others are level, Responses goes
    before Ollama's. Where chat completions do not work, any other that does. Without an entry:
    chat completions.
    """
    if seen is None:
        return "chat_completions"
    order: tuple[WireApi, ...] = ("chat_completions", "responses", "ollama")
    working = [name for name in order if seen.api(name).works]
    if not working:
        return "chat_completions"
    return max(working, key=lambda name: _honoured(name, seen.api(name)))  # the first of equals


def _honoured(name: WireApi, seen: ApiSeen) -> int:
    return sum(
        (
            seen.json_schema is True,
            seen.tools == "native",
            seen.reasoning not in {None, NO_REASONING, IN_TEXT},
            seen.logprobs is True,
            name == "ollama",
        )
    )


def endpoint_key(spec: ModelSpec) -> str:
    """The name of a model's endpoint in the file: its root URL, or ``embedded``."""
    if spec.endpoint == EMBEDDED:
        return EMBEDDED
    return address_of(spec.model_copy(update={"api_key_env": None})).root


class CapabilityFile:
    """The entries by endpoint and model. A file that cannot be read is as good as none.

    Args:
        path: default ``ROLECALL_HOME/capabilities.json``.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or home() / "capabilities.json"

    def entries(self) -> list[Capability]:
        """All entries that make sense; what does not is left out, and told of once in the log."""
        found, problem = self._read()
        if problem is not None and problem not in _told:
            _told.add(problem)
            _log.warning("%s", problem)
        return found

    def problem(self) -> str | None:
        """What is wrong with the file, and what to do about it; ``None`` when it is in order."""
        return self._read()[1]

    def get(self, spec: ModelSpec) -> Capability | None:
        """The entry of a model at its endpoint, whether or not it still holds."""
        key = (endpoint_key(spec), spec.id)
        return next((one for one in self.entries() if (one.endpoint, one.model) == key), None)

    def put(self, fresh: Iterable[Capability]) -> None:
        """Take entries in, in place of earlier ones of the same models. Others stay.

        What was not measured this time (a quick look, a busy server) keeps its earlier value, as
        long as server and model are the same.

        Raises:
            StateError, OSError: it cannot be written.
        """
        if self.path.parent == home():
            folder()
        with FileLock(self.path.with_suffix(".lock")):
            found, problem = self._read()
            if problem is not None:
                os.replace(self.path, self.path.with_suffix(".unreadable.json"))
            entries = {(one.endpoint, one.model): one for one in found}
            for one in fresh:
                key = one.endpoint, one.model
                entries[key] = _with_earlier(entries.get(key), one)
            body = {
                "format": FORMAT,
                "entries": [entries[key].model_dump(mode="json") for key in sorted(entries)],
            }
            new = self.path.with_suffix(f".{os.getpid()}.tmp")
            new.write_text(json.dumps(body, indent=1), encoding="utf-8")
            os.replace(new, self.path)

    def _read(self) -> tuple[list[Capability], str | None]:
        try:
            body = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return [], None
        except (OSError, ValueError, RecursionError) as error:
            return [], f"{self.path} cannot be read and is ignored ({error}); {REMAKE}"
        if not isinstance(body, dict) or not isinstance(body.get("entries"), list):
            return [], f"{self.path} is not a capability file and is ignored; {REMAKE}"
        if body.get("format") != FORMAT:
            return [], (
                f"{self.path} is of format {body.get('format')!r}, this version of Rolecall reads "
                f"{FORMAT}: it is ignored; {REMAKE}"
            )
        return _parsed(body["entries"], self.path)


def _with_earlier(old: Capability | None, new: Capability) -> Capability:
    if old is None or not new.fingerprint or old.fingerprint != new.fingerprint:
        return new
    apis = dict(new.apis)
    for name, before in old.apis.items():
        if new.api(name).works is not False:
            apis[name] = _filled(before, new.api(name))
    speed = _filled(old.speed, new.speed)
    return _filled(old, new).model_copy(update={"apis": apis, "speed": speed})


def _filled(old: _Kind, new: _Kind) -> _Kind:
    """``new``, with ``old``'s values where it has none."""
    fields = type(new).model_fields
    missing = {field: getattr(old, field) for field in fields if getattr(new, field) is None}
    return new.model_copy(update=missing)


def _parsed(rows: list[Any], path: Path) -> tuple[list[Capability], str | None]:
    found: list[Capability] = []
    wrong = 0
    for row in rows:
        try:
            found.append(Capability.model_validate(row))
        except ValidationError:
            wrong += 1
    problem = f"{path}: {wrong} damaged entries are ignored; {REMAKE}" if wrong else None
    return found, problem
