"""Rewrites summaries as prose, by the router model, when an answer has been given.

The extractive summary stands until the prose is written, and whenever it cannot be: no model, too
slow, killed, or the next turn began.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Any

from langchain_core.messages import HumanMessage, SystemMessage

from rolecall.config.load import PACKAGED
from rolecall.config.schema import MemorySettings, ModelRole
from rolecall.errors import StateError
from rolecall.memory.store import SummaryStore
from rolecall.memory.summary import Summary, as_text, grounded, prose_tokens, tokens_in
from rolecall.models.calls import CallRecord
from rolecall.models.client import LocalLLMClient
from rolecall.models.text.reasoning import split_reasoning
from rolecall.models.wire import CallOptions
from rolecall.telemetry.recorder import Recorder
from rolecall.threads.checkpoints import question_id
from rolecall.threads.transcript import Accepted, Transcript

NAME = "summary"

_PAUSE_S = 0.3  # turns that follow each other at once ask for no summaries
_ENOUGH = 0.5  # of the window has left since the last prose
_SOURCE_TOKENS = 600
_LONGEST_TEXT = 500  # characters of a question or an answer that are read again
_MOST_TURNS = 20
_LEAST_CHARS = 20
_REFUSALS = ("sorry", "cannot", "can't", "as an ai", "language model")
_MOST_WAITING = 256  # threads


class Summariser:
    """Knows whose prose is due, writes it, and finds it again.

    Args:
        client: its router model writes.
        transcript: where the turns that left can be read.
        store: where the prose is kept.
        recorder: told of the model's calls.
        redact: blots secrets out.
    """

    def __init__(
        self,
        client: LocalLLMClient,
        transcript: Transcript,
        store: SummaryStore,
        recorder: Recorder,
        redact: Callable[[str], str],
    ) -> None:
        self._client = client
        self._bounds: MemorySettings = client.stack.settings.memory
        self._transcript = transcript
        self._store = store
        self._recorder = recorder
        self._redact = redact
        self._due: dict[str, Summary] = {}
        self._one_at_a_time = asyncio.Semaphore(1)
        self._system = SystemMessage(
            (PACKAGED / "prompts" / "summary.md").read_text(encoding="utf-8").strip()
        )

    # --- for nodes ----------------------------------------------------------------------------

    async def prose(self, thread_id: str, summary: Summary) -> str | None:
        """What the model wrote of exactly the turns that ``summary`` covers, if it did."""
        if not self._wanted(summary):
            return None
        with suppress(StateError):  # the extractive one stands; a turn does not fail for it
            return await self._store.get(thread_id, summary["covers"])
        return None

    def due(self, thread_id: str, summary: Summary) -> None:
        """Turns have left the window: note it if enough have."""
        if self._wanted(summary):
            self._due.pop(thread_id, None)
            self._due[thread_id] = summary
            if len(self._due) > _MOST_WAITING:
                del self._due[next(iter(self._due))]

    # --- after a turn -------------------------------------------------------------------------

    async def work(self, turn: Accepted) -> None:
        """Write a thread's prose if it is due. What was cancelled stays due.

        Raises:
            RolecallError: the model cannot be reached, or the prose cannot be saved.
        """
        summary = self._due.get(turn.thread_id)
        if summary is None:
            return
        await asyncio.sleep(_PAUSE_S)
        async with self._one_at_a_time:
            try:
                prose = await self._written(turn, summary)
                if prose is not None:
                    await self._store.save(
                        turn.thread_id, summary["covers"], summary["turns"], prose
                    )
            except Exception:
                self._done(turn.thread_id, summary)
                raise
            self._done(turn.thread_id, summary)

    def _done(self, thread_id: str, summary: Summary) -> None:
        if self._due.get(thread_id) is summary:
            del self._due[thread_id]

    def _wanted(self, summary: Summary) -> bool:
        enough = self._bounds.window_tokens * _ENOUGH
        return self._bounds.summary == "model" and summary["pending"] >= enough

    async def _written(self, turn: Accepted, summary: Summary) -> str | None:
        """The prose; what had come when time was over; ``None`` if it is no use."""
        source = await self._source(turn.thread_id, summary)
        options = CallOptions(max_tokens=prose_tokens(self._bounds.summary_tokens), temperature=0.0)
        text = ""

        def called(record: CallRecord) -> None:
            row: dict[str, Any] = record.as_dict()
            self._recorder.add("model_calls", {"trace_id": turn.trace_id, "node": NAME, **row})

        with suppress(TimeoutError):
            async with asyncio.timeout(self._bounds.summary_deadline_s):
                messages = [self._system, HumanMessage(source)]
                async with aclosing(
                    self._client.astream(
                        ModelRole.ROUTER, messages, options=options, on_call=called
                    )
                ) as chunks:
                    async for chunk in chunks:
                        text += chunk.text
        return _useful(self._redact(split_reasoning(text)[1]), source)

    async def _source(self, thread_id: str, summary: Summary) -> str:
        """The notes so far, and the newest of the turns that they were taken from."""
        parts = [f"Notes so far:\n{as_text(summary)}"]
        room = _SOURCE_TOKENS - tokens_in(parts[0])
        said: list[str] = []
        for row in reversed(await self._left(thread_id, summary)):
            text = f"User: {_short(row['question'])}\nAssistant: {_short(row['answer'])}"
            room -= tokens_in(text)
            if room < 0:
                break
            said.append(self._redact(text))
        if said:
            parts.append("Said since:\n" + "\n".join(reversed(said)))
        return "\n\n".join([*parts, "Write the notes anew."])

    async def _left(self, thread_id: str, summary: Summary) -> list[dict[str, Any]]:
        """The last turns that left the window since the prose before, in order."""
        last = await self._number(thread_id, summary["covers"])
        first = await self._number(thread_id, summary["prose_covers"] or "")
        if not last:
            return []
        rows = await self._transcript.turns(thread_id, limit=_MOST_TURNS, before=last + 1)
        return [row for row in rows if row["number"] > first]

    async def _number(self, thread_id: str, message_id: str) -> int:
        turn_id = message_id.removeprefix(question_id(""))
        found = await self._transcript.turn_before(thread_id, turn_id)
        return found[0].number if found else 0


def _short(text: str | None) -> str:
    line = " ".join((text or "").split())
    return line if len(line) <= _LONGEST_TEXT else line[:_LONGEST_TEXT] + " …"


def _useful(text: str, source: str) -> str | None:
    """The sentences that name nothing the source does not name; ``None`` for a refusal."""
    whole = text.strip()
    if len(whole) < _LEAST_CHARS or any(word in whole[:80].lower() for word in _REFUSALS):
        return None
    kept = grounded(whole, source)
    return kept if len(kept) >= _LEAST_CHARS else None
