"""Asks one model in one way: through Rolecall, or bare.

``rolecall``: as in a turn whose role the user fixed: the role's prompt and tools, calls found and
checked, SYNTHESIS; objects by schema, asked for again once; decisions by the stack's strategy.
``bare``: the question alone; objects by words only; decisions by the router model alone. Sampling,
seed and token limit are the same on both, and no other model stands in.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage

from rolecall.bench.cases import Case
from rolecall.bench.checks import (
    UNSCORED,
    Mark,
    check_calls,
    check_label,
    check_text,
    check_value,
    read_object,
)
from rolecall.bench.code import check_code
from rolecall.bench.sandbox import Sandbox
from rolecall.bench.suites import Through
from rolecall.config.schema import Stack
from rolecall.errors import (
    AnswerTruncated,
    AnswerUnfit,
    BadInput,
    ContextTooLong,
    NoModelReachable,
)
from rolecall.models.calls import CallRecord
from rolecall.models.client import LocalLLMClient
from rolecall.models.reply import final
from rolecall.models.wire import CallOptions
from rolecall.progress import Progress
from rolecall.routing.llm import LlmStrategy
from rolecall.routing.strategies import make_strategy

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

Arm = Literal["rolecall", "bare"]
BuildGraph = Callable[[LocalLLMClient, Path], "CompiledStateGraph[Any, Any, Any, Any]"]
"""Makes the assistant's graph for a client; the folder is an empty workspace."""

_IN_WORDS = frozenset({"answer", "must", "tests", None})


@dataclass
class Answer:
    """What came of asking: its mark, its text and the calls that it took."""

    mark: Mark
    text: str = ""
    calls: list[CallRecord] = field(default_factory=list)
    seconds: float = 0.0


class Subject:
    """One model in one role, asked in one way. Use as an async context manager.

    Args:
        stack: as ``plan.bench_stack`` makes it.
        build_graph: makes the assistant.
        sandbox: runs code; without one, cases with tests must not be asked.
    """

    def __init__(
        self,
        stack: Stack,
        role: str,
        arm: Arm,
        through: Through,
        *,
        build_graph: BuildGraph,
        sandbox: Sandbox | None,
        progress: Progress | None = None,
    ) -> None:
        self._stack = stack
        self._role = role
        self._arm = arm
        self._through = through
        self._build_graph = build_graph
        self._sandbox = sandbox
        self._deadline_s = stack.settings.turn.deadline_s
        self._client = LocalLLMClient(stack, progress=progress)
        self._graph: CompiledStateGraph[Any, Any, Any, Any] | None = None
        self._workspace = tempfile.TemporaryDirectory(prefix="rolecall-bench-")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()
        self._workspace.cleanup()

    async def ready(self) -> None:
        """Load the model, so that no answer pays for it. Raises ``RolecallError``."""
        await self._client.prepare(self._role)

    async def ask(self, case: Case) -> Answer:
        """Ask one case.

        A model that cannot read so much, gives no object or takes too long is marked 0.

        Raises:
            NoModelReachable, ModelCallFailed: the endpoint failed; that says nothing of the model.
        """
        answer = Answer(UNSCORED)
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._ask(case, answer)
        except (ContextTooLong, BadInput) as error:
            answer.mark = _failed(case, str(error).splitlines()[0])
        except (AnswerTruncated, AnswerUnfit) as error:
            answer.mark, answer.text = _failed(case, type(error).__name__), error.partial
        except TimeoutError:
            answer.mark = _failed(case, f"took longer than {self._deadline_s:g} s")
        else:
            if case.kind in _IN_WORDS:
                answer.seconds = time.perf_counter() - started  # the tests' time is not the model's
                answer.mark = await self._check(case, answer.text)
        answer.seconds = answer.seconds or time.perf_counter() - started
        return answer

    async def _ask(self, case: Case, answer: Answer) -> None:
        kind = case.kind
        if kind == "label":
            await self._decide(case, answer)
        elif kind == "call":
            reply = await self._say(case, answer, CallOptions(tools=tuple(case.tools)))
            calls = [{"name": call["name"], "args": call["args"]} for call in reply.tool_calls]
            answer.text = json.dumps(calls, ensure_ascii=False) if calls else reply.text
            answer.mark = check_calls(case, calls)
        elif kind == "value":
            await self._object(case, answer)
        elif self._through == "assistant" and self._arm == "rolecall":
            await self._turn(case, answer)
        else:
            answer.text = (await self._say(case, answer, CallOptions())).text

    async def _check(self, case: Case, text: str) -> Mark:
        if case.tests is None:
            return check_text(case, text)
        if self._sandbox is None:
            return Mark(None, "no sandbox")
        return await asyncio.to_thread(check_code, case, text, self._sandbox)

    async def _decide(self, case: Case, answer: Answer) -> None:
        roles = list(self._stack.roles.values())
        bare = self._arm == "bare"
        strategy = LlmStrategy(self._client, roles) if bare else make_strategy(self._client)
        routed = await strategy.decide(case.prompt, case.context, on_call=_into(answer))
        asked = bare or isinstance(strategy, LlmStrategy) or bool(answer.calls)
        if asked and not any(call.status == "ok" for call in answer.calls):
            raise NoModelReachable(f"the router model did not answer: {routed.decision.reason}")
        answer.text = routed.decision.label
        answer.mark = check_label(case, answer.text)

    async def _object(self, case: Case, answer: Answer) -> None:
        schema = case.json_schema or {}
        if self._arm == "bare":
            wanted = f"Answer with JSON only, of this JSON schema:\n{json.dumps(schema)}"
            asked = case.model_copy(update={"prompt": f"{case.prompt}\n\n{wanted}"})
            answer.text = (await self._say(asked, answer, CallOptions())).text
            answer.mark = check_value(case, read_object(case, answer.text))
            return
        model = self._client.chat_model(self._role, on_call=_into(answer))
        found = await model.with_structured_output(schema).ainvoke(self._messages(case))
        answer.text = json.dumps(found, ensure_ascii=False)
        answer.mark = check_value(case, found)

    def _messages(self, case: Case) -> list[Any]:
        earlier = [HumanMessage(text) for text in case.context]
        said = [HumanMessage("\n\n".join([*(str(m.content) for m in earlier), case.prompt]))]
        if self._arm == "bare":
            return list(said)
        return [SystemMessage(self._stack.roles[self._role].prompt), *said]

    async def _say(self, case: Case, answer: Answer, options: CallOptions) -> AIMessage:
        chunks: list[AIMessageChunk] = []
        stream = self._client.astream(
            self._role, self._messages(case), options=options, on_call=_into(answer)
        )
        async with aclosing(stream):
            async for chunk in stream:
                chunks.append(chunk)
        return final(chunks)

    async def _turn(self, case: Case, answer: Answer) -> None:
        """One run of the assistant, with no checkpoints, transcript or telemetry."""
        if self._graph is None:
            self._graph = self._build_graph(self._client, Path(self._workspace.name))
        given = {"messages": self._messages(case)[1:], "role": self._role}
        config: Any = {
            "configurable": {"deadline_at": time.time() + self._deadline_s},
            "recursion_limit": 2 * self._stack.settings.turn.max_tool_rounds + 16,
        }
        async for part in self._graph.astream(given, config, stream_mode="custom"):
            if part["type"] == "call":
                answer.calls.append(CallRecord(**part["call"]))
            elif part["type"] == "answer":
                answer.text = part["answer"]


def _failed(case: Case, why: str) -> Mark:
    return Mark(None if case.kind is None else 0.0, why)


def _into(answer: Answer) -> Callable[[CallRecord], None]:
    return answer.calls.append
