"""What servers say about themselves, runner by runner; the pages follow their documentation."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from rolecall.models import server_facts
from rolecall.models.endpoint import Address
from rolecall.models.server_facts import UNKNOWN, FactsCache, ServerFacts, read_facts

ADDRESS = Address("http://127.0.0.1:9", "secret")
Pages = dict[str, Any]
Asked = list[httpx.Request]


def _listed(**entry: Any) -> Pages:
    return {"/v1/models": {"object": "list", "data": [{"id": "tiny", "object": "model", **entry}]}}


async def _facts(pages: Pages, server: str = "", asked: Asked | None = None) -> ServerFacts:
    def answer(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(request)
        page = pages.get(request.url.path)
        if isinstance(page, Exception):
            raise page
        if isinstance(page, str):
            return httpx.Response(200, text=page)
        headers = {"server": server} if server else {}
        status = 404 if page is None else 200
        return httpx.Response(status, json=page or {"error": "no"}, headers=headers)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        return await read_facts(ADDRESS, "tiny", client)


async def test_llama_cpp_tells_what_one_request_may_use() -> None:
    pages = {
        **_listed(owned_by="llamacpp", meta={"n_ctx_train": 32768}),
        "/props": {"default_generation_settings": {"n_ctx": 2048}, "build_info": "b7000-abc"},
    }
    asked: Asked = []
    assert await _facts(pages, "llama.cpp", asked) == ServerFacts(
        "llama.cpp", "b7000-abc", 2048, 32768
    )
    assert [request.url.path for request in asked] == ["/v1/models", "/props"]
    assert {request.headers["authorization"] for request in asked} == {"Bearer secret"}


async def test_a_llama_cpp_router_is_asked_without_loading_the_model() -> None:
    asked: Asked = []
    pages = {**_listed(owned_by="llamacpp"), "/props": {"role": "router"}}
    facts = await _facts(pages, "llama.cpp", asked)
    assert facts.context_length is None
    assert dict(asked[2].url.params) == {"model": "tiny", "autoload": "false"}


async def test_vllm_tells_it_in_the_model_list() -> None:
    pages = {**_listed(owned_by="vllm", max_model_len=40960), "/version": {"version": "0.12.0"}}
    assert await _facts(pages, "uvicorn") == ServerFacts("vLLM", "0.12.0", 40960)


async def test_ollama_tells_the_length_of_a_loaded_model() -> None:
    pages = {
        **_listed(owned_by="library"),
        "/api/version": {"version": "0.13.0"},
        "/api/ps": {"models": [{"name": "tiny:latest", "context_length": 4096}]},
        "/api/show": {"model_info": {"qwen3.context_length": 40960}, "parameters": "stop x"},
    }
    assert await _facts(pages) == ServerFacts("Ollama", "0.13.0", 4096, 40960)


async def test_ollama_with_a_model_that_is_not_loaded_tells_its_modelfile() -> None:
    pages = {
        "/api/version": {"version": "0.13.0"},
        "/api/ps": {"models": []},
        "/api/show": {
            "model_info": {"llama.context_length": 131072},
            "parameters": 'stop "x"\nnum_ctx                        16384',
        },
    }
    assert await _facts(pages) == ServerFacts("Ollama", "0.13.0", 16384, 131072)


@pytest.mark.parametrize(
    "pages",
    [
        {
            "/api/v1/models": {
                "models": [
                    {
                        "key": "tiny",
                        "max_context_length": 32768,
                        "loaded_instances": [{"id": "tiny", "config": {"context_length": 8192}}],
                    }
                ]
            }
        },
        {
            "/api/v0/models": {
                "data": [{"id": "tiny", "max_context_length": 32768, "loaded_context_length": 8192}]
            }
        },
    ],
)
async def test_both_apis_of_lm_studio_are_read(pages: Pages) -> None:
    listed = _listed(owned_by="organization_owner")
    assert await _facts({**listed, **pages}) == ServerFacts("LM Studio", None, 8192, 32768)


async def test_lm_studio_with_a_model_that_is_not_loaded_tells_only_the_most() -> None:
    pages = {
        **_listed(owned_by="organization_owner"),
        "/api/v1/models": {
            "models": [{"key": "tiny", "max_context_length": 32768, "loaded_instances": []}]
        },
    }
    facts = await _facts(pages)
    assert (facts.context_length, facts.bound) == (None, 32768)


async def test_foundry_local_tells_it_in_the_model_list() -> None:
    facts = await _facts(_listed(owned_by="Microsoft", maxInputTokens=4096, maxOutputTokens=2048))
    assert facts == ServerFacts("Foundry Local", None, 4096)


async def test_mlx_is_known_by_its_server_and_tells_nothing() -> None:
    assert await _facts(_listed(created=1), "BaseHTTP/0.6 Python/3.12.3") == ServerFacts("MLX")


async def test_an_unknown_server_is_believed_in_what_its_list_says() -> None:
    facts = await _facts(_listed(owned_by="me", meta={"n_ctx": 2048, "n_ctx_train": 4096}))
    assert facts == ServerFacts(None, None, 2048, 4096)


@pytest.mark.parametrize(
    "page",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        "<html>",
        "[]",
        '"x"',
        json.dumps({"data": "x"}),
        json.dumps({"data": [None, {"id": None}, {"id": "tiny", "max_model_len": "4096"}]}),
        json.dumps({"data": [{"id": "tiny", "meta": None, "max_model_len": -1}]}),
        json.dumps({"data": [{"id": "tiny", "meta": {"n_ctx": True}}]}),
    ],
)
async def test_nonsense_and_failures_are_unknown_not_errors(page: Any) -> None:
    assert (await _facts({"/v1/models": page})).bound is None


async def test_a_server_that_hangs_costs_no_more_than_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import asyncio

    async def hang(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(server_facts, "_TIMEOUT_S", 0.05)
    async with httpx.AsyncClient(transport=httpx.MockTransport(hang)) as client:
        assert await read_facts(ADDRESS, "tiny", client) == UNKNOWN


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[ServerFacts], list[str]]:
    """Lets ``read_facts`` answer these facts; returns the list of what it was asked."""

    def use(facts: ServerFacts) -> list[str]:
        asked: list[str] = []

        async def read(address: Address, model: str) -> ServerFacts:
            asked.append(model)
            return facts

        monkeypatch.setattr(server_facts, "read_facts", read)
        return asked

    return use


async def test_facts_are_asked_for_once_and_again_when_forgotten(answers: Any) -> None:
    asked = answers(ServerFacts("vLLM", "1", 4096))
    cache = FactsCache()
    for _ in range(3):
        assert (await cache.facts(ADDRESS, "tiny")).context_length == 4096
    assert asked == ["tiny"]
    cache.forget(ADDRESS, "tiny")
    await cache.facts(ADDRESS, "tiny")
    await cache.facts(ADDRESS, "other")
    assert asked == ["tiny", "tiny", "other"]


async def test_what_is_unknown_is_asked_for_again_sooner(
    answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(server_facts, "time", SimpleNamespace(monotonic=lambda: now[0]))
    for facts, asked_after_a_minute in (
        (ServerFacts("Ollama"), 2),
        (ServerFacts(None, None, 9), 1),
    ):
        asked = answers(facts)
        cache = FactsCache()
        for now[0] in (1.0, 61.0):
            await cache.facts(ADDRESS, "tiny")
        assert len(asked) == asked_after_a_minute
