"""Nodes and edges as LangGraph runs them: in both forms, traced once, on the event loop."""

from __future__ import annotations

import threading
from typing import Any, TypedDict
from uuid import UUID

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph

from rolecall.nodes.both_forms import both_forms, edge


class State(TypedDict):
    where: str


class Runs(BaseCallbackHandler):
    """Keeps the names of the runs that are traced."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: UUID, name: str = "", **_: Any
    ) -> None:
        self.names.append(name)


chosen_on: list[str] = []


def choose(state: State) -> str:
    chosen_on.append(threading.current_thread().name)
    return "last"


@pytest.fixture
def graph() -> Any:
    async def first(state: State, config: RunnableConfig) -> dict[str, Any]:
        return {"where": f"{config['configurable']['mark']} on {threading.current_thread().name}"}

    async def last(state: State, config: RunnableConfig) -> dict[str, Any]:
        return {}

    built = StateGraph(State)
    built.add_node("first", both_forms(first, "first"))
    built.add_node("last", both_forms(last, "last"))
    built.add_edge(START, "first")
    built.add_conditional_edges("first", edge(choose), ["last", END])
    built.add_edge("last", END)
    return built.compile(name="g")


def config(*handlers: BaseCallbackHandler) -> RunnableConfig:
    return {"configurable": {"mark": "marked"}, "callbacks": list(handlers)}


def test_a_blocking_run_has_its_nodes_on_the_background_loop(graph: Any) -> None:
    assert graph.invoke({"where": ""}, config())["where"] == "marked on rolecall-loop"


async def test_an_awaited_run_stays_on_its_own_loop_edges_too(graph: Any) -> None:
    chosen_on.clear()
    here = threading.current_thread().name
    assert (await graph.ainvoke({"where": ""}, config()))["where"] == f"marked on {here}"
    assert chosen_on == [here]


async def test_each_node_is_traced_once_and_edges_are_not(graph: Any) -> None:
    runs = Runs()
    await graph.ainvoke({"where": ""}, config(runs))
    assert runs.names == ["g", "first", "last"]
