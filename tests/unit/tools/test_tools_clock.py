"""The clock: zones as people and small models name them."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.tools import ToolException

from rolecall.tools.clock import clock
from rolecall.tools.time_zones import resolve

_ANSWER = re.compile(r"(\w+day) (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) \((?:.+, )?UTC([+-]\d\d:\d\d)\)")


def _moment(answer: str) -> datetime:
    match = _ANSWER.fullmatch(answer)
    assert match, answer
    moment = datetime.fromisoformat(match[2].replace(" ", "T") + match[3])
    assert moment.strftime("%A") == match[1]
    return moment


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("Asia/Tokyo", "Asia/Tokyo"),
        ("Asia/tokyo", "Asia/Tokyo"),
        ("Tokyo", "Asia/Tokyo"),
        ("tokyo time", "Asia/Tokyo"),
        (" 'Tokyo' ", "Asia/Tokyo"),
        ("new york", "America/New_York"),
        ("New York time", "America/New_York"),
        ("Paris, France", "Europe/Paris"),
        ("Germany", "Europe/Berlin"),
        ("Berlin time zone", "Europe/Berlin"),
        ("India", "Asia/Kolkata"),
        ("Buenos Aires", "America/Argentina/Buenos_Aires"),
        ("UTC", "UTC"),
    ],
)
def test_it_tells_the_time_of_a_zone(text: str, zone: str) -> None:
    told = _moment(clock(text))
    now = datetime.now(ZoneInfo(zone))
    assert told.utcoffset() == now.utcoffset()
    assert abs(now - told) < timedelta(seconds=10)


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("UTC+2", 2),
        ("GMT-5", -5),
        ("utc +05:30", 5.5),
        ("+0930", 9.5),
        ("EST", -5),
        ("JST", 9),
        ("CEST", 2),
        ("PDT", -7),
    ],
)
def test_offsets_and_clear_abbreviations(text: str, hours: float) -> None:
    assert _moment(clock(text)).utcoffset() == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "local", "Local time", "here"])
def test_without_a_zone_it_is_the_machines(text: str) -> None:
    told = _moment(clock(text))
    assert told.utcoffset() == datetime.now(UTC).astimezone().utcoffset()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Tokio", "Asia/Tokyo"),
        ("America/New_Yrok", "America/New_York"),
        ("IST", "Asia/Kolkata"),
        ("CST", "Asia/Shanghai"),
        ("China", "Asia/Shanghai"),
        ("United States", "America/New_York"),
        ("UTC+99", "UTC+2"),
        ("../../etc/passwd", "Europe/Berlin"),
        ("/etc/localtime", "Europe/Berlin"),
        ("x" * 1000, "Europe/Berlin"),
    ],
)
def test_an_unclear_zone_is_an_error_that_names_others(text: str, named: str) -> None:
    with pytest.raises(ToolException, match=re.escape(named)):
        clock(text)


def test_summer_time_is_kept() -> None:
    summer, winter = datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)
    found = resolve("Berlin", summer)
    assert found is not None
    assert summer.astimezone(found.zone).utcoffset() == timedelta(hours=2)
    assert winter.astimezone(found.zone).utcoffset() == timedelta(hours=1)


@given(st.text(max_size=120))
def test_any_text_gives_a_time_or_a_message(text: str) -> None:
    with contextlib.suppress(ToolException):
        _moment(clock(text))
