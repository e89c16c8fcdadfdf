"""A role as a LangChain chat model, for graphs, agents and anything else that takes one."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import LangSmithParams, LanguageModelInput
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.utils import LC_ID_PREFIX
from pydantic import ConfigDict, SkipValidation

from rolecall import bridge
from rolecall.errors import UsageError
from rolecall.models.calls import OnCall
from rolecall.models.client import LocalLLMClient
from rolecall.models.structured import structured
from rolecall.models.target import Schema, schema_of
from rolecall.models.text.redaction import Redactor
from rolecall.models.untraced import is_untraced
from rolecall.models.wire import CallOptions

# ``strict`` and ``parallel_tool_calls`` are OpenAI's and make no difference; ``stream`` is decided
# by the method that is called.
_KNOWN = frozenset(
    {
        "begin_again",
        "deadline",
        "logprobs",
        "max_tokens",
        "model",
        "parallel_tool_calls",
        "response_format",
        "schema",
        "stream",
        "strict",
        "temperature",
        "timeout",
        "tool_choice",
        "tools",
        "top_logprobs",
    }
)


class RoleChatModel(BaseChatModel):
    """Calls one role of a :class:`LocalLLMClient`. Made by ``client.chat_model(role)``.

    ``temperature``, ``max_tokens``, ``stop`` and ``timeout`` (seconds for a whole call, with its
    retries and fallbacks) stand above what the stack says for its models; a call's own arguments
    stand above these. LangChain's ``max_retries`` has no meaning here: the client bounds attempts.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    client: SkipValidation[LocalLLMClient]
    role: str
    temperature: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    timeout: float | None = None
    on_call: SkipValidation[OnCall | None] = None
    redactor: SkipValidation[Redactor | None] = None

    @property
    def _llm_type(self) -> str:
        return "rolecall"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        # All that makes an answer another one: LangChain's caches key their answers by this.
        spec = self.client.stack.models[self.role][0]
        own = {"temperature": self.temperature, "max_tokens": self.max_tokens, "stop": self.stop}
        return {
            "role": self.role,
            "stack": self.client.stack.name,
            "model": spec.id,
            "endpoint": spec.endpoint,
            **spec.sampling.model_dump(exclude_none=True),
            **{key: value for key, value in own.items() if value is not None},
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = "rolecall"
        first = self.client.stack.models[self.role][0].id
        params["ls_model_name"] = kwargs.get("model") or first
        return params

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools to the model.

        Args:
            tools: functions, pydantic classes, LangChain tools, or dicts in OpenAI's form.
            tool_choice: a tool's name, ``any`` or ``required`` or true, ``auto``, ``none``; or
                OpenAI's or Anthropic's dict for one of these.

        Raises:
            ValueError: no tool has the name that is chosen.
        """
        offered = [convert_to_openai_tool(tool) for tool in tools]
        names = [str(tool["function"]["name"]) for tool in offered]
        choice = _choice(tool_choice)
        if choice not in {None, "auto", "none", "required", *names}:
            raise ValueError(f"tool_choice {choice!r} is none of {', '.join(names)}")
        return self.bind(tools=offered, tool_choice=choice, **kwargs)

    def with_structured_output(
        self, schema: Schema, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """Answer with an object: an instance of a pydantic class, else a dict.

        The schema goes to the runner; the answer is validated and, where it does not fit, asked
        for once more. ``method`` and ``strict`` are accepted and make no difference.

        Args:
            schema: a pydantic class, a TypedDict, a JSON schema or a function in OpenAI's form.
            include_raw: answer ``{"raw", "parsed", "parsing_error"}`` instead of raising.

        Raises:
            UsageError: at once, when ``schema`` is no JSON schema.
            AnswerTruncated: the token limit cut the answer off.
            AnswerUnfit: the answer does not fit, also not on the second try.
        """
        if unknown := set(kwargs) - {"method", "strict"}:
            raise ValueError(f"with_structured_output does not know {', '.join(sorted(unknown))}")
        model = self.bind(
            schema=schema_of(schema),
            ls_structured_output_format={"kwargs": {"method": "json_schema"}, "schema": schema},
        )
        return structured(
            model,
            lambda given: self._convert_input(given).to_messages(),
            schema,
            include_raw=include_raw,
        )

    async def astream(
        self,
        input: LanguageModelInput,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """LangChain's, without its callbacks where nobody hears them."""
        messages = self._convert_input(input).to_messages()
        if "ls_structured_output_format" in kwargs or not is_untraced(self, messages, config):
            async for chunk in super().astream(messages, config, stop=stop, **kwargs):
                yield chunk
            return
        answer_id = f"{LC_ID_PREFIX}-{uuid.uuid4()}"
        async with aclosing(self._call(messages, stop, kwargs)) as chunks:
            async for chunk in chunks:
                chunk.id = chunk.id or answer_id
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with aclosing(self._call(messages, stop, kwargs)) as chunks:
            async for chunk in chunks:
                generation = ChatGenerationChunk(message=chunk)
                if run_manager is not None:
                    await run_manager.on_llm_new_token(generation.text, chunk=generation)
                yield generation

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in bridge.iterate(self._call(messages, stop, kwargs)):
            generation = ChatGenerationChunk(message=chunk)
            if run_manager is not None:
                run_manager.on_llm_new_token(generation.text, chunk=generation)
            yield generation

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        reply = await self.client.achat(
            self.role,
            messages,
            options=self._options(stop, kwargs),
            on_call=self.on_call,
            redactor=self.redactor,
        )
        return ChatResult(generations=[ChatGeneration(message=reply)])

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return bridge.run(self._agenerate(messages, stop, None, **kwargs))

    def _call(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> AsyncGenerator[AIMessageChunk, None]:
        return self.client.astream(
            self.role,
            messages,
            options=self._options(stop, kwargs),
            on_call=self.on_call,
            redactor=self.redactor,
        )

    def _options(self, stop: list[str] | None, given: dict[str, Any]) -> CallOptions:
        """What LangChain passes with a call.

        Raises:
            UsageError: it is nothing that a role knows; dropped in silence it would do harm.
        """
        if unknown := given.keys() - _KNOWN:
            raise UsageError(
                f"a call of the role {self.role!r} does not know {', '.join(sorted(unknown))}; "
                f"it knows {', '.join(sorted(_KNOWN))}. What belongs to a model goes into the "
                "stack file."
            )
        deadline, timeout = given.get("deadline"), given.get("timeout", self.timeout)
        if deadline is None and timeout is not None:
            deadline = time.monotonic() + timeout
        form = given.get("response_format") or {}
        return CallOptions(
            model=given.get("model"),
            tools=tuple(given.get("tools") or ()),
            tool_choice=given.get("tool_choice"),
            schema=given.get("schema") or (form.get("json_schema") or {}).get("schema"),
            json_object=form.get("type") == "json_object",
            stop=tuple(stop or self.stop or ()),
            max_tokens=given.get("max_tokens", self.max_tokens),
            temperature=given.get("temperature", self.temperature),
            logprobs=bool(given.get("logprobs")),
            top_logprobs=given.get("top_logprobs"),
            deadline=deadline,
            begin_again=bool(given.get("begin_again")),
        )


def _choice(given: str | dict[str, Any] | bool | None) -> str | None:
    """``auto``, ``none``, ``required`` or a tool's name; ``None`` leaves it to the runner."""
    if isinstance(given, bool):
        return "required" if given else None
    if isinstance(given, dict):
        named = given.get("function", given).get("name")
        given = str(named or given.get("type"))
    return "required" if given == "any" else given
