"""What a turn adds to one model call, beside a bare graph and LiteLLM's Router.

A scripted server without latency, in a process of its own, answers all alike. Single turns take
turns, so that noise falls on all alike; then 50 begin at once, each on a thread of its own. A
Rolecall turn has everything on: durable at each step, journal, telemetry, transcript, locks.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict

import httpx
from langchain_core.messages import AnyMessage
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from pydantic import SecretStr

from benchmarks.measure import p50, p95, temporary_home, verdict
from benchmarks.peers import Router, litellm_router, scripted_server
from rolecall import Assistant, load_stack

_WARM_UP = 10
_AT_ONCE, _BURSTS = 50, 6
_QUESTION, _ANSWER = "Which sort is stable?", "Merge sort is stable."
_HTTPX, _OPENAI, _BARE = "plain httpx", "ChatOpenAI", "bare 4-node graph + AsyncSqliteSaver"
_OURS = "Rolecall turn, everything on"
_ROUTER = "LiteLLM Router, one call"

Call = Callable[[], Awaitable[object]]


class _State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


def main() -> None:
    """Print milliseconds and turns per second, and the ratios beside their targets."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks turn", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with (
        temporary_home() as home,
        scripted_server(_ANSWER) as url,
        litellm_router(url) as router,
    ):
        times, speeds = asyncio.run(_measure(url, router, Path(home), rounds))
    print(f"{'one model call through':40} {'p50 ms':>8} {'p95 ms':>8} {f'{_AT_ONCE} at once':>12}")
    for name, values in times.items():
        speed = f"{p50(speeds[name]):8.0f} /s" if name in speeds else ""
        print(f"{name:40} {p50(values):8.2f} {p95(values):8.2f} {speed:>12}")
    ours = p50(times[_OURS])
    ratio = ours / p50(times[_BARE])
    print(f"turn: Rolecall / bare graph            = {ratio:.2f}  {verdict(ratio, 0.75)}")
    if router is not None:
        ratio = ours / p50(times[_ROUTER])
        print(f"turn: Rolecall / LiteLLM Router's call = {ratio:.2f}  goal: {verdict(ratio, 1.0)}")
    ratio = p50(speeds[_OURS]) / p50(speeds[_BARE])
    print(
        f"{_AT_ONCE} at once: Rolecall / bare graph      = {ratio:.2f}  "
        f"{verdict(ratio, 2.0, at_most=False)}"
    )


async def _measure(
    url: str, router: Router | None, home: Path, rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    body = {"model": "tiny", "messages": [{"role": "user", "content": _QUESTION}]}
    model = ChatOpenAI(model="tiny", base_url=f"{url}/v1", api_key=SecretStr("none"), max_retries=0)
    async with (
        httpx.AsyncClient(trust_env=False) as http,
        AsyncSqliteSaver.from_conn_string(str(home / "bare.db")) as saver,
    ):
        graph = _bare_graph(model, saver)
        number = iter(range(10**6))
        with _assistant(url, home / "on") as assistant:

            async def bare() -> object:
                config = {"configurable": {"thread_id": f"bare-{next(number)}"}}
                return await graph.ainvoke({"messages": [("user", _QUESTION)]}, config)

            sides: dict[str, Call] = {
                _HTTPX: lambda: http.post(f"{url}/v1/chat/completions", json=body),
                _OPENAI: lambda: model.ainvoke(_QUESTION),
                _BARE: bare,
                _OURS: lambda: assistant.aask(_QUESTION, role="reasoning"),
            }
            times = await _one_by_one(sides, router, rounds)
            speeds = await _at_once({name: sides[name] for name in (_BARE, _OURS)}, router)
    return times, speeds


async def _one_by_one(
    sides: dict[str, Call], router: Router | None, rounds: int
) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in sides}
    if router is not None:
        times[_ROUTER] = []
    order = list(sides.items())
    for index in range(rounds + _WARM_UP):
        order.append(order.pop(0))  # the first of a round finds the processor's caches cold
        for name, call in order:
            started = time.perf_counter()
            await call()
            if index >= _WARM_UP:
                times[name].append((time.perf_counter() - started) * 1000.0)
        if router is not None:
            spent = router.ask("router")
            if index >= _WARM_UP:
                times[_ROUTER].append(spent)
    return times


async def _at_once(sides: dict[str, Call], router: Router | None) -> dict[str, list[float]]:
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    if router is not None:
        speeds[_ROUTER] = []
    for index in range(_BURSTS + 1):
        for name, call in sides.items():
            started = time.perf_counter()
            await asyncio.gather(*(call() for _ in range(_AT_ONCE)))
            if index:
                speeds[name].append(_AT_ONCE / (time.perf_counter() - started))
        if router is not None:
            speed = router.ask(f"burst {_AT_ONCE}")
            if index:
                speeds[_ROUTER].append(speed)
    return speeds


@contextmanager
def _assistant(url: str, home: Path) -> Iterator[Assistant]:
    """An assistant with a home of its own."""
    home.mkdir()
    stack = home / "bench.yaml"
    spec = f"{{id: tiny, endpoint: '{url}/v1', max_concurrency: {_AT_ONCE}}}"
    stack.write_text(f"models: {{router: {spec}, reasoning: {spec}, coding: {spec}}}\n")
    before = os.environ["ROLECALL_HOME"]
    os.environ["ROLECALL_HOME"] = str(home)
    try:
        opened = Assistant.open(load_stack(stack))
    finally:
        os.environ["ROLECALL_HOME"] = before
    with opened:
        yield opened


def _bare_graph(model: ChatOpenAI, saver: AsyncSqliteSaver) -> Any:
    async def call_model(state: _State) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    async def nothing(state: _State) -> dict[str, Any]:
        return {}

    graph = StateGraph(_State)
    names = ["init", "router", "specialist", "synthesis"]
    for name in names:
        graph.add_node(name, call_model if name == "specialist" else nothing)
    for before, after in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(before, after)
    return graph.compile(checkpointer=saver)
