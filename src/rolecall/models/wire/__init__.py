"""Wire APIs: one module each, all speaking LangChain messages on our side."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rolecall.config.schema import ModelSpec
from rolecall.models.endpoint import Address

if TYPE_CHECKING:
    from langchain_core.language_models.chat_models import BaseChatModel


@dataclass(frozen=True)
class CallOptions:
    """What one call asks for, in no runner's dialect.

    Attributes:
        tools: functions in OpenAI's form (``{"type": "function", "function": {...}}``).
        tool_choice: ``auto``, ``none``, ``required`` or a function's name.
        schema: a JSON schema that the answer must obey.
        top_logprobs: log-probabilities wanted per token, of so many tokens.
        logprobs: whether the mean log-probability of the answer is wanted.
    """

    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str | None = None
    schema: dict[str, Any] | None = None
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    temperature: float | None = None
    top_logprobs: int | None = None
    logprobs: bool = False


@dataclass(frozen=True)
class Wire:
    """An open model: the LangChain chat model under it and how options are put to it."""

    api: str
    model: BaseChatModel
    arguments: Callable[[CallOptions], dict[str, Any]]
    close: Callable[[], Awaitable[None]]


def open_wire(spec: ModelSpec, address: Address) -> Wire:
    """Open a model over the wire API that its spec names (``auto`` speaks chat completions)."""
    if spec.api == "ollama":
        from rolecall.models.wire.ollama_api import open_ollama

        return open_ollama(spec, address)
    if spec.api == "responses":
        from rolecall.models.wire.responses_api import open_responses

        return open_responses(spec, address)
    from rolecall.models.wire.openai_api import open_chat_completions

    return open_chat_completions(spec, address)
