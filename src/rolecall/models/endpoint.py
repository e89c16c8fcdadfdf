"""Endpoints: where a model is served, what may be contacted, which models are there."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import httpx

from rolecall.config.schema import ModelSpec
from rolecall.errors import ConfigError, RemoteEndpoint

_API_SUFFIXES = ("/chat/completions", "/completions", "/responses", "/api/chat", "/api/generate")
_LIST_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Address:
    """A server's root URL (no API path, no trailing slash) and the key it wants."""

    root: str
    api_key: str | None = None

    @property
    def tls(self) -> bool:
        """Whether the server speaks https."""
        return self.root.startswith("https:")

    @property
    def openai_base(self) -> str:
        """Root of the OpenAI-compatible API: ``…/v1``."""
        return self.root + "/v1"

    @property
    def headers(self) -> dict[str, str]:
        """The authorisation header, where there is a key."""
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}


def address_of(spec: ModelSpec) -> Address:
    """The server that a spec's URL names; ``/v1``, ``/v1/chat/completions`` only name it.

    Raises:
        ConfigError: ``api_key_env`` names a variable that is not set.
    """
    root = spec.endpoint
    for suffix in _API_SUFFIXES:
        root = root.removesuffix(suffix)
    root = root.rstrip("/").removesuffix("/v1").rstrip("/")
    key = None
    if spec.api_key_env is not None:
        key = os.environ.get(spec.api_key_env)
        if not key:
            raise ConfigError(
                f"model {spec.id}: api_key_env names {spec.api_key_env}, which is not set"
            )
    return Address(root, key)


async def refuse_remote(spec: ModelSpec) -> None:
    """Let only loopback and private addresses through, unless the spec allows more.

    Raises:
        RemoteEndpoint: the host is, or resolves to, a public address.
    """
    if spec.allow_remote:
        return
    host = urlsplit(spec.endpoint).hostname or ""
    for address in await _addresses(host):
        if not _is_near(address):
            raise RemoteEndpoint(
                f"model {spec.id}: {spec.endpoint} is outside this machine and its private "
                f"network ({address}). To send prompts there, set allow_remote: true on the model."
            )


async def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        return [ipaddress.ip_address(host.split("%")[0])]
    except ValueError:
        pass
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []  # the call itself will say that the name is unknown
    return [ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in found]


def _is_near(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        return _is_near(mapped)
    shared = ipaddress.ip_network("100.64.0.0/10")  # carrier-grade NAT, used by mesh VPNs
    return (
        address.is_loopback
        or (address.is_private and not address.is_unspecified)
        or address.is_link_local
        or (address.version == 4 and address in shared)
    )


async def list_models(
    address: Address, client: httpx.AsyncClient | None = None
) -> list[str] | None:
    """The model ids that a server offers; ``None`` when it does not tell.

    Loads no model: ``/v1/models`` first, then Ollama's ``/api/tags``.

    Raises:
        httpx.HTTPError: the server cannot be reached.
    """
    if client is None:
        async with open_http(_LIST_TIMEOUT_S, tls=address.tls) as own:
            return await list_models(address, own)
    for path, parse in (("/v1/models", _openai_ids), ("/api/tags", _ollama_ids)):
        reply = await client.get(
            address.root + path, headers=address.headers, timeout=_LIST_TIMEOUT_S
        )
        if reply.status_code == httpx.codes.OK:
            try:
                return parse(reply.json())
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
    return None


def _openai_ids(body: Any) -> list[str]:
    ids: list[str] = []
    for entry in body["data"]:
        ids += [str(entry["id"]), *(str(alias) for alias in entry.get("aliases") or [])]
    return list(dict.fromkeys(ids))


def _ollama_ids(body: Any) -> list[str]:
    return [str(entry["name"]) for entry in body["models"]]


def offers(offered: list[str], wanted: str) -> bool:
    """Whether a server that lists ``offered`` has ``wanted``.

    Case, folders, ``.gguf``, ``:latest`` and a quantisation behind the name do not count:
    ``Qwen3-1.7B`` is served by ``/models/qwen3-1.7b-q4_k_m.gguf``.
    """
    name = _bare(wanted)
    for entry in offered:
        bare = _bare(entry)
        if bare == name or (bare.startswith(name) and bare[len(name)] in "-_.@" and name):
            return True
    return False


def _bare(name: str) -> str:
    leaf = PurePosixPath(name.lower().replace("\\", "/")).name
    return leaf.removesuffix(".gguf").removesuffix(":latest")


def open_http(timeout_s: float, *, tls: bool = True) -> httpx.AsyncClient:
    """A client for runners: no proxy from the environment, no redirects.

    Args:
        timeout_s: longest silence while reading; connecting is given 5 seconds at most.
        tls: whether https is spoken; reading the certificates takes tens of milliseconds.
    """
    return httpx.AsyncClient(
        verify=True if tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(timeout_s, connect=min(5.0, timeout_s)),
        limits=httpx.Limits(max_connections=256, max_keepalive_connections=64),
    )
