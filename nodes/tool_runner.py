"""The tool runner: one tool call, one task. A failing tool answers the model, never the user.

A call of a tool that is not safe to repeat stands in the journal from before it is made. What is
done is not done again; what was half done when the process died becomes a question to the user.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.errors import GraphBubbleUp, is_invalid_resume
from pydantic import ValidationError

from rolecall.bridge import in_daemon_thread
from rolecall.graphs.state import ToolTask
from rolecall.models.schema_validation import violations
from rolecall.nodes.both_forms import Node
from rolecall.nodes.half_done import half_done
from rolecall.nodes.journal import CallEntry, Journal, TurnJournal, kept
from rolecall.nodes.report import Report
from rolecall.nodes.tool_history import UNREADABLE
from rolecall.telemetry.recorder import Recorder
from rolecall.tools.functions import SAFE_TO_REPEAT
from rolecall.tools.idempotency import key_of, running

_MAX_RESULT_CHARS = 20_000
_PERHAPS = (
    "The call could not be stopped: it may or may not have happened. "
    "Do not make it again unless the user asks for that."
)


@dataclass(frozen=True)
class Outcome:
    """How a call ended and what the model is told of it.

    ``status`` is ``success``, ``error``, ``skipped`` or ``unknown``.
    """

    status: str
    result: str


def make_tool_runner(
    tools: Mapping[str, BaseTool],
    timeout_s: float,
    recorder: Recorder,
    journal: Journal | None = None,
) -> Node[ToolTask]:
    """The tool runner's node.

    Args:
        tools: every tool by name.
        timeout_s: how long one call may take.
        recorder: where the call is recorded.
        journal: where calls stand that must not be repeated by themselves.
    """

    async def tool_runner(task: ToolTask, config: RunnableConfig) -> dict[str, Any]:
        call = task["call"]
        report = Report(recorder, config, task["turn"], "tool_runner")
        key = task.get("key") or str(call["id"])
        of_turn = TurnJournal.of(journal, config, task["turn"])
        entry = of_turn.call(key, call["name"], call["args"])
        earlier = await entry.earlier()
        if earlier is not None and earlier.status == "begun":
            raise half_done(key, earlier)
        report.event("tool_started", name=call["name"], arguments=call["args"])
        started_at, started = time.time(), time.perf_counter()
        journaled = earlier is not None and earlier.status == "done"
        if earlier is not None and journaled:
            outcome = Outcome(str(earlier.outcome), earlier.result or "")
        else:
            outcome = await _outcome(tools, call, config, timeout_s, entry)
        message = ToolMessage(
            content=outcome.result,
            tool_call_id=str(call["id"]),
            name=call["name"],
            status="success" if outcome.status == "success" else "error",
        )
        report.tool(
            call["id"],
            call["name"],
            call["args"],
            "journaled" if journaled else outcome.status,
            outcome.result,
            started_at,
            (time.perf_counter() - started) * 1000.0,
        )
        return {"messages": [message]}

    return tool_runner


async def _outcome(
    tools: Mapping[str, BaseTool],
    call: Any,
    config: RunnableConfig,
    timeout_s: float,
    entry: CallEntry,
) -> Outcome:
    """Make the call. Whatever a user's tool does, the turn goes on."""
    try:
        tool = _tool_for(tools, call)
    except ToolException as error:
        return Outcome("error", f"Error: {_say(error)}")
    repeatable = bool((tool.metadata or {}).get(SAFE_TO_REPEAT))
    if not repeatable:
        await entry.begin()
    try:
        async with asyncio.timeout(timeout_s):
            with running(idempotency := key_of(entry.key)):
                own = _with_key(config, idempotency)
                outcome, written = await _run(
                    tool, call["args"], own, None if repeatable else entry
                )
    except TimeoutError:
        why = f"Error: no result within {timeout_s:g} seconds"
        if repeatable:
            return Outcome("error", why)
        outcome = Outcome("unknown", f"{why}. {_PERHAPS}")
        written = entry.end(outcome.status, outcome.result)
    except BaseException as error:
        if _asks(error) and not repeatable:
            await entry.let_wait()
        raise  # cancelled, or it asks a person: LangGraph saves the run and waits
    if written is not None:
        await kept(written)
    return outcome


async def _run(
    tool: BaseTool, arguments: Any, config: RunnableConfig, entry: CallEntry | None
) -> tuple[Outcome, Future[None] | None]:
    """Run a tool; with an entry, its end is queued for the journal as soon as it is over."""

    def ended(outcome: Outcome) -> tuple[Outcome, Future[None] | None]:
        return outcome, entry.end(outcome.status, outcome.result) if entry else None

    if isinstance(tool, StructuredTool) and tool.coroutine is None:

        def work() -> tuple[Outcome, Future[None] | None]:
            try:
                outcome = Outcome("success", _text(tool.invoke(arguments, config)))
            except BaseException as error:
                outcome = _failed(error)
            # here, in the tool's thread: its end is known also when the turn was cancelled
            return ended(outcome)

        # a daemon thread: a tool that never returns must not keep the process from ending
        return await in_daemon_thread(work)
    try:
        outcome = Outcome("success", _text(await tool.ainvoke(arguments, config)))
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        outcome = _failed(error)
    return ended(outcome)


def _failed(error: BaseException) -> Outcome:
    """What the model is told of an error.

    Raises:
        the error itself, when it is no failure of the tool's.
    """
    if _asks(error):
        raise error
    return Outcome("error", f"Error: {_say(error)}")


def _asks(error: BaseException) -> bool:
    """Whether a tool asks the user something, or refuses the answer that it got."""
    return isinstance(error, GraphBubbleUp) or is_invalid_resume(error)


def _tool_for(tools: Mapping[str, BaseTool], call: Any) -> BaseTool:
    tool = tools.get(call["name"])
    if tool is None:
        raise ToolException(f"there is no tool {call['name']!r}. Tools: {', '.join(tools)}")
    if UNREADABLE in call["args"]:
        raise ToolException(f"the arguments are not a JSON object: {call['args'][UNREADABLE]}")
    if isinstance(tool.args_schema, dict):  # LangChain validates pydantic classes only
        wrong = violations(call["args"], tool.args_schema)
        if wrong:
            raise ToolException(f"wrong arguments: {'; '.join(wrong)}")
    return tool


def _with_key(config: RunnableConfig, key: str) -> RunnableConfig:
    configurable = {**(config.get("configurable") or {}), "idempotency_key": key}
    return {**config, "configurable": configurable}


def _text(output: Any) -> str:
    text = output if isinstance(output, str) else str(output)
    text = text.encode("utf-8", "replace").decode()  # no model API takes lone surrogates
    if len(text) > _MAX_RESULT_CHARS:
        cut = len(text) - _MAX_RESULT_CHARS
        text = f"{text[:_MAX_RESULT_CHARS]}\n[{cut:,} more characters were cut]"
    return text


def _say(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()[:5]
        )
        return f"wrong arguments: {wrong}"
    text = str(error) or type(error).__name__
    return text if isinstance(error, ToolException) else f"{type(error).__name__}: {text}"
