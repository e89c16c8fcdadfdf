"""The tool runner: one tool call, one task. A failing tool answers the model, never the user."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.errors import GraphBubbleUp
from pydantic import ValidationError

from rolecall.bridge import in_daemon_thread
from rolecall.graphs.state import ToolTask
from rolecall.models.schema_validation import violations
from rolecall.nodes.both_forms import Node
from rolecall.nodes.report import Report
from rolecall.nodes.tool_history import UNREADABLE
from rolecall.telemetry.recorder import Recorder

_MAX_RESULT_CHARS = 20_000


def make_tool_runner(
    tools: Mapping[str, BaseTool], timeout_s: float, recorder: Recorder
) -> Node[ToolTask]:
    """The tool runner's node.

    Args:
        tools: every tool by name.
        timeout_s: how long one call may take.
        recorder: where the call is recorded.
    """

    async def tool_runner(task: ToolTask, config: RunnableConfig) -> dict[str, Any]:
        call = task["call"]
        report = Report(recorder, config, task["turn"], "tool_runner")
        report.event("tool_started", name=call["name"], arguments=call["args"])
        started_at, started = time.time(), time.perf_counter()
        status = "success"
        try:
            async with asyncio.timeout(timeout_s):
                result = await _run(tools, call, config)
        except (GraphBubbleUp, asyncio.CancelledError):
            raise  # a tool that asks a person: LangGraph saves the run and waits
        except TimeoutError:
            status, result = "error", f"Error: no result within {timeout_s:g} seconds"
        except BaseException as error:  # whatever a user's tool does, the turn goes on
            status, result = "error", f"Error: {_say(error)}"
        message = ToolMessage(
            content=result, tool_call_id=str(call["id"]), name=call["name"], status=status
        )
        report.tool(
            call["id"],
            call["name"],
            call["args"],
            status,
            result,
            started_at,
            (time.perf_counter() - started) * 1000.0,
        )
        return {"messages": [message]}

    return tool_runner


async def _run(tools: Mapping[str, BaseTool], call: Any, config: RunnableConfig) -> str:
    tool = tools.get(call["name"])
    if tool is None:
        raise ToolException(f"there is no tool {call['name']!r}. Tools: {', '.join(tools)}")
    if UNREADABLE in call["args"]:
        raise ToolException(f"the arguments are not a JSON object: {call['args'][UNREADABLE]}")
    if isinstance(tool.args_schema, dict):  # LangChain validates pydantic classes only
        wrong = violations(call["args"], tool.args_schema)
        if wrong:
            raise ToolException(f"wrong arguments: {'; '.join(wrong)}")
    if isinstance(tool, StructuredTool) and tool.coroutine is None:
        # a daemon thread: a tool that never returns must not keep the process from ending
        output = await in_daemon_thread(lambda: tool.invoke(call["args"], config))
    else:
        output = await tool.ainvoke(call["args"], config)
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
