"""LangChain's own standard tests for chat models that need no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_tests.unit_tests import ChatModelUnitTests

from rolecall.config.schema import ModelSpec, Settings, Stack
from rolecall.models.client import LocalLLMClient
from rolecall.models.role_model import RoleChatModel


class TestStandard(ChatModelUnitTests):
    """A role whose server is never asked."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return RoleChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        spec = ModelSpec(id="tiny", endpoint="http://127.0.0.1:9/v1")
        stack = Stack("standard", Path("standard"), "", {"coding": [spec]}, {}, Settings())
        return {"client": LocalLLMClient(stack), "role": "coding"}
