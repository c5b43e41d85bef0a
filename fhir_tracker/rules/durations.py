"""Durations and working hours as words: `2 business days`, `90 seconds`, `Mon-Fri 08:00-17:00, Sat 09:00-12:00`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import time
from itertools import pairwise
from typing import Final, cast

from fhir_tracker.model.program import Duration, Unit

UNITS: Final = ("seconds", "minutes", "hours", "days", "weeks", "months")
WORKING_UNITS: Final = ("seconds", "minutes", "hours", "days")
_MOST: Final[Mapping[str, int]] = {
    "seconds": 1_000_000,
    "minutes": 100_000,
    "hours": 20_000,
    "days": 3_660,
    "weeks": 520,
    "months": 120,
}
_DURATION: Final = re.compile(r"(?P<amount>[0-9]{1,7}) +(?P<working>business +|working +)?(?P<unit>[a-z]+)")
DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAYS: Final = re.compile(r"(?P<first>[A-Za-z]{3})(?:-(?P<last>[A-Za-z]{3}))?")
_SPAN: Final = re.compile(r"(?P<open>[0-2][0-9]:[0-5][0-9])-(?P<close>[0-2][0-9]:[0-5][0-9])")


def parse_duration(text: str) -> Duration:
    """`N [business] unit`; raises ValueError saying what is wrong and what would be right."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f'"{text}" is not a duration: write "2 business days", "48 hours" or "90 seconds"')
    unit = match["unit"] if match["unit"].endswith("s") else match["unit"] + "s"
    if unit not in UNITS:
        raise ValueError(f'"{match["unit"]}" is not a unit of time: use {", ".join(UNITS)}')
    working = match["working"] is not None
    if working and unit not in WORKING_UNITS:
        raise ValueError(f'"business {unit}" means nothing here: use business days, hours, minutes or seconds')
    amount, most = int(match["amount"]), _MOST[unit] // (5 if working else 1)
    if amount > most:
        raise ValueError(f'"{text}" is too long: the most is {most} {"business " if working else ""}{unit}')
    return Duration(amount=amount, unit=cast(Unit, unit), working=working)


def parse_hours(text: str) -> Mapping[int, tuple[tuple[time, time], ...]]:
    """Days (Monday 0) to spans of local time, `24:00` being the end of the day (kept as 00:00); raises ValueError."""
    hours: dict[int, list[tuple[time, time]]] = {}
    for part in text.split(","):
        words = part.split()
        if len(words) < 2:
            raise ValueError(f'"{part.strip()}" is not working hours: write "Mon-Fri 08:00-17:00, Sat 09:00-12:00"')
        for day in _days(words[0]):
            hours.setdefault(day, []).extend(_span(word) for word in words[1:])
    for day, spans in hours.items():
        spans.sort()
        for (_, close), (again, _) in pairwise(spans):
            if close == time(0) or again < close:
                raise ValueError(f"the hours of {DAYS[day]} overlap")
    return {day: tuple(spans) for day, spans in sorted(hours.items())}


def _days(word: str) -> tuple[int, ...]:
    match = _DAYS.fullmatch(word)
    names = [match["first"].title(), (match["last"] or match["first"]).title()] if match else []
    if not names or any(name not in DAYS for name in names):
        raise ValueError(f'"{word}" is not a day or a range of days: use {", ".join(DAYS)} or Mon-Fri')
    first, last = (DAYS.index(name) for name in names)
    return tuple((first + step) % 7 for step in range((last - first) % 7 + 1))


def _span(word: str) -> tuple[time, time]:
    match = _SPAN.fullmatch(word)
    if match is None:
        raise ValueError(f'"{word}" is not a span of hours: write 08:00-17:00')
    start, close = _time(match["open"]), _time(match["close"])
    if match["open"] == "24:00" or (close <= start and match["close"] != "24:00"):
        raise ValueError(f'"{word}" ends before it starts: split at midnight, to 24:00 and from 00:00')
    return start, close


def _time(text: str) -> time:
    hour, minute = int(text[:2]), int(text[3:])
    if (hour, minute) == (24, 0):
        return time(0)
    if hour > 23:
        raise ValueError(f'"{text}" is not a time of day')
    return time(hour, minute)
