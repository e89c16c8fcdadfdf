"""Nodes are written once, async; LangGraph's ``invoke`` needs a synchronous form as well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig, RunnableLambda

from rolecall import bridge

StateT = TypeVar("StateT")
Node = Callable[[StateT, RunnableConfig], Awaitable[dict[str, Any]]]


def both_forms(node: Node[StateT], name: str) -> RunnableLambda[StateT, dict[str, Any]]:
    """Register an async node for ``ainvoke`` and, over the bridge, for ``invoke``."""

    async def run(state: StateT, config: RunnableConfig) -> dict[str, Any]:
        return await node(state, config)

    def run_blocking(state: StateT, config: RunnableConfig) -> dict[str, Any]:
        return bridge.run(run(state, config))

    return RunnableLambda(run_blocking, afunc=run, name=name)
