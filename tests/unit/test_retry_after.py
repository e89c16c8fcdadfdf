"""``Retry-After`` in both of its forms, and whatever else a server may put there."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.models.retry_after import retry_after, retry_after_of

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@given(st.integers(0, 10**12))
def test_seconds_are_taken_as_they_are(seconds: int) -> None:
    assert retry_after(f" {seconds} ") == seconds


@given(st.integers(-(10**8), 10**8))
def test_a_date_is_the_time_until_then_and_never_negative(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after(date, NOW.timestamp()) == max(0, seconds)


def test_a_date_without_a_zone_is_in_utc() -> None:
    assert retry_after("Sun, 01 Mar 2026 12:00:09 -0000", NOW.timestamp()) == 9


@pytest.mark.parametrize("value", ["", "soon", "-5", "1e9", "٣", "NaN", "inf", "5 seconds"])
def test_anything_else_is_no_wait(value: str) -> None:
    assert retry_after(value) is None


@given(st.text())
def test_no_value_raises_or_waits_for_ever(value: str) -> None:
    wait = retry_after(value, NOW.timestamp())
    assert wait is None or (wait >= 0 and math.isfinite(wait))


def test_the_header_is_found_behind_the_librarys_own_error() -> None:
    request = httpx.Request("POST", "http://localhost/v1")
    response = httpx.Response(429, headers={"retry-after": "7"}, request=request)
    try:
        try:
            raise httpx.HTTPStatusError("busy", request=request, response=response)
        except httpx.HTTPStatusError:
            raise RuntimeError("busy") from None
    except RuntimeError as error:
        hidden = error
    assert retry_after_of(hidden) == 7
    assert retry_after_of(RuntimeError("busy")) is None
