"""What a server says about itself and a model, read without loading the model.

| runner | where it tells |
|---|---|
| llama.cpp | ``/props`` (``default_generation_settings.n_ctx``: what one request may use), else ``meta`` in ``/v1/models``; ``build_info`` |
| vLLM | ``max_model_len`` in ``/v1/models``; ``/version`` |
| Ollama | ``/api/ps`` (``context_length`` of a loaded model), ``/api/show`` (``num_ctx`` of the Modelfile, ``*.context_length`` of the model); ``/api/version`` |
| LM Studio | ``/api/v1/models`` or ``/api/v0/models`` (loaded and largest context length) |
| Foundry Local | ``maxInputTokens`` or ``contextLength`` in ``/v1/models``, in versions that list them |
| MLX | nothing |

Every fact is optional: what a server does not tell, or tells wrongly, is ``None``.
"""  # noqa: E501

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from rolecall.models.endpoint import Address, name_at, open_http

LLAMA_CPP = "llama.cpp"
OLLAMA = "Ollama"
LM_STUDIO = "LM Studio"
VLLM = "vLLM"
FOUNDRY_LOCAL = "Foundry Local"
MLX = "MLX"

_TIMEOUT_S = 2.0  # for all questions to one server together
_KEPT_S = 600.0
_UNKNOWN_KEPT_S = 30.0  # a model that is not loaded yet will soon have a context length
_NUM_CTX = re.compile(r"^\s*num_ctx\s+(\d+)", re.MULTILINE)
_OWNERS = {
    "llamacpp": LLAMA_CPP,
    "vllm": VLLM,
    "library": OLLAMA,
    "organization_owner": LM_STUDIO,
}


@dataclass(frozen=True)
class ServerFacts:
    """What is known about a model at an endpoint. Lengths are tokens, question and answer.

    Attributes:
        runner: the software's name, where it can be told.
        version: the software's version, where it says so.
        context_length: what one request may use as the model is loaded now.
        max_context_length: what the model was made for.
    """

    runner: str | None = None
    version: str | None = None
    context_length: int | None = None
    max_context_length: int | None = None

    @property
    def bound(self) -> int | None:
        """What certainly cannot be exceeded: the length in force, else the model's own."""
        return self.context_length or self.max_context_length


UNKNOWN = ServerFacts()


class FactsCache:
    """Facts by endpoint and model: 10 minutes, without a context length 30 seconds."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[float, ServerFacts]] = {}

    async def facts(self, address: Address, model: str) -> ServerFacts:
        """The facts, read from the server where they are not known or have expired."""
        key = (address.root, model)
        until, facts = self._kept.get(key, (0.0, UNKNOWN))
        if time.monotonic() >= until:
            facts = await read_facts(address, model)
            kept_s = _UNKNOWN_KEPT_S if facts.context_length is None else _KEPT_S
            self._kept[key] = (time.monotonic() + kept_s, facts)
        return facts

    def forget(self, address: Address, model: str) -> None:
        """Ask again at the next call."""
        self._kept.pop((address.root, model), None)


async def read_facts(
    address: Address, model: str, client: httpx.AsyncClient | None = None
) -> ServerFacts:
    """Ask a server about a model. Never raises and never takes longer than 2 seconds."""
    if client is None:
        async with open_http(_TIMEOUT_S, tls=address.tls) as own:
            return await read_facts(address, model, own)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            return await _Questions(address, model, client).facts()
    except (TimeoutError, httpx.HTTPError, OSError):
        return UNKNOWN


class _Questions:
    """The questions to one server about one model."""

    def __init__(self, address: Address, model: str, client: httpx.AsyncClient) -> None:
        self._address = address
        self._model = model
        self._client = client
        self._software = ""  # the Server header

    async def facts(self) -> ServerFacts:
        entry = self._entry(await self._get("/v1/models"), "data", "id")
        runner = self._runner(entry)
        ask: dict[str, Callable[[Mapping[str, Any]], Awaitable[ServerFacts | None]]] = {
            LLAMA_CPP: self._llama_cpp,
            VLLM: self._vllm,
            LM_STUDIO: self._lm_studio,
            OLLAMA: self._ollama,
        }
        if runner in (FOUNDRY_LOCAL, MLX):
            return self._listed(entry, runner)
        if runner is None and self._software.startswith("uvicorn"):
            del ask[LLAMA_CPP], ask[LM_STUDIO], ask[OLLAMA]
        for name in sorted(ask, key=lambda name: name != runner):  # the likeliest first
            found = await ask[name](entry)
            if found is not None:
                return found
        return self._listed(entry, runner)

    def _runner(self, entry: Mapping[str, Any]) -> str | None:
        if self._software.lower() == LLAMA_CPP:
            return LLAMA_CPP
        if "max_model_len" in entry:
            return VLLM
        if "maxInputTokens" in entry or "contextLength" in entry:
            return FOUNDRY_LOCAL
        owner = entry.get("owned_by")
        if owner in _OWNERS:
            return _OWNERS[str(owner)]
        if owner is None and self._software.startswith("BaseHTTP"):  # of Python's http.server
            return MLX
        return None

    def _listed(self, entry: Mapping[str, Any], runner: str | None) -> ServerFacts:
        """What the model list itself tells, in the words of several runners."""
        meta = _dict(entry.get("meta"))
        now = _length(
            entry.get("max_model_len")
            or entry.get("contextLength")
            or entry.get("maxInputTokens")
            or meta.get("n_ctx")
        )
        return ServerFacts(runner, None, now, _length(meta.get("n_ctx_train")))

    async def _llama_cpp(self, entry: Mapping[str, Any]) -> ServerFacts | None:
        props = await self._get("/props")
        if props.get("role") == "router":  # one of several models: asked without loading it
            query = httpx.QueryParams({"model": self._model, "autoload": "false"})
            props = await self._get(f"/props?{query}")
        settings = _dict(props.get("default_generation_settings"))
        if not settings:
            return None
        listed = self._listed(entry, LLAMA_CPP)
        return ServerFacts(
            LLAMA_CPP,
            _text(props.get("build_info")),
            _length(settings.get("n_ctx")) or listed.context_length,
            listed.max_context_length,
        )

    async def _vllm(self, entry: Mapping[str, Any]) -> ServerFacts | None:
        if "max_model_len" not in entry:
            return None
        version = _text((await self._get("/version")).get("version"))
        return ServerFacts(VLLM, version, _length(entry["max_model_len"]))

    async def _lm_studio(self, entry: Mapping[str, Any]) -> ServerFacts | None:
        found = self._entry(await self._get("/api/v1/models"), "models", "key")
        if found:
            loaded = [_dict(one) for one in found.get("loaded_instances") or []]
            lengths = [_length(_dict(one.get("config")).get("context_length")) for one in loaded]
            now = min((n for n in lengths if n), default=None)
            return ServerFacts(LM_STUDIO, None, now, _length(found.get("max_context_length")))
        found = self._entry(await self._get("/api/v0/models"), "data", "id")
        if not found:
            return None
        return ServerFacts(
            LM_STUDIO,
            None,
            _length(found.get("loaded_context_length")),
            _length(found.get("max_context_length")),
        )

    async def _ollama(self, entry: Mapping[str, Any]) -> ServerFacts | None:
        version = (await self._get("/api/version")).get("version")
        if version is None:
            return None
        loaded = self._entry(await self._get("/api/ps"), "models", "name")
        shown = await self._post("/api/show", {"model": self._model})
        stated = _NUM_CTX.search(str(shown.get("parameters") or ""))
        lengths = [
            _length(value)
            for key, value in _dict(shown.get("model_info")).items()
            if str(key).endswith(".context_length")
        ]
        return ServerFacts(
            OLLAMA,
            _text(version),
            _length(loaded.get("context_length")) or (int(stated[1]) if stated else None),
            next((n for n in lengths if n), None),
        )

    def _entry(self, body: Mapping[str, Any], list_key: str, name_key: str) -> Mapping[str, Any]:
        listed = body.get(list_key)
        entries = [_dict(one) for one in listed] if isinstance(listed, list) else []
        named = {str(one.get(name_key)): one for one in entries}
        name = name_at(list(named), self._model)
        return named[name] if name is not None else {}

    async def _get(self, path: str) -> Mapping[str, Any]:
        return self._body(
            await self._client.get(self._address.root + path, headers=self._address.headers)
        )

    async def _post(self, path: str, body: dict[str, Any]) -> Mapping[str, Any]:
        url = self._address.root + path
        return self._body(await self._client.post(url, json=body, headers=self._address.headers))

    def _body(self, reply: httpx.Response) -> Mapping[str, Any]:
        self._software = self._software or reply.headers.get("server", "")
        if reply.status_code != httpx.codes.OK:
            return {}
        try:
            return _dict(reply.json())
        except ValueError:
            return {}


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int | float) and str(value) else None


def _length(value: Any) -> int | None:
    """A number of tokens; servers also send 0, null and text."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
