"""The candidates of a role, tried in order until one answers.

This is the one owner of retries and of the order of fallbacks; wires and graph nodes retry
nothing by themselves, so attempts never multiply. The order: the role's own models, endpoints of
the same model by least load, then the models of its fallback roles. Who rests or loads is passed
over and asked again when nobody else is left.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from langchain_core.messages import AIMessageChunk

from rolecall.config.schema import ModelSpec, Stack
from rolecall.errors import RolecallError, UnknownModel, UnknownRole
from rolecall.models.attempts import Call, Candidate, attempt
from rolecall.models.checked_calls import checked_attempt
from rolecall.models.demanded_calls import as_answer, demanded, demands_call
from rolecall.models.failures import is_mistake, none_left, refuses
from rolecall.models.health import Health
from rolecall.models.order import Entry, Order
from rolecall.models.pool import ModelPool
from rolecall.models.tool_check import ToolCheck


class Candidates:
    """Who may answer for a role, in which order, and how often each is tried.

    Args:
        stack: names the candidates.
        pool: opens them.
    """

    def __init__(self, stack: Stack, pool: ModelPool) -> None:
        self._stack = stack
        self._pool = pool
        self._health = Health()
        self._check = ToolCheck()
        self._unscored: set[tuple[str, str]] = set()  # they refuse to give log-probabilities

    def of(self, role: str) -> list[ModelSpec]:
        """The role's own models, in the stack's order.

        Raises:
            UnknownRole: the stack has no such role.
        """
        candidates = self._stack.models.get(str(role))
        if not candidates:
            raise UnknownRole(
                f"stack {self._stack.name} has no model for the role {str(role)!r}; "
                f"it has {', '.join(self._stack.models)}"
            )
        return candidates

    def order(self, role: str, only: str | None = None) -> list[Candidate]:
        """Everyone who may answer for a role. A fallback's own fallbacks do not count.

        Args:
            only: the id of one of the role's models, which must answer.

        Raises:
            UnknownRole: the stack has no such role.
            UnknownModel: ``only`` is none of its models.
        """
        own = [Candidate(role, spec) for spec in self._pool.spread(self.of(role))]
        if only is not None:
            named = [candidate for candidate in own if candidate.spec.id == only]
            if not named:
                have = ", ".join(dict.fromkeys(candidate.spec.id for candidate in own))
                raise UnknownModel(f"the role {role} has no model {only!r}; it has {have}")
            return named
        known = self._stack.roles.get(role)
        others = [
            Candidate(other, spec)
            for other in (known.fallback if known is not None else ())
            for spec in self._pool.spread(self._stack.models.get(other, []))
        ]
        first: dict[tuple[str, str], Candidate] = {}
        for candidate in own + others:
            first.setdefault(_key(candidate.spec), candidate)
        return list(first.values())

    async def open_first(self, role: str) -> None:
        """Open the first candidate that can be opened.

        Raises:
            UnknownRole, or what keeps all of them from being opened.
        """
        failures: list[RolecallError] = []
        for candidate in self.order(role):
            if candidate.role != role and failures and all(map(is_mistake, failures)):
                break
            try:
                await self._pool.wire(candidate.spec)
            except RolecallError as failure:
                failures.append(failure)
            else:
                return
        raise none_left(role, failures)

    async def answer(self, call: Call, *, whole: bool) -> AsyncGenerator[AIMessageChunk, None]:
        """The first complete reply.

        A ``whole`` reply shows nothing until it is complete: one that broke is asked for again.
        A stream that broke after text was shown begins again only where the caller can take it
        back (``begin_again``). It is never continued by another model: no runner tells whether it
        goes on with a text that is put into its mouth or begins a new one.

        Raises:
            UnknownRole, NoModelReachable, ModelCallFailed
        """
        run = Order(call, self._entries(call), self._pool, self._health)
        void: RolecallError | None = None
        while (entry := await run.next_entry()) is not None:
            if void is not None:
                yield AIMessageChunk(content="", response_metadata={"begins_again": str(void)})
                void = None
            shown = False
            complete: list[AIMessageChunk] = []
            scored = call.options.logprobs and entry.scored
            asked = call
            if scored != call.options.logprobs:
                asked = replace(call, options=replace(call.options, logprobs=scored))
            chunks = self._reply(asked, entry, run)
            try:
                with self._pool.limits(entry.spec).counted(), self._health.visit(entry.spec):
                    async with aclosing(chunks):
                        async for chunk in chunks:
                            if whole:
                                complete.append(chunk)
                                continue
                            shown = True
                            yield chunk
            except RolecallError as failure:
                self._health.failed(entry.spec, failure)
                if shown:
                    if run.begun_again or not call.options.begin_again:
                        raise run.with_most_text(failure) from failure.__cause__
                    run.begun_again, void = True, failure
                if scored and refuses(failure):
                    entry.scored = False
                    run.again(entry)
                elif getattr(failure, "another_way", False):
                    run.again(entry)  # the schema is asked for in another way
                elif getattr(failure, "too_long", False) and not entry.shortened:
                    entry.shortened = True  # the next prompt will be
                    run.again(entry)
                else:
                    run.failed(entry, failure)
                continue
            self._health.succeeded(entry.spec)
            if call.options.logprobs and not entry.scored:
                self._unscored.add(_key(entry.spec))
            for chunk in complete:
                yield chunk
            return
        raise none_left(call.role, run.failures)

    def _reply(self, call: Call, entry: Entry, run: Order) -> AsyncGenerator[AIMessageChunk, None]:
        """What one candidate answers."""
        if demands_call(call.options):
            return demanded(
                call.options,
                attempt(self._pool, call, entry.candidate, run.number),
                lambda: attempt(self._pool, as_answer(call), entry.candidate, run.one_more()),
            )
        return checked_attempt(
            self._pool, self._check, call, entry.candidate, run.number, run.one_more
        )

    def _entries(self, call: Call) -> list[Entry]:
        return [
            Entry(candidate, _key(candidate.spec) not in self._unscored)
            for candidate in self.order(call.role, call.options.model)
        ]


def _key(spec: ModelSpec) -> tuple[str, str]:
    return spec.endpoint, spec.id
