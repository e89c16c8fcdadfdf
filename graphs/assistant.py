"""The assistant: INIT → router → specialist ⇄ tools → SYNTHESIS.

            ┌── HANDLE ───► answer (router model) ──┐
INIT ─► router ── REASONING ► reasoning ◄──► tools ─┼─► SYNTHESIS ─► END
            └── CODING ───► coding ◄──────► tools ──┘
  answer ── not good enough ──► reasoning (once)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.tools import BaseTool
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from rolecall.config.schema import ModelRole, Settings, Stack
from rolecall.errors import ConfigError
from rolecall.graphs.state import AssistantInput, AssistantState
from rolecall.memory.notebook import Notebook
from rolecall.models.client import LocalLLMClient
from rolecall.models.text.redaction import Redactor
from rolecall.nodes.both_forms import both_forms, edge
from rolecall.nodes.doubt import Bar, bar_for
from rolecall.nodes.init import make_init
from rolecall.nodes.journal import Journal
from rolecall.nodes.router import make_router
from rolecall.nodes.specialist import Desk, make_specialist
from rolecall.nodes.synthesis import TurnWriter, make_synthesis
from rolecall.nodes.tool_runner import make_tool_runner
from rolecall.routing.decision import Decision, Strategy
from rolecall.routing.strategies import make_strategy
from rolecall.telemetry.recorder import NoRecorder, Recorder
from rolecall.tools.recall import History
from rolecall.tools.registry import load_tools, select_tools

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

Assistant = StateGraph[AssistantState, None, AssistantInput, AssistantState]


def build_assistant(
    client: LocalLLMClient,
    *,
    strategy: Strategy | None = None,
    tools: Mapping[str, BaseTool] | None = None,
    recorder: Recorder | None = None,
    transcript: TurnWriter | None = None,
    journal: Journal | None = None,
    notebook: Notebook | None = None,
    history: History | None = None,
) -> Assistant:
    """Wire the assistant for a client's stack. Compile it with a checkpointer of your own.

    Args:
        client: calls the models.
        strategy: who decides; by default what ``settings.routing`` names.
        tools: what specialists may call; by default the packaged and the user's tools.
        recorder: takes telemetry.
        transcript: takes finished turns.
        journal: keeps answers and tool calls from before their step is saved.
        notebook: keeps what models wrote of turns that left the window.
        history: a thread's earlier turns, for the tool ``recall``.

    Raises:
        ConfigError: a role names a tool that is not there.
    """
    stack, settings = client.stack, client.stack.settings
    recorder = recorder or NoRecorder()
    strategy = strategy or make_strategy(client)
    if tools is None:
        tools = tools_of(settings, history)
    bar = _bar(stack)
    redactor = _redactor(settings.filters.redact_secrets, settings.filters.patterns)

    # nodes
    desks = [
        Desk(
            node="answer" if name == ModelRole.ROUTER else name,
            role=role,
            tools=select_tools(tools, stack.models[name][0].tools, name == ModelRole.ROUTER),
        )
        for name, role in stack.roles.items()
    ]
    graph: Assistant = StateGraph(AssistantState, input_schema=AssistantInput)
    init = make_init(settings.turn.max_input_chars, settings.memory, notebook, journal)
    graph.add_node("init", both_forms(init, "init"))
    router = make_router(strategy, list(stack.roles), recorder, journal)
    graph.add_node("router", both_forms(router, "router"))
    for desk in desks:
        specialist = make_specialist(client, desk, settings.turn, recorder, redactor, bar, journal)
        graph.add_node(desk.node, both_forms(specialist, desk.node))
    runner = make_tool_runner(tools, settings.turn.tool_timeout_s, recorder, journal)
    graph.add_node("tool_runner", both_forms(runner, "tool_runner"))
    synthesis = make_synthesis(settings.memory, recorder, redactor, transcript, notebook)
    graph.add_node("synthesis", both_forms(synthesis, "synthesis"))

    # wiring
    nodes = [desk.node for desk in desks]
    graph.add_edge(START, "init")
    graph.add_edge("init", "router")
    graph.add_conditional_edges("router", edge(_who_answers), nodes)
    for node in nodes:
        escalates = node == "answer" and ModelRole.REASONING in nodes
        after = ["tool_runner", "synthesis", *([ModelRole.REASONING.value] if escalates else [])]
        graph.add_conditional_edges(node, edge(_what_next(bar if escalates else None)), after)
    graph.add_conditional_edges("tool_runner", edge(_back_to_speaker), nodes)
    graph.add_edge("synthesis", END)
    return graph


def _who_answers(state: AssistantState) -> str:
    decision = Decision.model_validate(state["decision"])
    return "answer" if decision.role == ModelRole.ROUTER else decision.role


def _what_next(bar: Bar | None) -> Callable[[AssistantState], str | list[Send]]:
    def what_next(state: AssistantState) -> str | list[Send]:
        last = state["messages"][-1]
        calls = getattr(last, "tool_calls", None)
        if calls:
            return [
                Send("tool_runner", {"call": call, "turn": state["turn"], "key": f"{last.id}/{n}"})
                for n, call in enumerate(calls)
            ]
        if bar is not None and bar_for(state, bar).doubt(last):
            return ModelRole.REASONING.value
        return "synthesis"

    return what_next


def _back_to_speaker(state: AssistantState) -> str:
    return str(state["speaker"])


def tools_of(settings: Settings, history: History | None) -> dict[str, BaseTool]:
    """The packaged and the user's tools, as the settings say.

    Raises:
        ConfigError: a folder or a file of tools cannot be used.
    """
    folder = Path(settings.tools_folder) if settings.tools_folder else None
    try:
        return load_tools(Path(settings.workspace), folder, history)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"settings.workspace {settings.workspace!r} or settings.tools_folder cannot be used: "
            f"{error}"
        ) from error


def _bar(stack: Stack) -> Bar:
    """Asking the same model again is no second opinion: then only an empty answer escalates."""
    first = [stack.models[role][0] for role in ("router", "reasoning") if role in stack.models]
    if len({(spec.id, spec.endpoint) for spec in first}) < 2:
        return Bar()
    return Bar(stack.settings.routing.escalate_below, hedging=True)


def _redactor(secrets: bool, patterns: list[str]) -> Redactor | None:
    return Redactor(patterns, secrets=secrets) if secrets or patterns else None


def __getattr__(name: str) -> CompiledStateGraph[Any, Any, Any, Any]:
    """``graph``: the active stack's assistant, compiled without a checkpointer, on first use."""
    if name == "graph":
        from rolecall.graphs.server import graph

        return graph
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
