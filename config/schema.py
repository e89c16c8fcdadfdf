"""What may stand in a configuration file: pydantic models, unknown keys refused.

Units: ``*_s`` are seconds, ``*_tokens`` and ``context_length`` are tokens, ``*_chars`` characters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import regex
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

EMBEDDED = "embedded"
RESERVED_ROLES = frozenset({"init", "answer", "tool_runner", "synthesis", "handle"})
BUILT_IN_ROLES = ("router", "reasoning", "coding")
_ROLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

Api = Literal["auto", "responses", "chat_completions", "ollama"]


class ModelRole(StrEnum):
    """The built-in roles. A stack may add its own; those are addressed by plain strings."""

    ROUTER = "router"
    REASONING = "reasoning"
    CODING = "coding"


def _no_switch(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("expected a number")
    return value


Count = Annotated[int, BeforeValidator(_no_switch), Field(gt=0)]
Seconds = Annotated[float, BeforeValidator(_no_switch), Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )


class Sampling(_Strict):
    """How tokens are drawn. A key that is left out is left to the runner."""

    temperature: Annotated[float, Field(ge=0, le=5)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Count | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: int | None = None
    stop: list[str] | None = None


class ModelSpec(_Strict):
    """One model on one endpoint.

    It gets ``max_concurrency`` calls at a time; ``max_queue`` more may wait, the next one goes
    to another candidate or fails at once. ``requests_per_minute`` bounds the calls that begin in
    any 60 seconds. ``timeout_s`` is the longest silence, ``deadline_s`` the longest answer.
    ``keep_reasoning`` sends a model its own earlier reasoning back within a turn's tool calls, for
    those that were trained with it (gpt-oss), over chat completions and Ollama's own API.
    ``tool_check`` takes out tool calls that the user's message does not ask for, and asks once more
    without tools: ``auto`` where ``rolecall doctor`` saw the model call when no tool fits, and, as
    long as it was not asked, where calls come as plain text without the marker of a template.
    """

    id: Annotated[str, Field(min_length=1)]
    endpoint: str
    api: Api = "auto"
    role: str | None = None
    context_length: Count | None = None
    quantization: str | None = None
    max_concurrency: Count = 4
    max_queue: Annotated[int, BeforeValidator(_no_switch), Field(ge=0)] = 100
    requests_per_minute: Count | None = None
    keep_reasoning: bool = False
    tool_check: Literal["auto", "always", "never"] = "auto"
    timeout_s: Seconds = 60.0
    deadline_s: Seconds = 600.0
    sampling: Sampling = Sampling()
    tools: Literal["all"] | list[str] | None = None
    allow_remote: bool = False
    api_key_env: str | None = None

    @field_validator("quantization", mode="before")
    @classmethod
    def _number_as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, int | float) else value

    @field_validator("endpoint")
    @classmethod
    def _endpoint_is_a_url(cls, value: str) -> str:
        if value == EMBEDDED:
            return value
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError('expected "embedded" or a URL such as http://localhost:1234/v1')
        try:
            _ = parts.port
        except ValueError as error:
            raise ValueError(f"the port of {value} is not a number from 0 to 65535") from error
        if parts.username or parts.password:
            raise ValueError("a key does not belong in the URL: name its variable in api_key_env")
        return value.rstrip("/")


def _role_name(name: str) -> str:
    if name in RESERVED_ROLES:
        reserved = ", ".join(sorted(RESERVED_ROLES))
        raise ValueError(f"{name!r} is reserved and cannot be a role ({reserved})")
    if not _ROLE_NAME.fullmatch(name):
        raise ValueError("expected a role of lower-case letters, digits and _, such as legal")
    return name


RoleName = Annotated[str, AfterValidator(_role_name)]


class RoleHints(_Strict):
    """What a role is for: its prompt file, and what the router is told about it.

    ``fallback`` names the roles whose models are asked, in that order, when all models of this one
    have failed.
    """

    prompt: str | None = None
    fallback: list[RoleName] | None = None
    description: str = ""
    examples: list[str] = []


ENCODING = frozenset({"encoder", "hybrid"})
"""The routing strategies that use the encoder."""


class RoutingSettings(_Strict):
    """How the router decides.

    ``hybrid`` takes the cheapest way that is sure: a role fixed by the user, else the encoder,
    else the router model beside it. ``encoder`` never asks a model, ``llm`` always does,
    ``fixed`` always takes ``role``.

    ``max_error`` is the share of wrong decisions allowed among those that the encoder takes
    alone. ``ask_router_model`` says whether ``hybrid`` asks about the others: ``auto`` asks unless
    the model was measured not to help. An answer of the fast path whose mean log-probability per
    token is below ``escalate_below`` goes to the reasoning model; ``null`` switches that off.
    """

    strategy: Literal["hybrid", "encoder", "llm", "fixed"] = "hybrid"
    role: str | None = None
    max_error: Annotated[float, Field(gt=0, lt=1)] = 0.05
    ask_router_model: Literal["auto", "always", "never"] = "auto"
    escalate_below: Annotated[float, Field(lt=0)] | None = -0.5


class TurnSettings(_Strict):
    """Bounds of one turn. When it is stopped, tools have ``stop_within_s`` to end."""

    deadline_s: Seconds = 900.0
    max_tool_rounds: Annotated[int, Field(ge=0, le=100)] = 8
    tool_timeout_s: Seconds = 60.0
    max_input_chars: Count = 200_000
    wait_for_thread_s: Annotated[float, Field(ge=0)] = 10.0
    stop_within_s: Annotated[float, Field(ge=0)] = 5.0


class MemorySettings(_Strict):
    """How much of a thread the models see, and how much of it can be stepped back into.

    ``window_tokens`` bounds the last turns, ``summary_tokens`` what is still told of those before.
    ``summary``: ``extractive`` keeps the sentences that are worth most, without a model; ``model``
    has the router model write prose besides, after an answer was given and at most
    ``summary_deadline_s`` long; ``off`` forgets. ``recall_all_threads`` lets the tool ``recall``
    look into other threads than its own.
    """

    window_tokens: Annotated[int, Field(ge=256)] = 4096
    summary: Literal["model", "extractive", "off"] = "model"
    summary_tokens: Annotated[int, Field(ge=64, le=8192)] = 512
    summary_deadline_s: Seconds = 10.0
    recall_all_threads: bool = False
    keep_steps_of_last_turns: Count = 20

    @field_validator("summary", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: object) -> object:
        return "off" if value is False else value  # YAML reads off as a switch


def _known_regex(value: object) -> object:
    if isinstance(value, str):
        try:
            regex.compile(value)
        except (regex.error, OverflowError, RecursionError, ValueError) as error:
            raise ValueError(f"{value!r} is not a regular expression: {error}") from error
    return value


class FilterSettings(_Strict):
    """What is blotted out of answers before anyone sees them."""

    redact_secrets: bool = True
    patterns: list[Annotated[str, BeforeValidator(_known_regex)]] = []


class TelemetrySettings(_Strict):
    """What a trace keeps. ``store_texts: false`` leaves out questions, answers, tool arguments
    and tool results; decisions, timings, token counts and error messages stay.

    ``otlp_endpoint`` (``http://localhost:4318``) sends each turn's spans to an OpenTelemetry
    collector on this machine or its private network, elsewhere only with ``allow_remote``;
    texts, reasons and error messages go along only with ``otlp_texts``.
    """

    otlp_endpoint: str | None = None
    otlp_texts: bool = False
    allow_remote: bool = False
    store_texts: bool = True


class Settings(_Strict):
    """Everything that is not a model or a role."""

    routing: RoutingSettings = RoutingSettings()
    turn: TurnSettings = TurnSettings()
    memory: MemorySettings = MemorySettings()
    filters: FilterSettings = FilterSettings()
    workspace: str = "./"
    tools_folder: str | None = None
    telemetry: TelemetrySettings = TelemetrySettings()


def _one_or_many(value: object) -> object:
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        raise ValueError("expected a model (id: and endpoint:) or a list of models")
    return value


Candidates = Annotated[list[ModelSpec], BeforeValidator(_one_or_many), Field(min_length=1)]


class ConfigFile(_Strict):
    """One YAML file: ``models.yaml`` (names a stack, holds settings) or a stack file (models)."""

    description: str = ""
    stack: str | None = None
    models: dict[RoleName, Candidates] = {}
    roles: dict[RoleName, RoleHints] = {}
    settings: Settings = Settings()

    @model_validator(mode="after")
    def _names_or_holds(self) -> ConfigFile:
        if self.stack is not None and self.models:
            raise ValueError("expected either stack (a name) or models, not both")
        return self


@dataclass(frozen=True)
class Role:
    """A role as the graph sees it: its name, the text of its prompt, hints for the router.

    ``fallback`` are the roles whose models stand in when all of its own have failed.
    """

    name: str
    prompt: str
    description: str
    examples: tuple[str, ...]
    fallback: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name in the decision JSON: ``HANDLE`` for the router, else in capitals."""
        return "HANDLE" if self.name == ModelRole.ROUTER else self.name.upper()


@dataclass(frozen=True)
class Stack:
    """A loaded stack: candidates per role in order of preference, roles, settings."""

    name: str
    source: Path
    description: str
    models: dict[str, list[ModelSpec]]
    roles: dict[str, Role]
    settings: Settings

    @property
    def targets(self) -> list[Role]:
        """The roles that the router may delegate to, in the stack's order."""
        return [role for name, role in self.roles.items() if name != ModelRole.ROUTER]
