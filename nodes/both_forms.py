"""Nodes are written once, async; LangGraph's ``invoke`` needs a synchronous form as well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config

from rolecall import bridge

StateT = TypeVar("StateT")
Node = Callable[[StateT, RunnableConfig], Awaitable[dict[str, Any]]]


def both_forms(node: Node[StateT], name: str) -> Runnable[StateT, dict[str, Any]]:
    """Register an async node for ``ainvoke`` and, over the bridge, for ``invoke``."""
    return _BothForms(node, name)


class _BothForms(Runnable[StateT, dict[str, Any]]):
    """LangGraph traces each node itself; a ``RunnableLambda`` would trace it a second time, and
    look into the node's signature at every step.
    """

    def __init__(self, node: Node[StateT], name: str) -> None:
        self._node = node
        self.name = name

    def invoke(
        self,
        input: StateT,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        """Run the node and wait for it."""
        return bridge.run(self.ainvoke(input, config))

    async def ainvoke(
        self,
        input: StateT,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        """Run the node."""
        return await self._node(input, config if config is not None else ensure_config())


def edge(choose: Callable[[StateT], Any]) -> Runnable[StateT, Any]:
    """A conditional edge's choice, which is quick.

    LangGraph would run a plain function in a thread, and trace it as a step of its own.
    """
    return _Edge(choose)


class _Edge(Runnable[StateT, Any]):
    def __init__(self, choose: Callable[[StateT], Any]) -> None:
        self._choose = choose
        self.name = choose.__name__

    def invoke(
        self,
        input: StateT,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **_: Any,
    ) -> Any:
        """Choose."""
        return self._choose(input)

    async def ainvoke(
        self,
        input: StateT,  # noqa: A002 - LangChain's word
        config: RunnableConfig | None = None,
        **_: Any,
    ) -> Any:
        """Choose."""
        return self._choose(input)
