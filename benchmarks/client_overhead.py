"""What a client adds to one call: plain httpx, ChatOpenAI, LiteLLM's Router and Rolecall.

One scripted server without a model and without latency, in a process of its own, answers all four
the same short text. Single calls take turns, so that noise falls on all alike; overhead is the
median less the median of plain httpx in the same process. Rolecall streams on the wire, also for
``chat``; the others ask for one whole answer. LiteLLM lives in an environment of its own, which
``make litellm`` makes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from benchmarks.measure import p50, temporary_home, verdict
from benchmarks.peers import Router, litellm_router, scripted_server
from rolecall.config.schema import ModelSpec, Settings, Stack
from rolecall.models.client import LocalLLMClient

_ROUNDS = 300
_WARM_UP = 30
_AT_ONCE = 50
_BURSTS = 8
_QUESTION, _ANSWER = "What is the capital of Peru?", "Lima is the capital of Peru."
Call = Callable[[], Awaitable[object]]


def main() -> None:
    """Print milliseconds per call, calls per second, and both ratios to LiteLLM's Router."""
    with temporary_home(), scripted_server(_ANSWER) as url, litellm_router(url) as peer:
        asyncio.run(_compare(url, peer))


async def _compare(url: str, peer: Router | None) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        client = _ours(url)
        sides: dict[str, Call] = {
            "plain httpx": lambda: _plain(http, url),
            "ChatOpenAI": lambda: chat_openai.ainvoke(_QUESTION),
            "Rolecall": lambda: client.achat("coding", [("user", _QUESTION)]),
        }
        chat_openai = ChatOpenAI(
            model="tiny", base_url=f"{url}/v1", api_key=SecretStr("none"), max_retries=0
        )
        single = await _single_calls(sides, peer)
        bursts = await _bursts(sides, peer)
        await client.aclose()
    for name, times in single.items():
        if name != _PEERS_HTTPX:
            base = single[_PEERS_HTTPX if name == _PEER else "plain httpx"]
            print(
                f"{name:16} p50 {p50(times):6.2f} ms   over httpx {p50(times) - p50(base):6.2f} ms"
                f"   {p50(bursts[name]):6.0f} calls/s at {_AT_ONCE} at once"
            )
    if peer is None:
        print("LiteLLM could not be installed: no ratio to it")
        return
    ours = p50(single["Rolecall"]) - p50(single["plain httpx"])
    theirs = p50(single[_PEER]) - p50(single[_PEERS_HTTPX])
    speed = p50(bursts["Rolecall"]) / p50(bursts[_PEER])
    print(
        f"overhead, Rolecall / LiteLLM Router = {ours / theirs:.2f}  {verdict(ours / theirs, 0.5)}"
    )
    print(
        f"calls/s, Rolecall / LiteLLM Router  = {speed:.2f}  {verdict(speed, 1.3, at_most=False)}"
    )


async def _single_calls(sides: dict[str, Call], peer: Router | None) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in sides}
    if peer is not None:
        times |= {_PEERS_HTTPX: [], _PEER: []}
    order = list(sides.items())
    for number in range(_WARM_UP + _ROUNDS):
        order.append(order.pop(0))  # the first of a round finds the processor's caches cold
        for name, call in order:
            started = time.perf_counter()
            await call()
            spent = (time.perf_counter() - started) * 1000
            if number >= _WARM_UP:
                times[name].append(spent)
        if peer is not None:
            # Its callbacks run on after a call; they get their time before the next one.
            for name, command in ((_PEERS_HTTPX, "httpx"), (_PEER, "router")):
                spent = peer.ask(command)
                if number >= _WARM_UP:
                    times[name].append(spent)
    return times


async def _bursts(sides: dict[str, Call], peer: Router | None) -> dict[str, list[float]]:
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    if peer is not None:
        speeds[_PEER] = []
    for number in range(_BURSTS + 1):
        for name, call in sides.items():
            started = time.perf_counter()
            await asyncio.gather(*(call() for _ in range(_AT_ONCE)))
            if number:
                speeds[name].append(_AT_ONCE / (time.perf_counter() - started))
        if peer is not None:
            speed = peer.ask(f"burst {_AT_ONCE}")
            if number:
                speeds[_PEER].append(speed)
    return speeds


async def _plain(http: httpx.AsyncClient, url: str) -> object:
    body = {"model": "tiny", "messages": [{"role": "user", "content": _QUESTION}]}
    reply = await http.post(f"{url}/v1/chat/completions", json=body)
    reply.raise_for_status()
    return reply.json()["choices"][0]["message"]["content"]


def _ours(url: str) -> LocalLLMClient:
    spec = ModelSpec(id="tiny", endpoint=f"{url}/v1", max_concurrency=_AT_ONCE)
    return LocalLLMClient(Stack("bench", Path("bench"), "", {"coding": [spec]}, {}, Settings()))


_PEER = "LiteLLM Router"
_PEERS_HTTPX = "httpx beside LiteLLM"
