"""The tool that tells the time."""

from __future__ import annotations

import difflib
from datetime import UTC, datetime

from rolecall.tools.failure import failure, shortened
from rolecall.tools.time_zones import candidates, city_names, resolve

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MAX_ZONE_CHARS = 100


def clock(timezone: str = "") -> str:
    """Tell the current date, time and weekday.

    Args:
        timezone: An IANA time zone such as Asia/Tokyo, a city or country, or an offset such as
            UTC+2. Empty: the time zone of this machine.
    """
    if len(timezone) > _MAX_ZONE_CHARS:
        raise failure("the time zone is too long: give one such as Europe/Berlin.")
    now = datetime.now(UTC)
    found = resolve(timezone, now)
    if found is None:
        raise failure(_unresolved(timezone, now))
    moment = now.astimezone(found.zone)
    offset = moment.strftime("%z")
    names = dict.fromkeys([found.name, moment.tzname() or ""])
    zone = ", ".join(name for name in names if name and not name.startswith(("+", "-", "UTC")))
    return (
        f"{_WEEKDAYS[moment.weekday()]} {moment:%Y-%m-%d %H:%M:%S} "
        f"({f'{zone}, ' if zone else ''}UTC{offset[:3]}:{offset[3:5]})"
    )


def _unresolved(timezone: str, now: datetime) -> str:
    several = candidates(timezone, now)
    if several:
        return (
            f"{shortened(timezone)} can mean several time zones: {', '.join(several[:6])}. "
            "Call again with one of them."
        )
    names = city_names()
    wanted = timezone.strip().casefold().replace(" ", "_")
    near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.6)
    near = near or difflib.get_close_matches(wanted.rpartition("/")[2], names, n=3, cutoff=0.5)
    hint = f"Nearest: {', '.join(dict.fromkeys(names[name] for name in near))}. " if near else ""
    return (
        f"there is no time zone {shortened(timezone)}. {hint}"
        "Give an IANA name such as Europe/Berlin or an offset such as UTC+2."
    )
