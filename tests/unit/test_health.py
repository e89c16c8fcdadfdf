"""Models that keep failing rest, are probed by one call, and come back."""

from __future__ import annotations

import pytest

from rolecall.config.schema import ModelSpec
from rolecall.errors import ModelCallFailed, RolecallError, UnknownModel
from rolecall.models.failures import explain
from rolecall.models.health import FIRST_REST_S, LONGEST_REST_S, Health

SPEC = ModelSpec(id="tiny", endpoint="http://127.0.0.1:1/v1")
OTHER = ModelSpec(id="other", endpoint="http://127.0.0.1:1/v1")
DOWN = ModelCallFailed("refused", retryable=True)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock)


def hang() -> RolecallError:
    failure = explain(TimeoutError(), SPEC)
    failure.__cause__ = TimeoutError()
    return failure


def test_it_rests_after_two_failures_in_a_row(health: Health) -> None:
    health.failed(SPEC, DOWN)
    assert not health.rests(SPEC)
    health.succeeded(SPEC)
    health.failed(SPEC, DOWN)
    assert not health.rests(SPEC)
    health.failed(SPEC, DOWN)
    assert health.rests(SPEC)
    assert not health.rests(OTHER)


@pytest.mark.parametrize(
    "failure", [hang(), ModelCallFailed("cut", retryable=True, partial="half")]
)
def test_a_failure_that_cost_much_is_enough(health: Health, failure: RolecallError) -> None:
    health.failed(SPEC, failure)
    assert health.rests(SPEC)


@pytest.mark.parametrize(
    "failure",
    [ModelCallFailed("bad request", retryable=False, status=400), UnknownModel("no such model")],
)
def test_what_the_request_is_to_blame_for_does_not_count(
    health: Health, failure: RolecallError
) -> None:
    for _ in range(5):
        health.failed(SPEC, failure)
    assert not health.rests(SPEC)


def test_one_call_probes_it_while_others_go_elsewhere(health: Health, clock: Clock) -> None:
    health.failed(SPEC, hang())
    clock.now += FIRST_REST_S
    assert not health.rests(SPEC)
    with health.visit(SPEC):
        assert health.rests(SPEC)
        with health.visit(SPEC):  # nobody else was left for this one
            pass
        assert health.rests(SPEC)
    assert not health.rests(SPEC)  # cancelled: the next call probes
    with health.visit(SPEC):
        health.succeeded(SPEC)
    with health.visit(SPEC):
        assert not health.rests(SPEC)


def test_rests_grow_with_failed_probes_up_to_a_bound(health: Health, clock: Clock) -> None:
    lengths = []
    for _ in range(8):
        health.failed(SPEC, hang())
        begun = clock.now
        while health.rests(SPEC):
            clock.now += 0.5
        lengths.append(clock.now - begun)
    assert lengths[:3] == [FIRST_REST_S, 2 * FIRST_REST_S, 4 * FIRST_REST_S]
    assert lengths[-1] == LONGEST_REST_S


def test_calls_that_fail_together_are_one_rest(health: Health, clock: Clock) -> None:
    for _ in range(50):
        health.failed(SPEC, hang())
    clock.now += FIRST_REST_S
    assert not health.rests(SPEC)


def test_a_time_that_the_server_names_is_kept(health: Health, clock: Clock) -> None:
    busy = ModelCallFailed("busy", retryable=True, status=429, retry_after=20.0)
    health.failed(SPEC, busy)
    clock.now += 5
    assert health.rests(SPEC)
    assert health.asked_rest(SPEC) == 15.0
    clock.now += 15
    assert not health.rests(SPEC)
    assert health.asked_rest(SPEC) == 0.0
