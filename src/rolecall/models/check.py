"""Checks a stack against what its endpoints offer, without loading a model."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from rolecall.config.schema import EMBEDDED, ModelSpec, Stack
from rolecall.errors import RolecallError
from rolecall.models.capabilities import CapabilityFile, endpoint_key
from rolecall.models.endpoint import (
    KEY_REFUSED,
    Address,
    address_of,
    list_models,
    offers,
    open_http,
    refuse_remote,
    refused_key,
)

_TIMEOUT_S = 5.0


async def check_stack(stack: Stack) -> list[dict[str, Any]]:
    """One row per candidate: ``role, model, endpoint, verdict, why, preferred`` and more.

    ``examined_s`` is how long ago ``rolecall doctor`` examined it, ``None`` if it has not;
    ``offers`` are the models that its endpoint lists.

    Verdicts: ``ok`` (it is there: what it is worth is for ``bench.candidates``); ``unfit`` (the
    endpoint has no such model, refuses the key, or must not be used); ``unreachable`` (also: a
    server that is not ready).
    """
    rows = [
        (role, index, spec)
        for role, candidates in stack.models.items()
        for index, spec in enumerate(candidates)
    ]
    judged = await asyncio.gather(*(_judge(spec) for _, _, spec in rows))
    ages = await asyncio.to_thread(_ages)
    return [
        {
            "role": role,
            "model": spec.id,
            "endpoint": spec.endpoint,
            "verdict": verdict,
            "why": why,
            "preferred": index == 0,
            "examined_s": ages.get((_key(spec), spec.id)),
            "offers": offers,
        }
        for (role, index, spec), (verdict, why, offers) in zip(rows, judged, strict=True)
    ]


def _ages() -> dict[tuple[str, str], int]:
    entries = CapabilityFile().entries()
    return {(entry.endpoint, entry.model): round(entry.age_s) for entry in entries}


def _key(spec: ModelSpec) -> str:
    try:
        return endpoint_key(spec)
    except RolecallError:
        return spec.endpoint


async def _judge(spec: ModelSpec) -> tuple[str, str, list[str]]:
    try:
        if spec.endpoint == EMBEDDED:
            return await asyncio.to_thread(_judge_embedded, spec)
        await refuse_remote(spec)
        address = address_of(spec)
        offered = await list_models(address)
        status = await _status(address) if offered is None else httpx.codes.OK
    except RolecallError as error:
        return "unfit", str(error), []
    except (httpx.HTTPError, OSError):
        return "unreachable", "nothing answers there; is the runner started?", []
    if status in KEY_REFUSED:
        return "unfit", refused_key(status), []
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return "unreachable", f"it is not ready (HTTP {status}); it may be loading a model", []
    if offered is None:
        return "ok", "the endpoint answers", []
    names = sorted(offered)
    if not offers(offered, spec.id):
        return "unfit", f"no such model there; it has {', '.join(names[:10]) or 'none'}", names
    return "ok", "listed by the endpoint", names


async def _status(address: Address) -> int:
    """What a server answers that does not list its models."""
    async with open_http(_TIMEOUT_S, tls=address.tls) as client:
        reply = await client.get(address.root + "/v1/models", headers=address.headers)
        return reply.status_code


def _judge_embedded(spec: ModelSpec) -> tuple[str, str, list[str]]:
    from rolecall.config.catalog import load_catalog
    from rolecall.models.embedded.weights import weights_path

    catalog = load_catalog()
    paths = {name: weights_path(e) for name, e in catalog.entries.items() if e.embeddable}
    installed = sorted(name for name, path in paths.items() if path is not None and path.is_file())
    entry = catalog[spec.id]
    if entry.id in installed:
        return "ok", "installed", installed
    return "ok", f"will be pulled on first use ({(entry.size_bytes or 0) / 1e6:.0f} MB)", installed
