"""Builds one reply from a wire's stream: text, reasoning, tool calls, usage, finish reason.

Whatever the runner speaks, what comes out is the same: text in ``content``, reasoning in
``additional_kwargs["reasoning_content"]`` (a reasoning block in ``content_blocks``), tool calls
as tool calls, also those that the model wrote as text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from pydantic import BaseModel

from rolecall.models.arguments import fitted
from rolecall.models.failures import AnswerTooLong
from rolecall.models.native_calls import NativeCalls, new_id
from rolecall.models.text.reasoning import ReasoningSplitter, split_reasoning
from rolecall.models.text.reasoning_marks import LONE_CLOSER
from rolecall.models.text.redaction import Redactor
from rolecall.models.text.tool_calls import TextCall, ToolCallGate

MAX_CHARACTERS = 1_000_000
"""Of one answer, its reasoning and its tool calls together: about 250,000 tokens."""

_CALL_MARKS = (
    "<tool",
    "TOOL_CALLS]",
    "<function",
    "<name>",
    "<invoke",
    "python_tag",
    '"name"',
    '"tool"',
)


class ReplyBuilder:
    """One reply while it streams. Feed it the wire's chunks; it returns what may be shown.

    Args:
        tools: the JSON schema of each tool's arguments, by name.
        redactor: blots out secrets as the text passes.
        heard: results of tools in the prompt; a call that is only quoted from one is not made.
    """

    def __init__(
        self,
        tools: Mapping[str, Mapping[str, Any]],
        redactor: Redactor | None = None,
        heard: Sequence[str] = (),
    ) -> None:
        self._heard = [text for text in heard if any(mark in text for mark in _CALL_MARKS)]
        self._tools = tools
        self._splitter = ReasoningSplitter()
        self._gate = ToolCallGate(tools)
        self._filter = redactor.stream() if redactor else None
        self._reasoning_filter = redactor.stream() if redactor else None
        self._native = NativeCalls()
        self._metadata: dict[str, Any] = {}
        self._logprobs: list[float] = []
        self.usage: UsageMetadata | None = None
        self.finish_reason: str | None = None
        self._spoke = False
        self._left = MAX_CHARACTERS

    def feed(self, generation: ChatGenerationChunk) -> list[AIMessageChunk]:
        """Take one chunk from the wire.

        Raises:
            AnswerTooLong: with it, the answer is longer than :data:`MAX_CHARACTERS`.
        """
        chunk = generation.message
        if not isinstance(chunk, AIMessageChunk):
            return []
        if generation.generation_info:
            self._note(generation.generation_info)
        if chunk.response_metadata:
            self._note(chunk.response_metadata)
        usage = chunk.usage_metadata
        if usage and usage["input_tokens"] >= 0 and usage["output_tokens"] >= 0:
            self.usage = usage  # some runners count up with every chunk
        for call in chunk.tool_call_chunks:
            self._native.feed(call)
        text, reasoning = _parts(chunk)
        arguments = sum(len(call["args"] or "") for call in chunk.tool_call_chunks)
        self._left -= len(text) + len(reasoning) + arguments
        if self._left < 0:
            raise AnswerTooLong(f"{MAX_CHARACTERS:,} characters")
        out: list[AIMessageChunk] = []
        self._spoke = self._spoke or bool(text or reasoning)
        if reasoning:
            out += self._reasoning(reasoning)
        if text:
            for piece in self._splitter.feed(text):
                out += (
                    self._reasoning(piece.text)
                    if piece.kind == "reasoning"
                    else self._text(self._gate.feed(piece.text))
                )
        return out

    @property
    def complete(self) -> bool:
        """Whether the stream said, one way or another, that the answer is at its end."""
        if self.finish_reason is not None:
            return True
        return self.usage is not None and (self._spoke or bool(self._native))

    def close(self) -> list[AIMessageChunk]:
        """The end of the stream: what was held back, tool calls, usage, finish reason."""
        out: list[AIMessageChunk] = []
        for piece in self._splitter.close():
            out += (
                self._reasoning(piece.text)
                if piece.kind == "reasoning"
                else self._text(self._gate.feed(piece.text))
            )
        held, written = self._gate.close()
        out += self._text(held)
        if self._filter is not None and self._reasoning_filter is not None:
            out += _chunks(text=self._filter.close())
            out += _chunks(reasoning=self._reasoning_filter.close())
        cut = self.finish_reason == "length"
        meant = [call for call in written if not any(_quotes(call, t) for t in self._heard)]
        native = self._native.close(cut=cut)
        calls = native or [_as_chunk(index, call) for index, call in enumerate(meant)]
        calls = [_fitting(call, self._tools.get(call["name"] or "")) for call in calls]
        if calls and not cut:
            self.finish_reason = "tool_calls"
        elif self.finish_reason == "tool_calls":
            self.finish_reason = "stop"  # announced, and none came
        metadata = {key: self._metadata[key] for key in ("logprobs",) if key in self._metadata}
        metadata["finish_reason"] = self.finish_reason or "stop"
        if calls and not native:
            metadata["calls_as_text"] = "plain" if self._gate.unmarked else "marked"
        if self._logprobs:
            metadata["mean_logprob"] = sum(self._logprobs) / len(self._logprobs)
        out.append(
            AIMessageChunk(
                content="",
                tool_call_chunks=calls,
                usage_metadata=self.usage,
                response_metadata=metadata,
                chunk_position="last",
            )
        )
        return out

    def _text(self, text: str) -> list[AIMessageChunk]:
        if self._filter is not None and text:
            text = self._filter.feed(text)
        return _chunks(text=text)

    def _reasoning(self, text: str) -> list[AIMessageChunk]:
        if self._reasoning_filter is not None:
            text = self._reasoning_filter.feed(text)
        return _chunks(reasoning=text)

    def _note(self, info: dict[str, Any]) -> None:
        reason = info.get("finish_reason") or info.get("done_reason")
        if reason:
            self.finish_reason = str(reason)
        details = info.get("incomplete_details")
        if isinstance(details, dict) and details.get("reason") == "max_output_tokens":
            self.finish_reason = "length"
        logprobs = _plain(info.get("logprobs"))
        if not logprobs:
            return
        self._metadata.setdefault("logprobs", logprobs)
        entries = logprobs.get("content") if isinstance(logprobs, dict) else logprobs
        for entry in entries if isinstance(entries, list) else ():
            value = entry.get("logprob") if isinstance(entry, dict) else None
            if isinstance(value, int | float) and math.isfinite(value):
                self._logprobs.append(float(value))


def _quotes(call: TextCall, text: str) -> bool:
    """Whether a call written as text stands in a tool's result: a file must not give orders."""
    return call.name in text and all(str(value) in text for value in call.arguments.values())


def final(chunks: list[AIMessageChunk]) -> AIMessage:
    """The whole reply as one message."""
    merged = chunks[0]
    if len(chunks) > 1:
        merged = merged.__add__(chunks[1:])
    content, extras = merged.content, merged.additional_kwargs
    lone = isinstance(content, str) and LONE_CLOSER.search(content) is not None
    if isinstance(content, str) and lone and "reasoning_content" not in extras:
        # only the whole text can show that the chat template had opened the reasoning
        reasoning, answer = split_reasoning(content)
        if reasoning:
            content, extras = answer, {**extras, "reasoning_content": reasoning}
    return AIMessage(
        content=content,
        additional_kwargs=extras,
        response_metadata=merged.response_metadata,
        tool_calls=merged.tool_calls,
        invalid_tool_calls=merged.invalid_tool_calls,
        usage_metadata=merged.usage_metadata,
        id=merged.id,
    )


def reasoning_of(message: AIMessage) -> str:
    """A reply's reasoning trace, empty when there is none."""
    return str(message.additional_kwargs.get("reasoning_content") or "")


def _parts(chunk: AIMessageChunk) -> tuple[str, str]:
    reasoning = chunk.additional_kwargs.get("reasoning_content") or ""
    if isinstance(chunk.content, str):
        return chunk.content, reasoning
    texts: list[str] = []
    traces: list[str] = [reasoning] if reasoning else []
    for block in chunk.content:
        if isinstance(block, str):
            texts.append(block)
        elif block.get("type") == "text":
            texts.append(block.get("text") or "")
        elif block.get("type") == "reasoning":
            traces += [part.get("text") or "" for part in block.get("summary") or []]
            traces += [part.get("text") or "" for part in block.get("content") or []]
            traces.append(block.get("reasoning") or "")
    return "".join(texts), "".join(traces)


def _chunks(text: str = "", reasoning: str = "") -> list[AIMessageChunk]:
    if text:
        return [AIMessageChunk(content=text)]
    if reasoning:
        return [AIMessageChunk(content="", additional_kwargs={"reasoning_content": reasoning})]
    return []


def _plain(logprobs: Any) -> Any:
    """Ollama's client gives objects, which could not be saved with the message."""
    if not isinstance(logprobs, list):
        return logprobs
    return [e.model_dump() if isinstance(e, BaseModel) else e for e in logprobs]


def _fitting(call: ToolCallChunk, schema: Mapping[str, Any] | None) -> ToolCallChunk:
    """The call with arguments of the types that its tool's schema names, where that is clear."""
    if not schema:
        return call
    try:
        arguments = json.loads(call["args"] or "")
    except ValueError:
        return call
    if not isinstance(arguments, dict):
        return call
    return {**call, "args": json.dumps(fitted(arguments, schema))}


def _as_chunk(index: int, call: TextCall) -> ToolCallChunk:
    return tool_call_chunk(
        name=call.name, args=json.dumps(call.arguments), id=new_id(), index=index
    )
