"""A real server that is killed in the middle of an answer."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rolecall.config.schema import EMBEDDED, ModelSpec, Sampling, Settings, Stack
from rolecall.errors import ModelCallFailed
from rolecall.models.calls import CallRecord
from rolecall.models.client import LocalLLMClient
from rolecall.models.embedded.runner import EmbeddedRunner
from rolecall.models.wire import CallOptions

pytestmark = [pytest.mark.live, pytest.mark.enable_socket]
MODEL = "smollm2-135m"
QUESTION = [("user", "Write a story about a lighthouse.")]


@pytest.fixture
async def client(live_home: Path) -> AsyncIterator[LocalLLMClient]:
    EmbeddedRunner().stop(MODEL)
    spec = ModelSpec(
        id=MODEL, endpoint=EMBEDDED, context_length=1024, sampling=Sampling(max_tokens=40)
    )
    stack = Stack("live", Path("live.yaml"), "", {"coding": [spec]}, {}, Settings())
    one = LocalLLMClient(stack)
    yield one
    await one.aclose()
    EmbeddedRunner().stop(MODEL)


def kill() -> None:
    (server,) = [one for one in EmbeddedRunner().running() if one.model == MODEL]
    os.kill(server.pid, signal.SIGKILL)


async def test_it_is_started_again_and_the_answer_begins_again(client: LocalLLMClient) -> None:
    records: list[CallRecord] = []
    texts, marks = [""], 0
    options = CallOptions(begin_again=True)
    async for chunk in client.astream("coding", QUESTION, options=options, on_call=records.append):
        if "begins_again" in chunk.response_metadata:
            marks += 1
            texts.append("")
            continue
        texts[-1] += chunk.text
        if marks == 0 and len(texts[0].split()) == 5:
            kill()
    assert marks == 1
    assert texts[0]
    assert len(texts[1].split()) > 10
    assert [record.status for record in records] == ["error", "ok"]


async def test_without_that_the_text_is_kept_and_the_next_call_works(
    client: LocalLLMClient,
) -> None:
    shown: list[str] = []

    async def read() -> None:
        async for chunk in client.astream("coding", QUESTION):
            shown.append(chunk.text)
            if len("".join(shown).split()) == 5:
                kill()

    with pytest.raises(ModelCallFailed) as caught:
        await read()
    assert caught.value.partial == "".join(shown)
    assert (await client.achat("coding", QUESTION)).text
