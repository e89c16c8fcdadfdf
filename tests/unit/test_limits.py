"""Places, the bounded queue and the rate hold over every event loop of the process."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from rolecall.models.limits import Limits, Places, QueueFull, Rate


async def test_a_place_goes_to_who_has_waited_longest() -> None:
    places, order = Places(1, 10), list[int]()

    async def one(number: int) -> None:
        await places.take()
        order.append(number)
        await asyncio.sleep(0)
        places.give_back()

    await asyncio.gather(*(one(number) for number in range(5)))
    assert order == [0, 1, 2, 3, 4]


async def test_one_call_more_than_the_queue_holds_fails_at_once() -> None:
    places = Places(1, 1)
    await places.take()
    waiting = asyncio.create_task(places.take())
    await asyncio.sleep(0)
    with pytest.raises(QueueFull, match="max_queue"):
        await places.take()
    places.give_back()
    await waiting


async def test_who_leaves_the_queue_frees_no_place_and_loses_none() -> None:
    places = Places(1, 5)
    await places.take()
    first, second = asyncio.create_task(places.take()), asyncio.create_task(places.take())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    places.give_back()
    await second
    with pytest.raises(QueueFull):
        await Places(0, 0).take()
    places.give_back()
    await asyncio.wait_for(places.take(), 1)


async def test_a_place_handed_to_who_has_just_been_cancelled_goes_on_to_the_next() -> None:
    places = Places(1, 5)
    await places.take()
    first, second = asyncio.create_task(places.take()), asyncio.create_task(places.take())
    await asyncio.sleep(0)
    places.give_back()  # it is the first one's now
    first.cancel()
    await asyncio.wait_for(second, 1)
    with pytest.raises(asyncio.CancelledError):
        await first


def test_places_are_shared_by_event_loops_in_several_threads() -> None:
    places = Places(2, 100)
    lock, inside, most = threading.Lock(), 0, 0

    async def one() -> None:
        nonlocal inside, most
        await places.take()
        try:
            with lock:
                inside += 1
                most = max(most, inside)
            await asyncio.sleep(0.002)
            with lock:
                inside -= 1
        finally:
            places.give_back()

    async def many() -> None:
        await asyncio.gather(*(one() for _ in range(15)))

    threads = [threading.Thread(target=lambda: asyncio.run(many())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert (most, inside) == (2, 0)


def test_a_place_is_not_lost_to_an_event_loop_that_is_closed() -> None:
    places = Places(1, 5)
    asyncio.run(places.take())

    async def abandoned() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(places.take(), 0.01)

    asyncio.run(abandoned())
    places.give_back()
    asyncio.run(asyncio.wait_for(places.take(), 1))


async def test_a_minute_holds_no_more_calls_than_its_rate() -> None:
    now = 1000.0
    rate = Rate(2, clock=lambda: now)
    await rate.take()
    now = 1030.0
    await rate.take()
    assert rate.ready_in() == 30.0
    now = 1061.0
    assert rate.ready_in() == 0.0


async def test_a_call_that_never_began_does_not_count() -> None:
    rate = Rate(1)
    await rate.take()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(rate.take(), 0.01)
    assert rate.ready_in() <= 60.0


async def test_a_call_that_waits_for_its_minute_can_be_cancelled_and_frees_its_place() -> None:
    limits = Limits(1, 0, per_minute=1)
    await limits.take()
    limits.give_back()
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(limits.take(), 0.02)
    with pytest.raises(TimeoutError):  # QueueFull, if the place were still taken
        await asyncio.wait_for(limits.take(), 0.02)
    assert time.monotonic() - begun < 5
    assert 59 < limits.ready_in <= 60
