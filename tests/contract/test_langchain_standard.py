"""LangChain's own standard tests for chat models, over each wire and with a model that obeys.

The live suite runs them with a real model; here a failure is ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests

from rolecall.config.schema import Api, ModelSpec, Settings, Stack
from rolecall.models.client import LocalLLMClient
from rolecall.models.role_model import RoleChatModel
from rolecall.models.scripted import Dialect, Request, ScriptedReply, ScriptedRunner


def made_up(schema: dict[str, Any], prompt: str) -> Any:
    """A value of a JSON schema, with numbers and names from the prompt."""
    if "anyOf" in schema:
        return made_up(schema["anyOf"][0], prompt)
    if "enum" in schema or "const" in schema:
        return schema.get("const", (schema.get("enum") or [None])[0])
    kind = schema.get("type", "object")
    if kind == "object":
        return {key: made_up(one, prompt) for key, one in (schema.get("properties") or {}).items()}
    if kind == "integer":
        return int((re.findall(r"\((\d+)\)", prompt) or ["1"])[0])
    quoted = re.findall(r"'([^']+)'", prompt)
    return quoted[0] if quoted else "a text"


def obey(request: Request) -> ScriptedReply:
    """Calls the first tool that is chosen, answers under the schema, else says hello."""
    prompt = request.text
    functions = [tool.get("function", tool) for tool in request.body.get("tools") or []]
    heard = any(message.get("role") == "tool" for message in request.messages)
    if functions and not heard:
        choice = json.dumps(request.body.get("tool_choice"))
        named = [function for function in functions if f'"{function["name"]}"' in choice]
        function = (named or functions)[0]
        arguments = made_up(function["parameters"], prompt)
        return ScriptedReply(tool_calls=[{"name": function["name"], "args": arguments}])
    if request.schema is not None:
        return ScriptedReply(json.dumps(made_up(request.schema, prompt), ensure_ascii=False))
    return ScriptedReply("Hello there, how may I help?")


@pytest.fixture(scope="class")
def obedient(request: pytest.FixtureRequest) -> Iterator[ScriptedRunner]:
    """A runner that speaks the dialect of the class."""
    with ScriptedRunner(["tiny", "other"], request.cls.dialect) as runner:
        runner.default = obey
        yield runner


class _Standard(ChatModelIntegrationTests):
    api: ClassVar[Api]
    dialect: ClassVar[Dialect] = "openai"
    client: LocalLLMClient

    @pytest.fixture(autouse=True)
    async def _opened(self, obedient: ScriptedRunner) -> AsyncIterator[None]:
        specs = [
            ModelSpec(id=model, endpoint=obedient.endpoint, api=self.api, tool_check="never")
            for model in ("tiny", "other")
        ]
        stack = Stack("standard", Path("standard"), "", {"coding": specs}, {}, Settings())
        self.client = LocalLLMClient(stack)
        yield
        await self.client.aclose()  # what async tests opened, on their loop
        self.client.close()

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return RoleChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"client": self.client, "role": "coding"}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "other"


class TestChatCompletions(_Standard):
    """Over ``/v1/chat/completions``."""

    api = "chat_completions"


class TestResponses(_Standard):
    """Over ``/v1/responses``."""

    api = "responses"


class TestOllama(_Standard):
    """Over Ollama's native API."""

    api = "ollama"
    dialect = "ollama"
