"""The events of a streamed response, in the order that OpenAI's reference gives them.

Local models think, then speak, then call tools, but some come back to thinking. So there is one
``reasoning`` item and one ``message`` item at most, both open until the answer's end; a delta
names its item.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from langchain_core.messages import AIMessageChunk
from openai.types import responses as api
from openai.types.responses import ResponseStreamEvent

from rolecall.models.responses.items import Item, message_item, new_id, reasoning_item
from rolecall.models.responses.result import response_from


class _Kind(NamedTuple):
    prefix: str
    part: dict[str, Any]
    make: Any
    delta: Any
    done: Any
    name: str


_KINDS = {
    "reasoning": _Kind(
        "rs",
        {"type": "reasoning_text"},
        reasoning_item,
        api.ResponseReasoningTextDeltaEvent,
        api.ResponseReasoningTextDoneEvent,
        "response.reasoning_text",
    ),
    "message": _Kind(
        "msg",
        {"type": "output_text", "annotations": []},
        message_item,
        api.ResponseTextDeltaEvent,
        api.ResponseTextDoneEvent,
        "response.output_text",
    ),
}
_ENDS: dict[str, Any] = {
    "completed": api.ResponseCompletedEvent,
    "incomplete": api.ResponseIncompleteEvent,
    "failed": api.ResponseFailedEvent,
}


class Events:
    """Numbers and builds the events of one response.

    Attributes:
        ids: of the ``reasoning`` and the ``message``, in the order in which they began.
    """

    def __init__(self, head: dict[str, Any]) -> None:
        self._head = head
        self._number = -1
        self._texts: dict[str, list[str]] = {}
        self.ids: dict[str, str] = {}

    def begin(self) -> Iterator[ResponseStreamEvent]:
        """The response is under way."""
        for name, make in (
            ("created", api.ResponseCreatedEvent),
            ("in_progress", api.ResponseInProgressEvent),
        ):
            yield self._event(make, f"response.{name}", response=response_from(self._head))

    def of(self, chunk: AIMessageChunk) -> Iterator[ResponseStreamEvent]:
        """What a chunk of the client's stream brings."""
        reasoning = chunk.additional_kwargs.get("reasoning_content")
        for kind, text in (("reasoning", reasoning), ("message", chunk.text)):
            if text:
                yield from self._delta(kind, str(text))

    def items_end(self, calls: list[Item], *, complete: bool) -> Iterator[ResponseStreamEvent]:
        """The end of the items, then the calls, each whole: they come with the last chunk."""
        status = "completed" if complete else "incomplete"
        for index, kind in enumerate(self.ids):
            yield from self._item_end(kind, index, status)
        for index, call in enumerate(calls, len(self.ids)):
            yield from self._call(call, index)

    def end(self, response: dict[str, Any], parsed: Any = None) -> ResponseStreamEvent:
        """The last event, with the whole response."""
        status = response["status"]
        return self._event(
            _ENDS[status], f"response.{status}", response=response_from(response, parsed)
        )

    def partial_items(self) -> list[Item]:
        """The items of an answer that broke off."""
        return [
            _KINDS[kind].make(identity, "".join(self._texts[kind]), "incomplete")
            for kind, identity in self.ids.items()
        ]

    def _delta(self, kind: str, text: str) -> Iterator[ResponseStreamEvent]:
        form = _KINDS[kind]
        if kind not in self.ids:
            identity = self.ids[kind] = new_id(form.prefix)
            self._texts[kind] = []
            index = len(self.ids) - 1
            item = form.make(identity, "", "in_progress")
            yield self._item_event("added", item, index)
            yield self._part_event("added", form, identity, index, "")
        self._texts[kind].append(text)
        where = {"item_id": self.ids[kind], "output_index": list(self.ids).index(kind)}
        more: dict[str, Any] = {"logprobs": []} if kind == "message" else {}
        yield self._event(
            form.delta, f"{form.name}.delta", delta=text, content_index=0, **where, **more
        )

    def _item_end(self, kind: str, index: int, status: str) -> Iterator[ResponseStreamEvent]:
        form, identity, text = _KINDS[kind], self.ids[kind], "".join(self._texts[kind])
        where = {"item_id": identity, "output_index": index}
        more: dict[str, Any] = {"logprobs": []} if kind == "message" else {}
        yield self._event(
            form.done, f"{form.name}.done", text=text, content_index=0, **where, **more
        )
        yield self._part_event("done", form, identity, index, text)
        yield self._item_event("done", form.make(identity, text, status), index)

    def _call(self, call: Item, index: int) -> Iterator[ResponseStreamEvent]:
        name = "response.function_call_arguments"
        where = {"item_id": call["id"], "output_index": index}
        begun = {**call, "arguments": "", "status": "in_progress"}
        yield self._item_event("added", begun, index)
        yield self._event(
            api.ResponseFunctionCallArgumentsDeltaEvent,
            f"{name}.delta",
            delta=call["arguments"],
            **where,
        )
        yield self._event(
            api.ResponseFunctionCallArgumentsDoneEvent,
            f"{name}.done",
            arguments=call["arguments"],
            name=call["name"],
            **where,
        )
        yield self._item_event("done", call, index)

    def _item_event(self, what: str, item: Item, index: int) -> ResponseStreamEvent:
        make = (
            api.ResponseOutputItemAddedEvent if what == "added" else api.ResponseOutputItemDoneEvent
        )
        return self._event(make, f"response.output_item.{what}", item=item, output_index=index)

    def _part_event(
        self, what: str, form: _Kind, identity: str, index: int, text: str
    ) -> ResponseStreamEvent:
        make: Any = (
            api.ResponseContentPartAddedEvent
            if what == "added"
            else api.ResponseContentPartDoneEvent
        )
        return self._event(
            make,
            f"response.content_part.{what}",
            item_id=identity,
            output_index=index,
            content_index=0,
            part={**form.part, "text": text},
        )

    def _event(self, make: Any, kind: str, **values: Any) -> ResponseStreamEvent:
        self._number += 1
        event: ResponseStreamEvent = make.construct(
            type=kind, sequence_number=self._number, **values
        )
        return event
