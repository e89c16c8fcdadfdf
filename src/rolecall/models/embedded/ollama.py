"""Pulling a tag through a running Ollama: the model then lives in Ollama's own store."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from rolecall.errors import DownloadFailed
from rolecall.progress import Progress

_DEFAULT = "127.0.0.1:11434"


def ollama_url() -> str:
    """Where Ollama listens: ``OLLAMA_HOST`` (``host``, ``host:port`` or a URL), else loopback."""
    given = os.environ.get("OLLAMA_HOST", "").strip() or _DEFAULT
    scheme, _, rest = given.rpartition("://")
    host, colon, port = rest.rstrip("/").partition(":")
    if host in {"", "0.0.0.0"}:  # noqa: S104
        host = "127.0.0.1"
    return f"{scheme or 'http'}://{host}:{port if colon else '11434'}"


def pull_with_ollama(tag: str, progress: Progress) -> str:
    """Let Ollama pull ``tag``; returns the address of that Ollama.

    Raises:
        DownloadFailed: no Ollama answers, or it reports an error.
    """
    import httpx

    base = ollama_url()
    timeout = httpx.Timeout(300.0, connect=5.0)
    try:
        with (
            httpx.Client(base_url=base, timeout=timeout, trust_env=False) as client,
            client.stream("POST", "/api/pull", json={"model": tag, "stream": True}) as response,
        ):
            if response.status_code != 200:
                response.read()
                raise DownloadFailed(
                    f"Ollama at {base} answered {response.status_code}: {response.text[:200]}"
                )
            _follow(response, tag, progress)
    except httpx.HTTPError as error:
        raise DownloadFailed(
            f"no Ollama answers at {base} ({error}). Start it with: ollama serve "
            "(another address goes into OLLAMA_HOST)"
        ) from error
    return base


def _follow(response: Any, tag: str, progress: Progress) -> None:
    layers: dict[str, tuple[Callable[[int], None], int]] = {}
    with ExitStack() as open_steps:
        for line in response.iter_lines():
            if not line.strip():
                continue
            try:
                event = json.loads(line)
            except ValueError as error:
                raise DownloadFailed(f"Ollama sent what is not JSON: {line[:200]}") from error
            if event.get("error"):
                raise DownloadFailed(f"Ollama cannot pull {tag}: {event['error']}")
            if event.get("status") == "success":
                return
            digest, total = event.get("digest"), event.get("total")
            if not digest or not total:
                continue
            if digest not in layers:
                label = f"Ollama pulls {tag}"
                step = open_steps.enter_context(progress.step(label, total=int(total)))
                layers[digest] = (step, 0)
            step, done = layers[digest]
            completed = int(event.get("completed") or 0)
            if completed > done:
                step(completed - done)
                layers[digest] = (step, completed)
    raise DownloadFailed(f"Ollama stopped before {tag} was complete. Run the command again.")
