"""A role as a LangChain chat model, for graphs, agents and anything else that takes one."""

from __future__ import annotations

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
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from pydantic import ConfigDict, SkipValidation

from rolecall import bridge
from rolecall.models.calls import OnCall
from rolecall.models.client import LocalLLMClient
from rolecall.models.reply import final
from rolecall.models.structured import Schema, structured
from rolecall.models.text.redaction import Redactor
from rolecall.models.wire import CallOptions


class RoleChatModel(BaseChatModel):
    """Calls one role of a :class:`LocalLLMClient`. Made by ``client.chat_model(role)``."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    client: SkipValidation[LocalLLMClient]
    role: str
    on_call: SkipValidation[OnCall | None] = None
    redactor: SkipValidation[Redactor | None] = None

    @property
    def _llm_type(self) -> str:
        return "rolecall"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        spec = self.client.stack.models[self.role][0]
        return {"role": self.role, "model": spec.id, "stack": self.client.stack.name}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        params["ls_provider"] = "rolecall"
        params["ls_model_name"] = self.client.stack.models[self.role][0].id
        return params

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools to the model; ``tool_choice`` as in OpenAI's API (``any`` = required)."""
        if isinstance(tool_choice, dict):
            tool_choice = str(tool_choice.get("function", tool_choice).get("name"))
        if isinstance(tool_choice, bool):
            tool_choice = "required" if tool_choice else None
        choice = "required" if tool_choice == "any" else tool_choice
        return self.bind(
            tools=[convert_to_openai_tool(tool) for tool in tools], tool_choice=choice, **kwargs
        )

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
            ModelCallFailed: the answer does not fit, also not on the second try.
        """
        if unknown := set(kwargs) - {"method", "strict"}:
            raise ValueError(f"with_structured_output does not know {', '.join(sorted(unknown))}")
        model = self.bind(
            schema=convert_to_json_schema(schema),
            ls_structured_output_format={"kwargs": {"method": "json_schema"}, "schema": schema},
        )
        return structured(
            model,
            lambda given: self._convert_input(given).to_messages(),
            schema,
            include_raw=include_raw,
        )

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
        async with aclosing(self._call(messages, stop, kwargs)) as chunks:
            reply = final([chunk async for chunk in chunks])
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
        options = CallOptions(
            tools=tuple(kwargs.get("tools") or ()),
            tool_choice=kwargs.get("tool_choice"),
            schema=kwargs.get("schema"),
            stop=tuple(stop or ()),
            max_tokens=kwargs.get("max_tokens"),
            temperature=kwargs.get("temperature"),
            logprobs=bool(kwargs.get("logprobs")),
        )
        return self.client.astream(
            self.role, messages, options=options, on_call=self.on_call, redactor=self.redactor
        )
