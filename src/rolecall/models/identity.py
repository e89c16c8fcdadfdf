"""Whether the server and the model at an endpoint are those that were once examined.

The fingerprint holds what a server tells of itself and of the model without loading it: runner,
version, the entry of its model list, Ollama's digest, and the context length where the server was
started with it (llama.cpp, vLLM). It leaves out what changes by itself: times, load states.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import httpx

from rolecall.config.catalog import load_catalog
from rolecall.config.schema import EMBEDDED, ModelSpec
from rolecall.errors import RolecallError
from rolecall.models.capabilities import Capability, CapabilityFile
from rolecall.models.endpoint import Address, name_at, open_http
from rolecall.models.server_facts import LLAMA_CPP, OLLAMA, VLLM, ServerFacts, read_facts

_TIMEOUT_S = 2.0
_LASTING = ("id", "owned_by", "root", "parent", "meta", "max_model_len")


async def seen_before(spec: ModelSpec, address: Address) -> Capability | None:
    """The entry of a model in the capability file, if it still holds.

    A server that does not tell what it is keeps its entry. Costs nothing without an entry.
    """
    entry = await asyncio.to_thread(CapabilityFile().get, spec)
    if entry is None:
        return None
    now = await fingerprint(spec, address)
    return entry if now is None or now == entry.fingerprint else None


async def fingerprint(
    spec: ModelSpec,
    address: Address,
    facts: ServerFacts | None = None,
    client: httpx.AsyncClient | None = None,
) -> str | None:
    """The fingerprint of a model at its endpoint; ``None`` when the server does not answer.

    Args:
        facts: what is known of the server already.
        client: to ask with.
    """
    if spec.endpoint == EMBEDDED:
        return _digest(await asyncio.to_thread(_embedded, spec.id))
    if client is None:
        async with open_http(_TIMEOUT_S, tls=address.tls) as own:
            return await fingerprint(spec, address, facts, own)
    try:
        async with asyncio.timeout(2 * _TIMEOUT_S):
            facts = facts or await read_facts(address, spec.id, client)
            entry = await _entry(client, address, "/v1/models", "data", "id", spec.id)
            parts: dict[str, Any] = {key: entry[key] for key in _LASTING if key in entry}
            if facts.runner == OLLAMA:
                tag = await _entry(client, address, "/api/tags", "models", "name", spec.id)
                parts["digest"] = tag.get("digest")
            if facts.runner in {LLAMA_CPP, VLLM}:
                parts["context_length"] = facts.context_length
    except (TimeoutError, httpx.HTTPError, OSError):
        return None
    return _digest({"runner": facts.runner, "version": facts.version, **parts})


async def _entry(
    client: httpx.AsyncClient, address: Address, path: str, rows: str, name: str, model: str
) -> dict[str, Any]:
    reply = await client.get(address.root + path, headers=address.headers)
    try:
        listed = {str(row[name]): row for row in reply.json()[rows]}
    except (ValueError, KeyError, TypeError):
        return {}
    found = name_at(list(listed), model)
    return dict(listed[found]) if found is not None else {}


def _embedded(model: str) -> dict[str, Any]:
    try:
        runner = version("xllamacpp")
    except PackageNotFoundError:
        runner = None
    try:
        entry = load_catalog()[model]
    except RolecallError:
        return {"runner": runner}
    return {"runner": runner, "file": entry.file, "sha256": entry.sha256}


def _digest(parts: dict[str, Any]) -> str:
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
