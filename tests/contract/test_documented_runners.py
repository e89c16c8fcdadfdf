"""What runners are documented, or were recorded, to answer becomes one typed result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from langchain_core.messages import AIMessage

from rolecall.config.schema import ModelSpec
from rolecall.errors import RolecallError
from rolecall.models.endpoint import address_of, list_models
from rolecall.models.reply import final, reasoning_of
from rolecall.models.scripted import Exchange, Exchanges, ScriptedRunner, load_exchanges
from rolecall.models.wire import CallOptions

FOLDER = Path(__file__).parent / "exchanges"
FILES = {file.stem: load_exchanges(file) for file in sorted(FOLDER.glob("*.yaml"))}
CASES = [
    pytest.param(file, exchange, size, id=f"{name}: {exchange.name}, {size or 'as it stands'}")
    for name, file in FILES.items()
    for exchange in file.exchanges
    for size in ((None, 5) if any(answer.events for answer in exchange.answers) else (None,))
]
PLAYED = {
    "plain answer",
    "streamed usage",
    "reasoning",
    "tool call",
    "structured output",
    "error",
}


class Heard(NamedTuple):
    """A reply, or the error and the text that came before it."""

    message: AIMessage | None
    shown: str
    error: RolecallError | None


@pytest.fixture
def player() -> Iterator[ScriptedRunner]:
    with ScriptedRunner(dialect="ollama") as running:
        yield running


def spec(file: Exchanges, exchange: Exchange, runner: ScriptedRunner) -> ModelSpec:
    return ModelSpec.model_validate(
        {
            "id": file.model,
            "endpoint": runner.url,
            "api": exchange.api,
            "timeout_s": 5,
            "tool_check": "never",  # what is compared is how an answer is read
        }
    )


async def ask(client: Any, exchange: Exchange, tools: Any, schema: Any) -> Heard:
    options = CallOptions(
        tools=tools if exchange.offers_tools else (),
        schema=schema if exchange.wants_schema else None,
    )
    chunks = []
    try:
        async for chunk in client.astream("coding", [("user", "hello")], options=options):
            chunks.append(chunk)
    except RolecallError as error:
        return Heard(None, "".join(chunk.text for chunk in chunks), error)
    return Heard(final(chunks), "".join(chunk.text for chunk in chunks), None)


@pytest.mark.parametrize(("file", "exchange", "piece_bytes"), CASES)
async def test_an_exchange_gives_the_typed_result(
    player: ScriptedRunner,
    client_of: Any,
    tools: Any,
    schema: Any,
    file: Exchanges,
    exchange: Exchange,
    piece_bytes: int | None,
) -> None:
    file.play_on(player, exchange, piece_bytes=piece_bytes)
    client = client_of(spec(file, exchange, player))
    try:
        heard = await ask(client, exchange, tools, schema)
    finally:
        await client.aclose()
    gives = exchange.gives
    assert heard.shown == gives.text
    if gives.error is not None:
        assert gives.error in str(heard.error)
        assert getattr(heard.error, "partial", "") == gives.text
        return
    assert heard.error is None
    assert heard.message is not None
    compare(heard.message, exchange)
    assert len(player.calls) == len(exchange.answers)


def compare(message: AIMessage, exchange: Exchange) -> None:
    gives = exchange.gives
    assert message.text == gives.text
    assert reasoning_of(message).strip() == gives.reasoning
    called = [{"name": call["name"], "args": call["args"]} for call in message.tool_calls]
    assert called == gives.tool_calls
    ids = [call["id"] for call in message.tool_calls]
    assert all(ids)
    assert len(set(ids)) == len(ids)
    if gives.finish_reason is not None:
        assert message.response_metadata["finish_reason"] == gives.finish_reason
    if gives.usage is not None:
        usage = message.usage_metadata
        assert usage is not None
        assert (usage["input_tokens"], usage["output_tokens"]) == gives.usage


@pytest.mark.parametrize("file", FILES.values(), ids=list(FILES))
async def test_the_model_is_found_in_the_list_of_the_runner(
    player: ScriptedRunner, file: Exchanges
) -> None:
    file.play_on(player)
    offered = await list_models(address_of(spec(file, file.exchanges[0], player)))
    assert offered is not None
    assert file.model in offered


@pytest.mark.parametrize("file", FILES.values(), ids=list(FILES))
def test_each_runner_plays_every_kind_of_exchange(file: Exchanges) -> None:
    seen = set()
    for exchange in file.exchanges:
        gives = exchange.gives
        kinds = {
            "plain answer": bool(gives.text) and not gives.reasoning,
            "streamed usage": gives.usage is not None,
            "reasoning": bool(gives.reasoning),
            "tool call": bool(gives.tool_calls),
            "structured output": exchange.wants_schema,
            "error": gives.error is not None,
        }
        seen |= {kind for kind, true in kinds.items() if true}
    missing = PLAYED - seen
    assert not missing if file.kind == "documented" else missing <= {"reasoning"}


@pytest.mark.parametrize("file", FILES.values(), ids=list(FILES))
def test_a_documented_exchange_names_its_source(file: Exchanges) -> None:
    for exchange in file.exchanges:
        assert exchange.source.startswith("https://") == (file.kind == "documented")
