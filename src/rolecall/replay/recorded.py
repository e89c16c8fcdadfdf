"""Tools in a replay: what is not safe to repeat is answered from the original turn, or not called.

A call counts as the original's when the same tool is called with the same arguments.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from pydantic import BaseModel

from rolecall.replay.comparison import NOT_MADE, RAN, RECORDED, How
from rolecall.threads.journal import DONE, Journal, TurnKey
from rolecall.tools.functions import SAFE_TO_REPEAT

_ERROR = "Error: "
_NOT_MADE = (
    "this call was not made: the turn is only replayed, {name} is not safe to repeat, and the "
    "original turn did not call it with these arguments. Answer without its result."
)


@dataclass(frozen=True)
class RecordedCall:
    """A tool call of the original turn, as it ended.

    Attributes:
        outcome: ``success``, ``error``, ``skipped`` or ``unknown``.
        result: what the model was told.
    """

    name: str
    arguments: dict[str, Any]
    outcome: str
    result: str


class RecordedCalls:
    """The calls of the turn that is being replayed; one turn at a time."""

    def __init__(self) -> None:
        self._calls: list[RecordedCall] = []
        self._used: set[int] = set()
        self._how: dict[str, How] = {}

    def begin(self, calls: Iterable[RecordedCall]) -> None:
        """Take up another turn's calls."""
        self._calls, self._used, self._how = list(calls), set(), {}

    def how(self, name: str, arguments: Any) -> How:
        """What became of a call of the replay."""
        return self._how.get(_named(name, arguments), RAN)

    def guarded(self, tools: Mapping[str, BaseTool]) -> dict[str, BaseTool]:
        """The tools, with those that are not safe to repeat replaced."""
        return {
            name: tool if (tool.metadata or {}).get(SAFE_TO_REPEAT) else _Replayed.of(tool, self)
            for name, tool in tools.items()
        }

    def result(self, tool: BaseTool, arguments: dict[str, Any]) -> str:
        """What the original call gave. Calls that were made several times answer in their order.

        Raises:
            ToolException: it failed then too, or there was no such call.
            ValidationError: the tool does not take such arguments.
        """
        wanted = _normal(tool, arguments)
        alike = [
            place
            for place, call in enumerate(self._calls)
            if call.name == tool.name and _same(tool, call.arguments, wanted)
        ]
        self._how[_named(tool.name, arguments)] = RECORDED if alike else NOT_MADE
        if not alike:
            raise ToolException(_NOT_MADE.format(name=tool.name))
        place = next((one for one in alike if one not in self._used), alike[-1])
        self._used.add(place)
        call = self._calls[place]
        if call.outcome != "success":
            raise ToolException(call.result.removeprefix(_ERROR))
        return call.result


class _Replayed(BaseTool):
    """Stands in for a tool: same name, description and arguments, but it does nothing."""

    inner: BaseTool
    calls: Any

    @classmethod
    def of(cls, tool: BaseTool, calls: RecordedCalls) -> _Replayed:
        return cls(
            name=tool.name,
            description=tool.description,
            args_schema=tool.args_schema,
            metadata={**(tool.metadata or {}), SAFE_TO_REPEAT: True},
            inner=tool,
            calls=calls,
        )

    @property
    def tool_call_schema(self) -> Any:
        return self.inner.tool_call_schema

    def _run(self, **arguments: Any) -> Any:
        return self.calls.result(self.inner, arguments)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002
        return self.calls.result(self.inner, input)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002
        return self.calls.result(self.inner, input)


async def journaled_calls(journal: Journal, turn: TurnKey) -> list[RecordedCall]:
    """The calls that are not safe to repeat and that a turn has made, from its journal."""
    return [
        RecordedCall(call.name, call.arguments, call.outcome or "unknown", call.result or "")
        for call in await journal.calls_of_turn(turn)
        if call.status == DONE
    ]


def calls_in(messages: Iterable[AnyMessage]) -> list[RecordedCall]:
    """The calls of the last turn in a conversation, with their results."""
    calls: dict[str, tuple[str, dict[str, Any]]] = {}
    found: list[RecordedCall] = []
    for message in messages:
        if isinstance(message, HumanMessage):
            calls, found = {}, []
        elif isinstance(message, AIMessage):
            calls |= {str(call["id"]): (call["name"], call["args"]) for call in message.tool_calls}
        elif isinstance(message, ToolMessage) and message.tool_call_id in calls:
            name, arguments = calls[message.tool_call_id]
            found.append(RecordedCall(name, arguments, message.status, message.text))
    return found


def _named(name: str, arguments: Any) -> str:
    return json.dumps([name, arguments], sort_keys=True, default=repr)


def _same(tool: BaseTool, arguments: dict[str, Any], wanted: Any) -> bool:
    try:
        return bool(_normal(tool, arguments) == wanted)
    except ValueError:  # the tool has changed since
        return False


def _normal(tool: BaseTool, arguments: Any) -> Any:
    """Arguments as the tool gets them: defaults filled in, ``"1"`` for a number read as 1."""
    schema = tool.args_schema
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        given = schema.model_validate(arguments)
        return json.loads(json.dumps(given.model_dump(mode="python"), sort_keys=True, default=repr))
    return json.loads(json.dumps(arguments, sort_keys=True, default=repr))
