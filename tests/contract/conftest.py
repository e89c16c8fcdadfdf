"""What the contract tests share: the three wire APIs, and clients that speak them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rolecall.config.schema import ModelSpec, Settings, Stack
from rolecall.models.client import LocalLLMClient
from rolecall.models.reply import reasoning_of
from rolecall.models.scripted import Dialect, ScriptedReply, ScriptedRunner
from rolecall.models.wire import CallOptions

QUESTION = [("user", "hello")]
TOOLS = (
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a place.",
            "parameters": {
                "type": "object",
                "properties": {"place": {"type": "string"}},
                "required": ["place"],
            },
        },
    },
    {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}},
)
SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}

Opened = Callable[..., AbstractAsyncContextManager[LocalLLMClient]]


class Wire(NamedTuple):
    """How a model is called: the API of the client, the dialect of the runner, the path.

    ``name_of`` finds the name of a function in a tool as this API writes it.
    """

    api: str
    dialect: Dialect
    path: str
    name_of: Callable[[dict[str, Any]], str]


WIRES = {
    "chat_completions": Wire(
        "chat_completions",
        "chat_completions",
        "/v1/chat/completions",
        lambda tool: tool["function"]["name"],
    ),
    "responses": Wire("responses", "openai", "/v1/responses", lambda tool: tool["name"]),
    "ollama": Wire("ollama", "ollama", "/api/chat", lambda tool: tool["function"]["name"]),
}


@pytest.fixture(params=list(WIRES))
def wire(request: pytest.FixtureRequest) -> Wire:
    """Each wire API in turn; ``parametrize("wire", [name], indirect=True)`` for one alone."""
    return WIRES[request.param]


@pytest.fixture
def runner(wire: Wire) -> Iterator[ScriptedRunner]:
    """A running scripted runner that speaks ``wire``."""
    with ScriptedRunner(dialect=wire.dialect) as running:
        yield running


@pytest.fixture
def spec_of() -> Callable[..., ModelSpec]:
    """``spec_of(runner, **more)``: the model ``tiny`` there, whatever ``wire`` is."""

    def spec(runner: ScriptedRunner | str, **more: Any) -> ModelSpec:
        endpoint = runner if isinstance(runner, str) else runner.endpoint
        # scripted calls answer "hello": as calls they would not be believed
        base = {"id": "tiny", "endpoint": endpoint, "tool_check": "never"}
        return ModelSpec.model_validate({**base, **more})

    return spec


@pytest.fixture
def client_of() -> Callable[..., LocalLLMClient]:
    """``client_of(*specs)``: a client with these models for the role ``coding``; close it."""

    def client(*specs: ModelSpec) -> LocalLLMClient:
        stack = Stack("test", Path("test.yaml"), "", {"coding": list(specs)}, {}, Settings())
        return LocalLLMClient(stack)

    return client


@pytest.fixture
def opened(wire: Wire, spec_of: Any, client_of: Any) -> Opened:
    """``async with opened(runner, **more)``: a client that calls one model over ``wire``."""

    @asynccontextmanager
    async def open_with(runner: ScriptedRunner, **more: Any) -> AsyncIterator[LocalLLMClient]:
        client = client_of(spec_of(runner, **{"api": wire.api, **more}))
        try:
            yield client
        finally:
            await client.aclose()

    return open_with


@pytest.fixture
async def sampled(runner: ScriptedRunner, opened: Opened) -> list[dict[str, Any]]:
    """What was sent for the sampling of the model, then for one that a call asked for."""
    sampling = {"temperature": 0.3, "top_p": 0.9, "max_tokens": 77, "seed": 5, "stop": ["END"]}
    async with opened(runner, sampling=sampling, context_length=4096) as client:
        await client.achat("coding", QUESTION)
        options = CallOptions(max_tokens=9, temperature=0.0, stop=("X",))
        await client.achat("coding", QUESTION, options=options)
    return [request.body for request in runner.calls]


@pytest.fixture
def reasoning_kept_apart(
    runner: ScriptedRunner, opened: Opened
) -> Callable[[ScriptedReply], Awaitable[None]]:
    """``await reasoning_kept_apart(reply)``: its reasoning is not in text nor in history."""

    async def check(reply: ScriptedReply) -> None:
        runner.default = reply
        async with opened(runner) as client:
            chunks = [chunk async for chunk in client.astream("coding", QUESTION)]
            message = await client.achat("coding", QUESTION)
            assert "".join(chunk.text for chunk in chunks) == "Four."
            assert message.text == "Four."
            assert reasoning_of(message).strip() == "two and two"
            assert [block["type"] for block in message.content_blocks] == ["reasoning", "text"]
            await client.achat("coding", [("user", "2+2?"), message, ("user", "sure?")])
        sent = json.dumps(runner.calls[-1].body)
        assert "Four." in sent
        assert "two and two" not in sent

    return check


@pytest.fixture
def tools() -> tuple[dict[str, Any], ...]:
    """The functions ``weather`` and ``clock``."""
    return TOOLS


@pytest.fixture
def schema() -> dict[str, Any]:
    """The schema of ``{"ok": true}``."""
    return SCHEMA
