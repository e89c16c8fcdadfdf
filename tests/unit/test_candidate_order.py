"""Whatever the candidates of a call do, it ends: with an answer, or with every reason in the error.

The clock is a toy: sleeping moves it on, an attempt takes as long as it says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk

from rolecall.config.schema import ModelSpec, Role, Settings, Stack
from rolecall.errors import ModelCallFailed, NoModelReachable, RolecallError, UnknownModel
from rolecall.models import candidates, order
from rolecall.models.attempts import Call, Candidate
from rolecall.models.candidates import Candidates
from rolecall.models.health import Health
from rolecall.models.order import MAX_ATTEMPTS
from rolecall.models.pool import ModelPool
from rolecall.models.wire import CallOptions

SLACK_S = 1e-6


@dataclass(frozen=True)
class Outcome:
    """What one attempt comes to after ``takes_s``; ``shown`` pieces come before a failure."""

    takes_s: float
    failure: Callable[[], RolecallError] | None
    shown: int = 0


def failing(**more: Any) -> Callable[[], RolecallError]:
    return lambda: ModelCallFailed("failed", **more)


FAILURES = st.one_of(
    st.just(failing(retryable=True)),
    st.just(failing(retryable=False, status=400)),
    st.just(failing(retryable=True, status=500)),
    st.just(failing(retryable=True, status=503)),
    st.just(lambda: UnknownModel("misspelt")),
    st.floats(0, 100).map(lambda s: failing(retryable=True, status=429, retry_after=s)),
    st.floats(0, 100).map(lambda s: failing(retryable=True, status=503, retry_after=s)),
)
OUTCOMES = st.builds(Outcome, st.floats(0, 5), st.none() | FAILURES, st.integers(0, 2))


class World:
    """Candidates whose attempts turn out as told, over and over."""

    def __init__(self, own: list[list[Outcome]], others: list[list[Outcome]]) -> None:
        self.now = 0.0
        self.asked: list[str] = []
        self.numbers: list[int] = []
        self._plans = {f"own{i}": plan for i, plan in enumerate(own)}
        self._plans |= {f"other{i}": plan for i, plan in enumerate(others)}
        models = {
            role: [
                ModelSpec(id=name, endpoint="http://127.0.0.1:1/v1", timeout_s=30, deadline_s=60)
                for name in self._plans
                if name.startswith(prefix)
            ]
            for role, prefix in (("coding", "own"), ("reasoning", "other"))
        }
        roles = {"coding": Role("coding", "", "", (), ("reasoning",))}
        stack = Stack("toy", Path("toy.yaml"), "", models, roles, Settings())
        self.candidates = Candidates(stack, ModelPool(stack))
        self.candidates._health = Health(lambda: self.now)

    async def call(self, options: CallOptions, *, whole: bool) -> list[AIMessageChunk]:
        call = Call("coding", [], options)
        clock = SimpleNamespace(monotonic=lambda: self.now)
        with (
            patch.object(candidates, "checked_attempt", self._attempt),
            patch.object(order, "time", clock),
            patch.object(order, "asyncio", SimpleNamespace(sleep=self._sleep)),
        ):
            return [chunk async for chunk in self.candidates.answer(call, whole=whole)]

    async def _sleep(self, seconds: float) -> None:
        self.now += max(0.0, seconds)

    async def _attempt(
        self,
        pool: ModelPool,
        check: Any,
        call: Call,
        candidate: Candidate,
        number: int,
        one_more: Any,
    ) -> AsyncGenerator[AIMessageChunk, None]:
        self.numbers.append(number)
        plan = self._plans[candidate.spec.id]
        outcome = plan[self.asked.count(candidate.spec.id) % len(plan)]
        self.asked.append(candidate.spec.id)
        for _ in range(outcome.shown):
            yield AIMessageChunk(content="x")
        self.now += outcome.takes_s
        if outcome.failure is not None:
            failure = outcome.failure()
            if isinstance(failure, ModelCallFailed):
                failure.partial = "x" * outcome.shown
            raise failure
        yield AIMessageChunk(content="done", chunk_position="last")


PLANS = st.lists(st.lists(OUTCOMES, min_size=1, max_size=4), max_size=3)


@given(PLANS.filter(bool), PLANS, st.none() | st.floats(0, 120), st.booleans(), st.booleans())
def test_every_call_ends_in_bounds(
    own: list[list[Outcome]],
    others: list[list[Outcome]],
    seconds: float | None,
    whole: bool,
    begin_again: bool,
) -> None:
    world = World(own, others)
    options = CallOptions(deadline=seconds, begin_again=begin_again)
    with suppress(NoModelReachable, ModelCallFailed, UnknownModel):
        chunks = asyncio.run(world.call(options, whole=whole))
        assert chunks[-1].content == "done"
        marks = [i for i, c in enumerate(chunks) if "begins_again" in c.response_metadata]
        assert len(marks) <= (begin_again and not whole)
    assert len(world.asked) <= MAX_ATTEMPTS
    assert world.numbers == list(range(1, len(world.asked) + 1))
    if seconds is not None:
        longest = max(one.takes_s for plan in own + others for one in plan)
        assert world.now <= seconds + longest + SLACK_S  # no wait goes beyond it


def ask(world: World) -> str:
    return asyncio.run(world.call(CallOptions(), whole=True))[-1].text


def test_the_roles_own_models_come_before_those_of_its_fallbacks() -> None:
    down = [Outcome(0, failing(retryable=False))]
    world = World([down, down], [down, [Outcome(0, None)]])
    assert ask(world) == "done"
    assert world.asked == ["own0", "own1", "other0", "other1"]


def test_a_model_that_fails_all_the_time_costs_one_request_per_rest() -> None:
    world = World([[Outcome(0, failing(retryable=True))]], [[Outcome(1, None)]])
    for _ in range(600):
        assert ask(world) == "done"
    # ten minutes, a call each second: two failures, then rests of 5, 10, 20, 40, 60, 60 … seconds
    assert 10 <= world.asked.count("own0") <= 18
