"""One turn against a zero-latency scripted runner, beside what others need for one model call."""

from __future__ import annotations

import asyncio
import logging
import time
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

import httpx
from langchain_core.messages import AnyMessage
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages

from benchmarks.measure import p50, p95, temporary_home
from rolecall import Assistant, load_stack
from rolecall.models.scripted import ScriptedReply, ScriptedRunner

_CALLS, _WARM_UP = 200, 20
_QUESTION = "Which sort is stable?"


class _State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


def main() -> None:
    """Print p50 and p95 per kind, all against the same server in the same run."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with temporary_home() as home, ScriptedRunner(models=["tiny"]) as runner:
        runner.default = ScriptedReply("Merge sort is stable.")
        times = asyncio.run(_all(runner, Path(home)))
    base = p50(times["plain httpx"])
    print(f"{'one model call through':44} {'p50 ms':>8} {'p95 ms':>8} {'× httpx':>8}")
    for name, values in times.items():
        print(f"{name:44} {p50(values):8.2f} {p95(values):8.2f} {p50(values) / base:8.2f}")
    bare = p50(times["bare 4-node graph + AsyncSqliteSaver"])
    ours = p50(times["Rolecall turn (role fixed, everything on)"])
    print(f"Rolecall turn / bare graph = {ours / bare:.2f}  (no target yet)")


async def _all(runner: ScriptedRunner, home: Path) -> dict[str, list[float]]:
    stack_file = home / "bench.yaml"
    spec = f"{{id: tiny, endpoint: '{runner.endpoint}'}}"
    stack_file.write_text(f"models: {{router: {spec}, reasoning: {spec}, coding: {spec}}}\n")
    body = {"model": "tiny", "messages": [{"role": "user", "content": _QUESTION}]}
    model = ChatOpenAI(model="tiny", base_url=runner.endpoint, api_key="none", max_retries=0)
    async with (
        httpx.AsyncClient(trust_env=False) as http,
        AsyncSqliteSaver.from_conn_string(str(home / "bare.db")) as saver,
    ):
        graph = _bare_graph(model, saver)
        assistant = Assistant.open(load_stack(stack_file))
        number = iter(range(10**6))

        async def plain() -> None:
            (await http.post(runner.endpoint + "/chat/completions", json=body)).json()

        async def chat_openai() -> None:
            await model.ainvoke(_QUESTION)

        async def bare() -> None:
            config = {"configurable": {"thread_id": f"bare-{next(number)}"}}
            await graph.ainvoke({"messages": [("user", _QUESTION)]}, config)

        async def ours() -> None:
            await assistant.aask(_QUESTION, role="reasoning")

        kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "plain httpx": plain,
            "ChatOpenAI": chat_openai,
            "bare 4-node graph + AsyncSqliteSaver": bare,
            "Rolecall turn (role fixed, everything on)": ours,
        }
        times: dict[str, list[float]] = {name: [] for name in kinds}
        for index in range(_CALLS + _WARM_UP):
            for name, call in kinds.items():
                started = time.perf_counter()
                await call()
                if index >= _WARM_UP:
                    times[name].append((time.perf_counter() - started) * 1000.0)
        assistant.close()
    return times


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
