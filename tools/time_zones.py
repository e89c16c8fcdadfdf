"""Which time zone is meant: IANA names, offsets, cities, countries and abbreviations.

Source of names and countries: the IANA time zone database, through ``zoneinfo`` and ``tzdata``.
"""

from __future__ import annotations

import re
import zoneinfo
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from functools import cache
from importlib import resources

_OFFSET = re.compile(r"(?:utc|gmt)?\s*([+-])\s*(\d{1,2})(?::?([0-5]\d))?", re.ASCII)
_FILLER = re.compile(r"\s+(?:(?:standard|local|current)\s+)?(?:time\s*zone|time)$")
_HERE = frozenset({"", "local", "localtime", "here", "machine", "system", "none", "null"})
_MAX_OFFSET = timedelta(hours=14)
_NOT_PLACES = frozenset({"Factory", "localtime"})


@dataclass(frozen=True)
class Found:
    """A time zone and how to call it; ``zone`` is None for the machine's own."""

    name: str
    zone: tzinfo | None


def resolve(text: str, now: datetime) -> Found | None:
    """The one zone that ``text`` means, or None when there is none or several."""
    wanted = _plain(text)
    if wanted in _HERE:
        return Found("", None)
    if name := _names().get(wanted.replace(" ", "_")):
        return Found(name, zoneinfo.ZoneInfo(name))
    if match := _OFFSET.fullmatch(wanted):
        sign, hours, minutes = match.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
        return (
            None
            if offset > _MAX_OFFSET
            else Found("", timezone(-offset if sign == "-" else offset))
        )
    meant = candidates(text, now)
    if len({_rules(name, now) for name in meant}) == 1:
        return Found(meant[0], zoneinfo.ZoneInfo(meant[0]))
    offsets = _abbreviations(now.year).get(wanted, {})
    if not meant and len(offsets) == 1:
        return Found(wanted.upper(), timezone(next(iter(offsets)), wanted.upper()))
    return None


def candidates(text: str, now: datetime) -> list[str]:
    """Zones that ``text`` can mean, one for each set of rules: a city, country or abbreviation."""
    wanted = _plain(text)
    for part in dict.fromkeys([wanted, wanted.partition(",")[0].strip()]):
        city = part.replace(" ", "_")
        meant = sorted(n for n in _names().values() if n.lower().rpartition("/")[2] == city)
        meant = meant or _countries().get(part, [])
        if meant:
            break
    else:
        offsets = _abbreviations(now.year).get(wanted, {})
        meant = list(offsets.values()) if len(offsets) > 1 else []
    different: dict[tuple[object, ...], str] = {}
    for name in meant:
        different.setdefault(_rules(name, now), name)
    return list(different.values())


@cache
def city_names() -> dict[str, str]:
    """What people may have meant to write, in lower case, and the zone that is it."""
    names: dict[str, str] = {}
    for name in sorted(_names().values()):
        names[name.lower()] = name
        if "/" in name:
            names.setdefault(name.lower().rpartition("/")[2], name)
    return names


def _plain(text: str) -> str:
    words = " ".join(text.strip(" \t\r\n'\"`.").casefold().split())
    return _FILLER.sub("", words)


@cache
def _names() -> dict[str, str]:
    return {name.lower(): name for name in zoneinfo.available_timezones() - _NOT_PLACES}


def _rules(name: str, now: datetime) -> tuple[object, ...]:
    """The offsets of a zone over a year: zones that agree in them are one for our purpose."""
    zone = zoneinfo.ZoneInfo(name)
    return tuple((now + timedelta(days=30 * n)).astimezone(zone).utcoffset() for n in range(12))


@cache
def _countries() -> dict[str, list[str]]:
    """Zones by country name in lower case, as ``zone.tab`` and ``iso3166.tab`` list them."""
    names = {code: name.casefold() for code, name in _table("iso3166.tab")}
    zones: dict[str, list[str]] = {}
    for code, _, zone, *_ in _table("zone.tab"):
        zones.setdefault(names[code], []).append(zone)
    return zones


@cache
def _abbreviations(year: int) -> dict[str, dict[timedelta, str]]:
    """Abbreviations in use that year, in lower case: their offsets, each with a zone as example.

    ``zonenow.tab`` has the best known zone for each set of rules that is in use.
    """
    found: dict[str, dict[timedelta, str]] = {}
    for _, _, name, *_ in _table("zonenow.tab"):
        zone = zoneinfo.ZoneInfo(name)
        for month in (1, 7):
            moment = datetime(year, month, 1, 12, tzinfo=zone)
            label, offset = moment.tzname(), moment.utcoffset()
            if label and label.isalpha() and offset is not None:
                found.setdefault(label.casefold(), {}).setdefault(offset, name)
    return found


def _table(name: str) -> list[list[str]]:
    text = (resources.files("tzdata") / "zoneinfo" / name).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]
