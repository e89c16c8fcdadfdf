"""The way that a run took through a graph."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_core.runnables.graph import Graph

_EDGE = re.compile(r"^\t(\S+) (?:-->|-\.->|-- .* -->|-\. .* \.->) (\S+);$")
_STYLES = (
    "\tclassDef visited fill:#fde68a,stroke:#b45309,stroke-width:2px",
    "stroke:#b45309,stroke-width:3px",
)


@dataclass(frozen=True)
class Walk:
    """Nodes and edges that were passed."""

    nodes: frozenset[str] = frozenset()
    edges: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def through(cls, graph: Graph, path: Sequence[str]) -> Walk:
        """The walk along ``path``: node names in order, the graph's own ends left out."""
        if not path:
            return cls()
        known = {(edge.source, edge.target) for edge in graph.edges}
        passed = {pair for pair in pairwise(path) if pair in known}
        passed |= {edge for edge in known if edge[0] == "__start__" and edge[1] == path[0]}
        passed |= {edge for edge in known if edge[1] == "__end__" and edge[0] == path[-1]}
        ends = {name for edge in passed for name in edge}
        return cls(frozenset({*path, *ends}), frozenset(passed))

    def marked(self, mermaid: str) -> str:
        """A mermaid text with the walk's styles added."""
        if not self.nodes:
            return mermaid
        edges = [found.groups() for line in mermaid.splitlines() if (found := _EDGE.match(line))]
        passed = [str(number) for number, edge in enumerate(edges) if edge in self.edges]
        lines = [_STYLES[0], f"\tclass {','.join(sorted(self.nodes))} visited"]
        if passed:
            lines.append(f"\tlinkStyle {','.join(passed)} {_STYLES[1]}")
        return mermaid.rstrip("\n") + "\n" + "\n".join(lines) + "\n"
