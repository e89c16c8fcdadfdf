"""How much memory a model takes, where its runner tells: llama.cpp started by us, and Ollama."""

from __future__ import annotations

import asyncio

import httpx
import psutil

from rolecall.config.schema import EMBEDDED, ModelSpec
from rolecall.errors import RolecallError
from rolecall.models.embedded.records import all_records
from rolecall.models.endpoint import address_of, offers, open_http

_TIMEOUT_S = 2.0


async def memory_of(spec: ModelSpec) -> int | None:
    """Bytes, or ``None`` where nothing tells."""
    if spec.endpoint == EMBEDDED:
        return await asyncio.to_thread(_embedded, spec.id)
    try:
        address = address_of(spec)
        async with open_http(_TIMEOUT_S, tls=address.tls) as http:
            reply = await http.get(f"{address.root}/api/ps", headers=address.headers)
        for model in reply.json()["models"]:
            if offers([str(model["name"])], spec.id):
                return int(model["size"])
    except (RolecallError, httpx.HTTPError, OSError, ValueError, KeyError, TypeError):
        return None
    return None


def _embedded(model: str) -> int | None:
    for record in all_records():
        if record.model == model:
            try:
                return int(psutil.Process(record.pid).memory_info().rss)
            except psutil.Error:
                return None
    return None
