"""Wire APIs: one module each, all speaking LangChain messages on our side."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rolecall.config.schema import ModelSpec
from rolecall.errors import BadInput
from rolecall.models.capabilities import Capability, choose_api
from rolecall.models.endpoint import Address

if TYPE_CHECKING:
    from langchain_core.language_models.chat_models import BaseChatModel


@dataclass(frozen=True)
class CallOptions:
    """What one call asks for, in no runner's dialect.

    Attributes:
        model: the id of one of the role's models; only that one may answer.
        tools: functions in OpenAI's form (``{"type": "function", "function": {...}}``).
        tool_choice: ``auto``, ``none``, ``required`` or a function's name.
        schema: a JSON schema that the answer must obey.
        json_object: the answer is to be JSON, of no particular schema.
        top_logprobs: log-probabilities wanted per token, of so many tokens.
        logprobs: whether the mean log-probability of the answer is wanted.
        context_length: tokens that the model is to be loaded with, where the API can say so.
        deadline: when all of the call must be over, with its waits, retries and fallbacks: a time
            of :func:`time.monotonic`. Without it each attempt has its model's ``deadline_s``.
        begin_again: a stream that breaks off after text was shown may begin again, once; a chunk
            with ``begins_again`` in its metadata then says that what came before is void.
    """

    model: str | None = None
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str | None = None
    schema: dict[str, Any] | None = None
    json_object: bool = False
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    temperature: float | None = None
    top_logprobs: int | None = None
    logprobs: bool = False
    context_length: int | None = None
    deadline: float | None = None
    begin_again: bool = False

    def __post_init__(self) -> None:
        """Refuse what no runner could be asked.

        Raises:
            BadInput: a tool of another form, or no room for a single token.
        """
        if any(not isinstance(tool.get("function"), dict) for tool in self.tools):
            raise BadInput('a tool has the form {"type": "function", "function": {"name": …}}')
        if self.max_tokens is not None and self.max_tokens < 1:
            raise BadInput(f"max_tokens is {self.max_tokens}; it must be more than 0")


_UNKNOWN = Address("")


@dataclass(frozen=True)
class Wire:
    """An open model: the LangChain chat model under it and how options are put to it.

    Attributes:
        address: the server, once it is known: an embedded one is started first.
        model_id: the name that the server has for the model.
        capability: what ``rolecall doctor`` saw of this model at this server; ``None`` when it
            was not examined, or is not the same any more.
    """

    api: str
    model: BaseChatModel
    arguments: Callable[[CallOptions], dict[str, Any]]
    close: Callable[[], Awaitable[None]]
    address: Address = _UNKNOWN
    model_id: str = ""
    capability: Capability | None = None


def open_wire(spec: ModelSpec, address: Address, capability: Capability | None = None) -> Wire:
    """Open a model over the wire API that its spec names.

    ``auto`` speaks what :func:`~rolecall.models.capabilities.choose_api` says; without a
    capability that is chat completions.
    """
    if spec.api == "auto":
        spec = spec.model_copy(update={"api": choose_api(capability)})
    wire = _open(spec, address)
    return replace(wire, address=address, model_id=spec.id, capability=capability)


def _open(spec: ModelSpec, address: Address) -> Wire:
    if spec.api == "ollama":
        from rolecall.models.wire.ollama_api import open_ollama

        return open_ollama(spec, address)
    if spec.api == "responses":
        from rolecall.models.wire.responses_api import open_responses

        return open_responses(spec, address)
    from rolecall.models.wire.openai_api import open_chat_completions

    return open_chat_completions(spec, address)
