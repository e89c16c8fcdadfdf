"""The order of one call: who is asked next, who is asked again, and when."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass

from rolecall.config.schema import ModelSpec
from rolecall.errors import ModelCallFailed, RolecallError
from rolecall.models.attempts import Call, Candidate
from rolecall.models.deadline import NO_TIME_LEFT
from rolecall.models.failures import is_mistake
from rolecall.models.health import Health
from rolecall.models.pool import ModelPool

MAX_ATTEMPTS = 24  # of one call, over all candidates
_TRIES = 2  # of one candidate; a server that asks for time is not counted
_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 5.0
_SHORT_WAIT_S = 2.0  # what another model would cost: its prompt cache, perhaps its quality
_LOADING = 503


@dataclass
class Entry:
    """A candidate within one call. Times are of the monotonic clock."""

    candidate: Candidate
    scored: bool
    tries: int = 0
    pause_s: float = _PAUSE_S
    not_before: float = 0.0
    patience_until: float | None = None
    shortened: bool = False

    @property
    def spec(self) -> ModelSpec:
        """Its model spec."""
        return self.candidate.spec


class Order:
    """Who is asked next in one call.

    Args:
        call: what is wanted; its deadline bounds every wait.
        entries: the candidates in order of preference.
        pool: tells who has had its calls of the minute.
        health: tells who rests.

    Attributes:
        failures: what has failed so far.
        number: attempts so far.
        begun_again: whether shown text has been taken back already.
    """

    def __init__(self, call: Call, entries: list[Entry], pool: ModelPool, health: Health) -> None:
        self.failures: list[RolecallError] = []
        self.number = 0
        self.begun_again = False
        self._call = call
        self._line = entries
        self._later: list[Entry] = []
        self._pool = pool
        self._health = health
        deadline = call.options.deadline
        self._deadline = math.inf if deadline is None else deadline

    async def next_entry(self) -> Entry | None:
        """The candidate to ask now, when the time for it has come; ``None``: nobody is left."""
        if self.number >= MAX_ATTEMPTS:
            return None
        entry = self._first_ready() or self._soonest()
        if entry is None:
            return None
        wait = entry.not_before - time.monotonic()
        if wait > 0:
            await asyncio.sleep(min(wait, max(0.0, self._deadline - time.monotonic())))
        if time.monotonic() >= self._deadline:
            self.failures.append(
                ModelCallFailed(
                    f"{entry.spec.id} at {entry.spec.endpoint}: {NO_TIME_LEFT}", retryable=False
                )
            )
            return None
        self.number += 1
        return entry

    def one_more(self) -> int:
        """Count an attempt that belongs to the last one; its number."""
        self.number += 1
        return self.number

    def again(self, entry: Entry) -> None:
        """Ask it once more, at once."""
        self._line.insert(0, entry)

    def with_most_text(self, failure: RolecallError) -> RolecallError:
        """The failure, with the longest text that any attempt has brought."""
        if isinstance(failure, ModelCallFailed):
            texts = [one.partial for one in self.failures if isinstance(one, ModelCallFailed)]
            failure.partial = max([*texts, failure.partial], key=len)
        return failure

    def failed(self, entry: Entry, failure: RolecallError) -> None:
        """Decide whether it is asked again: at once, when nobody else is left, or not at all."""
        self.failures.append(failure)
        if not (isinstance(failure, ModelCallFailed) and failure.retryable):
            return
        now = time.monotonic()
        pause = entry.pause_s if failure.retry_after is None else failure.retry_after
        entry.not_before = now + pause
        entry.pause_s = min(2 * entry.pause_s, _LONGEST_PAUSE_S)
        if failure.status == _LOADING or failure.retry_after is not None:
            self._give_time(entry, failure, now)
            return
        entry.tries += 1
        if entry.tries < _TRIES and not (self._line and self._health.rests(entry.spec)):
            self._line.insert(0, entry)

    def _give_time(self, entry: Entry, failure: ModelCallFailed, now: float) -> None:
        spec = entry.spec
        if entry.patience_until is None:
            bounded = failure.retry_after is not None and self._deadline < math.inf
            entry.patience_until = now + (spec.deadline_s if bounded else spec.timeout_s)
        if entry.not_before > min(entry.patience_until, self._deadline):
            return
        soon = failure.retry_after is not None and failure.retry_after <= _SHORT_WAIT_S
        if soon:
            self._line.insert(0, entry)
        else:
            self._later.append(entry)

    def _first_ready(self) -> Entry | None:
        """The next in line; who rests, or has had its calls of the minute, steps aside."""
        while self._line:
            entry = self._line.pop(0)
            if entry.tries or entry.not_before:
                return entry  # it is asked again
            if entry.candidate.role != self._call.role and self._is_mistaken():
                continue
            now = time.monotonic()
            wait = self._pool.limits(entry.spec).ready_in
            rests = self._health.rests(entry.spec)
            if rests:
                asked = self._health.asked_rest(entry.spec)
                rests, wait = not 0 < asked <= _SHORT_WAIT_S, max(wait, asked)
            entry.not_before = now + wait
            if not rests and wait <= _SHORT_WAIT_S:
                return entry
            self._later.append(entry)
        return None

    def _soonest(self) -> Entry | None:
        if not self._later:
            return None
        entry = min(self._later, key=lambda one: one.not_before)
        self._later.remove(entry)
        if entry.not_before > min(self._deadline, time.monotonic() + entry.spec.timeout_s):
            entry.not_before = 0.0  # too long to wait for, and nobody else is left
        return entry

    def _is_mistaken(self) -> bool:
        """The role's own models are wrong in the stack: another role must not paper over it."""
        return bool(self.failures) and all(is_mistake(failure) for failure in self.failures)
