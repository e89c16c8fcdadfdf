"""Which models are worth asking now: those that keep failing rest for a while.

A circuit breaker per model and endpoint. After ``FAILURES`` failures in a row, or one that cost
much, it rests: ``FIRST_REST_S`` seconds, twice as long after each rest that did not help,
``LONGEST_REST_S`` at most. When the rest is over one call probes it while the others still go
elsewhere; its success ends the matter. A server that names a time itself (``Retry-After``) gets
that time. Nothing is ever sent to find out: only calls that are made anyway count.

The state lives as long as the client and is shared by its event loops.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rolecall.config.schema import ModelSpec
from rolecall.errors import ModelCallFailed, RolecallError
from rolecall.models.failures import severity

FAILURES = 2
FIRST_REST_S = 5.0
LONGEST_REST_S = 60.0
LONGEST_ASKED_REST_S = 3600.0


@dataclass
class _State:
    failures: int = 0
    rests: int = 0
    until: float = 0.0  # of the rest
    asked_until: float = 0.0  # the server itself wants no call before
    probed: bool = False


class Health:
    """What calls have shown about each model at each endpoint.

    Args:
        clock: seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._states: dict[tuple[str, str], _State] = {}
        self._lock = threading.RLock()  # also of a call that is garbage collected meanwhile

    def rests(self, spec: ModelSpec) -> bool:
        """Whether others are to be asked first: it rests, or another call probes it."""
        with self._lock:
            state = self._states.get(_key(spec))
            return state is not None and (state.probed or self._clock() < state.until)

    def asked_rest(self, spec: ModelSpec) -> float:
        """Seconds for which the server itself wants no call."""
        with self._lock:
            state = self._states.get(_key(spec))
            return 0.0 if state is None else max(0.0, state.asked_until - self._clock())

    @contextmanager
    def visit(self, spec: ModelSpec) -> Iterator[None]:
        """One attempt; the first one after a rest is the probe."""
        with self._lock:
            state = self._states.get(_key(spec))
            probe = state is not None and state.rests > 0 and not state.probed
            if state is not None and probe:
                state.probed = True
        try:
            yield
        finally:
            if state is not None and probe:
                with self._lock:
                    state.probed = False

    def succeeded(self, spec: ModelSpec) -> None:
        """It answered: whatever was held against it is forgotten."""
        with self._lock:
            self._states.pop(_key(spec), None)

    def failed(self, spec: ModelSpec, failure: RolecallError) -> None:
        """It failed; how much that says depends on the failure."""
        wait = failure.retry_after if isinstance(failure, ModelCallFailed) else None
        weight = severity(failure)
        if wait is None and not weight:
            return
        with self._lock:
            now = self._clock()
            state = self._states.setdefault(_key(spec), _State())
            if wait is not None:
                state.asked_until = now + min(wait, LONGEST_ASKED_REST_S)
                state.until = max(state.until, state.asked_until)
            elif now >= state.until:  # calls that fail together count as one rest
                state.failures += weight
                if state.failures >= FAILURES:
                    state.until = now + min(FIRST_REST_S * 2**state.rests, LONGEST_REST_S)
                    state.rests = min(state.rests + 1, 10)


def _key(spec: ModelSpec) -> tuple[str, str]:
    return spec.endpoint, spec.id
