"""Turns of one assistant: accepted or taken up again, one at a time per thread."""

from __future__ import annotations

import secrets
import uuid
from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.types import Command

from rolecall.after_turn import AfterTurns
from rolecall.errors import UsageError
from rolecall.nodes.half_done import decide, key_in
from rolecall.opened import Opened
from rolecall.reply import Part, Reply
from rolecall.stop import Stops
from rolecall.threads.checkpoints import next_of, question_id, thread_config, turn_of
from rolecall.threads.lock import thread_lock
from rolecall.threads.transcript import Accepted, check_thread_id, unknown_thread
from rolecall.turn import Tell, TurnRun, unheard, waiting_on


class Turns:
    """Runs turns, each under its thread's lock.

    Args:
        opened: the graph and this home's threads.
        after: the work that follows a turn.
    """

    def __init__(self, opened: Opened, after: AfterTurns) -> None:
        self.opened = opened
        self.after = after
        self.stops = Stops(opened.stack.settings.turn.stop_within_s)
        self._run = TurnRun(opened.graph, opened.stack, opened.transcript, opened.recorder)

    async def ask(
        self, question: str, thread: str | None, role: str | None, tell: Tell = unheard
    ) -> Reply:
        """Accept a question, which was checked, and answer it; ``tell`` hears every part."""
        opened = self.opened
        thread_id = thread or f"t-{secrets.token_hex(4)}"
        self.after.give_way(thread_id)
        wait_s = opened.stack.settings.turn.wait_for_thread_s
        locked = thread_lock(opened.locks, thread_id, wait_s)
        async with self.stops.turn(thread_id) as stop, locked:
            stop.accepts()
            turn = await opened.transcript.accept(
                thread_id, uuid.uuid4().hex, uuid.uuid4().hex, question, role
            )
            reply = await self._run.run(turn, first_input(turn), tell, stop, new_turn=True)
        return self._finished(turn, reply, tell)

    async def resume(self, thread: str, answer: Any, tell: Tell = unheard) -> Reply:
        """Finish the unfinished turn of a thread.

        Raises:
            UnknownThread: there is no such thread.
            UsageError: its last turn is finished, or waits for an answer and none is given that
                fits, or an answer is given for which it does not wait.
        """
        opened = self.opened
        thread_id = check_thread_id(thread)
        if not await opened.transcript.exists(thread_id):
            raise unknown_thread(thread_id)
        self.after.give_way(thread_id)
        wait_s = opened.stack.settings.turn.wait_for_thread_s
        locked = thread_lock(opened.locks, thread_id, wait_s)
        async with self.stops.turn(thread_id) as stop, locked:
            stop.accepts()
            turn = await opened.transcript.unfinished(thread_id)
            if turn is None:
                raise UsageError(
                    f"thread {thread_id} has no unfinished turn. "
                    f'Go on with: rolecall ask "…" --thread {thread_id}'
                )
            graph_input = await self._input_to_resume(turn, answer)
            reply = await self._run.run(turn, graph_input, tell, stop)
        return self._finished(turn, reply, tell)

    async def close(self) -> None:
        """End the turns, and what runs after turns."""
        await self.stops.close()
        await self.after.close()

    def _finished(self, turn: Accepted, reply: Reply, tell: Tell) -> Reply:
        tell(Part("finished", {"reply": reply}))
        if reply.waiting_for is None:
            self.after.begin(turn)
        return reply

    async def _input_to_resume(self, turn: Accepted, answer: Any) -> Any:
        """``None`` goes on from the saved step; a turn that saved none starts again."""
        graph, stack = self.opened.graph, self.opened.stack
        saved = await self.opened.saver.aget_tuple(thread_config(turn.thread_id))
        if saved is None or not _is_of(turn.turn_id, turn_of(saved.checkpoint)):
            _not_asked(turn, answer)
            return first_input(turn)
        missing = set(next_of(saved.checkpoint)) - {"__start__", *graph.nodes}
        if missing:
            raise UsageError(
                f"thread {turn.thread_id} stopped at {', '.join(sorted(missing))}, a role that "
                f"stack {stack.name} does not have. Resume it with --stack."
            )
        waiting = await waiting_on(graph, turn.thread_id)
        if waiting is None:
            _not_asked(turn, answer)
            return None
        if answer is None:
            missing_answer = UsageError(
                f"the turn waits for an answer: {waiting.text}\n"
                f"Give it ({waiting.expected}) with: "
                f'rolecall resume {turn.thread_id} --answer "…"'
            )
            missing_answer.reply = Reply(turn.thread_id, turn.turn_id, turn.trace_id)
            missing_answer.reply.wait_for(waiting)
            raise missing_answer
        accepted = waiting.accepted(answer)
        if (call := key_in(waiting.value)) is not None:
            await decide(self.opened.journal, (turn.thread_id, turn.turn_id), call, accepted)
            return None
        return Command(resume={waiting.id: accepted})


def first_input(turn: Accepted) -> dict[str, Any]:
    """What a turn's run begins with."""
    # the message's id is the turn's: a turn that starts again does not ask twice
    message = HumanMessage(turn.question, id=question_id(turn.turn_id))
    return {"messages": [message], "role": turn.requested_role}


def _not_asked(turn: Accepted, answer: Any) -> None:
    if answer is not None:
        raise UsageError(
            f"the turn of thread {turn.thread_id} does not wait for an answer. "
            f"Finish it with: rolecall resume {turn.thread_id}"
        )


def _is_of(turn_id: str, saved: str | None) -> bool:
    """Whether a checkpoint is a turn's own, or of the turn that this one was forked from."""
    return saved is not None and (turn_id == saved or turn_id.startswith(f"{saved}."))
