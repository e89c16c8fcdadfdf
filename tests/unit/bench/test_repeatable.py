"""A seed asks for the same answer again: an embedded server then starts each prompt afresh."""

from __future__ import annotations

from typing import Any

import pytest

from rolecall.config.schema import ModelSpec
from rolecall.models.endpoint import Address
from rolecall.models.wire import CallOptions
from rolecall.models.wire.openai_api import open_chat_completions


@pytest.mark.parametrize(
    ("endpoint", "sampling", "afresh"),
    [
        ("embedded", {"seed": 0}, True),
        ("embedded", {}, False),
        ("http://localhost:1/v1", {"seed": 0}, False),
    ],
)
async def test_only_a_seeded_embedded_model_leaves_the_prompt_cache(
    endpoint: str, sampling: dict[str, Any], afresh: bool
) -> None:
    spec = ModelSpec.model_validate({"id": "m", "endpoint": endpoint, "sampling": sampling})
    wire = open_chat_completions(spec, Address("http://127.0.0.1:1", None))
    try:
        body = wire.arguments(CallOptions(max_tokens=5))["extra_body"]
    finally:
        await wire.close()
    assert body == {"max_tokens": 5} | ({"cache_prompt": False} if afresh else {})
