"""What is told about a prompt and its length: to the caller, to the user, in errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from rolecall.config.schema import ModelSpec
from rolecall.errors import ContextTooLong
from rolecall.models.fitting import DoesNotFit
from rolecall.models.server_facts import OLLAMA, ServerFacts
from rolecall.models.token_counts import Key, Size, size_of_tools, total
from rolecall.models.wire import CallOptions, Wire


@dataclass(frozen=True)
class Prompt:
    """What is sent in one call, and how long it is.

    Attributes:
        options: the call's, with the context length that Ollama is to load.
        limit: tokens that the model can read, question and answer; ``None``: not known.
        sent: tokens of the prompt.
        exact: whether the runner's tokenizer counted them.
    """

    messages: list[BaseMessage]
    options: CallOptions
    wire: Wire
    key: Key
    size: Size
    limit: int | None
    sent: int
    exact: bool = False
    dropped: int = 0
    shortened: int = 0

    @property
    def report(self) -> dict[str, Any]:
        """For ``response_metadata["context"]``."""
        return {
            "limit": self.limit,
            "sent": self.sent,
            "estimated": not self.exact,
            "dropped_messages": self.dropped,
            "shortened_results": self.shortened,
            "truncated": None,
        }


def note_of(context: Mapping[str, Any] | None) -> str | None:
    """What a user should know about ``response_metadata["context"]``; ``None``: nothing."""
    if not context:
        return None
    notes = []
    limit = context.get("limit")
    reads = f"the model reads {limit:,} tokens" if limit else "the model reads no more"
    if dropped := context.get("dropped_messages"):
        what = "message was" if dropped == 1 else f"{dropped} messages were"
        notes.append(f"the oldest {what} left out: {reads}")
    if shortened := context.get("shortened_results"):
        what = "a tool's result was" if shortened == 1 else f"{shortened} tools' results were"
        notes.append(f"{what} cut in the middle: {reads}")
    if truncated := context.get("truncated"):
        notes.append(
            f"the server has read {truncated['read']:,} of about {truncated['sent']:,} tokens and "
            "cut the rest without a word; the next prompts will be shorter. Load the model there "
            "with a larger context, or for Ollama set api: ollama and context_length"
        )
    return "; ".join(notes) or None


def too_long(
    error: DoesNotFit, prompt: Prompt, spec: ModelSpec, facts: ServerFacts, room: int
) -> ContextTooLong:
    match error.largest:
        case SystemMessage():
            what = "the system prompt takes most of it"
        case HumanMessage():
            what = "the newest message takes most of it"
        case _:
            what = "the newest turn takes most of it"
    if size_of_tools(prompt.options.tools).bytes > total(prompt.messages).bytes:
        what = "the descriptions of the tools take most of it"
    largest = facts.max_context_length or 0
    if spec.context_length == prompt.limit and largest > (prompt.limit or 0):
        remedy = f"set a larger context_length on the model (it can have {largest:,})"
    elif facts.runner == OLLAMA and prompt.wire.api != "ollama":
        remedy = "set api: ollama and a larger context_length on the model"
    else:
        remedy = "load the model with a larger context, or name one that reads more in the stack"
    return ContextTooLong(
        f"{spec.id} at {spec.endpoint}: too long by about {error.over:,} tokens, though all older "
        f"turns were left out. It can be sent {room:,} ({prompt.limit:,} less room for the "
        f"answer); {what}. Shorten it, or {remedy}."
    )
