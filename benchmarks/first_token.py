"""What Rolecall adds to a warm embedded model: time to first token and tokens per second.

One process, role fixed, prompt cache off on both sides. The other side is a raw streamed POST of
the same messages to the same server. Pairs alternate and the ratio of medians counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.measure import p50, verdict
from rolecall import Assistant
from rolecall.models.embedded.runner import EmbeddedRunner, RunningServer
from rolecall.models.wire import openai_api

_PAIRS = 8
_MODEL = "qwen2.5-coder-0.5b"
_QUESTION = "Write a SQL query that finds duplicate emails, and explain how it works."
_MAX_TOKENS = 96


@dataclass
class _Run:
    first_s: float
    tokens_per_s: float


def main() -> None:
    """Print both ratios and, beside them, the whole command."""
    overrides = {"turn.max_tool_rounds": 0}
    server = EmbeddedRunner().ensure(_MODEL, context_length=8192)
    bodies: list[dict[str, Any]] = []
    with _no_prompt_cache(bodies), Assistant.open("embedded", overrides=overrides) as assistant:
        _through_rolecall(assistant)
        _raw(server, bodies[-1])
        ours, raw = [], []
        for index in range(_PAIRS):
            first, second = (ours, raw) if index % 2 else (raw, ours)
            for side in (first, second):
                side.append(
                    _through_rolecall(assistant) if side is ours else _raw(server, bodies[-1])
                )
    ttft = p50([r.first_s for r in ours]) / p50([r.first_s for r in raw])
    speed = p50([r.tokens_per_s for r in ours]) / p50([r.tokens_per_s for r in raw])
    for name, side in (("raw POST", raw), ("Rolecall", ours)):
        print(
            f"{name:10} first token p50 {p50([r.first_s for r in side]) * 1000:7.1f} ms   "
            f"{p50([r.tokens_per_s for r in side]):6.1f} tokens/s"
        )
    print(f"time to first token, Rolecall / raw = {ttft:.3f}  {verdict(ttft, 1.1)}")
    print(
        f"tokens/s, Rolecall / raw            = {speed:.3f}  {verdict(speed, 0.95, at_most=False)}"
    )
    started = time.perf_counter()
    command = Path(sys.executable).with_name("rolecall")
    subprocess.run([command, "ask", _QUESTION, "--role", "coding"], check=True, capture_output=True)
    print(f"the command as a whole, start-up included: {time.perf_counter() - started:.1f} s")


def _no_prompt_cache(bodies: list[dict[str, Any]]) -> Any:
    """Send ``cache_prompt: false`` with Rolecall's own requests, and note what it sends."""
    from unittest.mock import patch

    original = openai_api.open_chat_completions

    def opened(spec: Any, address: Any) -> Any:
        wire = original(spec, address)
        sent = wire.model._get_request_payload

        def arguments(options: Any) -> dict[str, Any]:
            call = wire.arguments(options)
            extra = {**call.get("extra_body", {}), "cache_prompt": False}
            return {**call, "extra_body": {**extra, "max_tokens": _MAX_TOKENS}, "temperature": 0.0}

        def payload(*args: Any, **kwargs: Any) -> dict[str, Any]:
            body: dict[str, Any] = sent(*args, **kwargs)
            flat = {k: v for k, v in body.items() if k not in {"extra_body", "stream_options"}}
            bodies.append({**flat, **body.get("extra_body", {}), "stream": True})
            return body

        object.__setattr__(wire.model, "_get_request_payload", payload)
        return type(wire)(wire.api, wire.model, arguments, wire.close)

    return patch.object(openai_api, "open_chat_completions", opened)


def _through_rolecall(assistant: Assistant) -> _Run:
    started = time.perf_counter()
    stamps = [
        time.perf_counter()
        for part in assistant.stream(_QUESTION, role="coding")
        if part.type == "text"
    ]
    return _run(started, stamps)


def _raw(server: RunningServer, body: dict[str, Any]) -> _Run:
    started = time.perf_counter()
    return _run(started, list(_raw_stamps(server, body)))


def _raw_stamps(server: RunningServer, body: dict[str, Any]) -> Iterator[float]:
    headers = {"Authorization": f"Bearer {server.api_key}"}
    url = f"{server.base_url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, headers=headers, timeout=300) as reply:
        reply.raise_for_status()
        for line in reply.iter_lines():
            if not line.startswith("data: {"):
                continue
            choices = json.loads(line[6:])["choices"]
            if choices and choices[0]["delta"].get("content"):
                yield time.perf_counter()


def _run(started: float, stamps: list[float]) -> _Run:
    spent = stamps[-1] - stamps[0]
    return _Run(stamps[0] - started, (len(stamps) - 1) / spent if spent else 0.0)
