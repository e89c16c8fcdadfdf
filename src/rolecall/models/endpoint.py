"""Endpoints: where a model is served, what may be contacted, which models are there."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import httpx

from rolecall.config.schema import ModelSpec
from rolecall.errors import ConfigError, RemoteEndpoint
from rolecall.models.answer_body import bound
from rolecall.models.transport import RunnerTransport

_API_PATH = re.compile(
    r"(?:/(?:chat/completions|completions|responses|embeddings|models)"
    r"|/api(?:/(?:chat|generate|tags|embed|show|ps|version))?)$"
)
_LIST_TIMEOUT_S = 5.0

KEY_REFUSED = frozenset({401, 403})
"""What a server answers that wants a key, or another one."""
# Named one by one: Python's is_private also holds ranges that are routed elsewhere (Teredo).
_NEAR = [
    ipaddress.ip_network(network)
    for network in (
        "127.0.0.0/8",
        "0.0.0.0/32",  # as a destination: this machine
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "100.64.0.0/10",  # carrier-grade NAT, used by mesh VPNs
        "::1/128",
        "::/128",
        "fc00::/7",
        "fe80::/10",
    )
]
# A quantisation, file format or part number behind a model's name.
_VARIANT = re.compile(
    r"(?:[-_.@:](?:i?q\d(?:[_-](?:\d|k|nl|xx?s|xl|[sml]))*|tq\d_\d|bf16|fp?(?:16|32)|fp8|int[48]"
    r"|[2-8]-?bit|w\d+a\d+|mxfp4|nvfp4|awq|gptq|mlx|gguf|ud|i1|imat(?:rix)?|\d{5}-of-\d{5}))+"
)


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
        ConfigError: the endpoint is no URL, or ``api_key_env`` names a variable that is not set.
    """
    url = _url_of(spec)
    path = _API_PATH.sub("", url.path.rstrip("/")).rstrip("/").removesuffix("/v1").rstrip("/")
    root = str(url.copy_with(path=path or "/", query=None, fragment=None)).rstrip("/")
    key = None
    if spec.api_key_env is not None:
        key = os.environ.get(spec.api_key_env)
        if not key:
            raise ConfigError(
                f"model {spec.id}: api_key_env names {spec.api_key_env}, which is not set"
            )
        if not (key.isascii() and key.isprintable()) or key != key.strip():
            raise ConfigError(
                f"model {spec.id}: what {spec.api_key_env} holds cannot be sent as a key "
                "(a line break or a character outside of ASCII)"
            )
    return Address(root, key)


def _url_of(spec: ModelSpec) -> httpx.URL:
    """Parsed as the client will: the host that is judged is the host that is called."""
    try:
        return httpx.URL(spec.endpoint)
    except httpx.InvalidURL as error:
        raise ConfigError(f"model {spec.id}: {spec.endpoint} is not a URL: {error}") from error


async def refuse_remote(spec: ModelSpec) -> None:
    """Let only loopback and private addresses through, unless the spec allows more.

    Raises:
        RemoteEndpoint: the host is, or resolves to, a public address.
    """
    if spec.allow_remote:
        return
    host = _url_of(spec).raw_host.decode("ascii")
    for address in await _addresses(host):
        if not is_near(address):
            raise RemoteEndpoint(
                f"model {spec.id}: {spec.endpoint} is outside this machine and its private "
                f"network ({address}). To send prompts there, set allow_remote: true on the model."
            )


async def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        return [ipaddress.ip_address(host.strip("[]").split("%")[0])]
    except ValueError:
        pass
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []  # the call itself will say that the name is unknown
    return [ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in found]


def is_near(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address is this machine's or of a private network."""
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in _NEAR)


async def list_models(
    address: Address, client: httpx.AsyncClient | None = None
) -> list[str] | None:
    """The model ids that a server offers; ``None`` when it does not tell.

    Loads no model: ``/v1/models`` first, then Ollama's ``/api/tags``.

    Raises:
        httpx.HTTPError: the server cannot be reached.
        TimeoutError: it does not answer within 5 seconds.
    """
    if client is None:
        async with (
            asyncio.timeout(_LIST_TIMEOUT_S),
            open_http(_LIST_TIMEOUT_S, tls=address.tls) as own,
        ):
            return await list_models(address, own)
    for path, parse in (("/v1/models", _openai_ids), ("/api/tags", _ollama_ids)):
        reply = await client.get(
            address.root + path, headers=address.headers, timeout=_LIST_TIMEOUT_S
        )
        if reply.status_code == httpx.codes.OK:
            try:
                return parse(reply.json())
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # it answers, with something else
    return None


def refused_key(status: int) -> str:
    """What is wrong with a server that answers one of :data:`KEY_REFUSED`, and what to do."""
    return f"it refuses the key (HTTP {status}); name its variable in api_key_env"


def _openai_ids(body: Any) -> list[str]:
    ids: list[str] = []
    for entry in body["data"]:
        ids += [str(entry["id"]), *(str(alias) for alias in entry.get("aliases") or [])]
    return list(dict.fromkeys(ids))


def _ollama_ids(body: Any) -> list[str]:
    return [str(entry["name"]) for entry in body["models"]]


def offers(offered: list[str], wanted: str) -> bool:
    """Whether a server that lists ``offered`` has ``wanted``; see :func:`name_at`."""
    return name_at(offered, wanted) is not None


def name_at(offered: list[str], wanted: str) -> str | None:
    """The name under which a server that lists ``offered`` has ``wanted``.

    Case, folders, ``.gguf``, ``:latest`` and a quantisation behind the name do not count:
    ``Qwen3-1.7B`` is served by ``/models/qwen3-1.7b-q4_k_m.gguf``, but not by
    ``qwen3-1.7b-coder``, which is another model.
    """
    if wanted in offered:
        return wanted
    name = _bare(wanted)
    if not name:
        return None
    bare = {entry: _bare(entry) for entry in offered}
    same = (entry for entry in offered if bare[entry] == name)
    variants = (
        entry
        for entry in offered
        if bare[entry].startswith(name) and _VARIANT.fullmatch(bare[entry], len(name))
    )
    return next(same, None) or next(variants, None)


def _bare(name: str) -> str:
    leaf = PurePosixPath(name.lower().replace("\\", "/")).name
    return leaf.removesuffix(":latest").removesuffix(".gguf")


def open_http(timeout_s: float, *, tls: bool = True) -> httpx.AsyncClient:
    """A client for runners: no proxy from the environment, no redirects.

    Args:
        timeout_s: longest silence while reading; connecting is given 5 seconds at most.
        tls: whether https is spoken; reading the certificates takes tens of milliseconds.
    """
    return httpx.AsyncClient(**http_settings(timeout_s, tls=tls))


def http_settings(timeout_s: float, *, tls: bool) -> dict[str, Any]:
    """The arguments of :func:`open_http`'s client, for a library that makes its own."""
    return {
        "transport": RunnerTransport(tls=tls),
        "trust_env": False,
        "follow_redirects": False,
        "timeout": httpx.Timeout(timeout_s, connect=min(5.0, timeout_s)),
        "event_hooks": {"response": [bound]},
    }
