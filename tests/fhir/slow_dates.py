"""A second, slow way to read FHIR dates: by counting days, without the datetime library.

https://hl7.org/fhir/R4/datatypes.html#dateTime
"""

from __future__ import annotations

FAR = 1 << 62
DAY = 86_400_000


def slow_range(text: str) -> tuple[int, int]:
    """The half-open [low, high) in milliseconds since 1970 UTC of a legal FHIR date."""
    date, _, time = text.partition("T")
    numbers = [int(part) for part in date.split("-")]
    year, month, day = (*numbers, 1, 1)[:3]
    low = days_before(year, month, day) * DAY
    if time:
        return _with_time(low, time)
    if len(numbers) == 3:
        low, high = low, low + DAY
    elif len(numbers) == 2:
        high = days_before(year + month // 12, month % 12 + 1, 1) * DAY
    else:
        high = days_before(year + 1, 1, 1) * DAY
    return low, FAR if high == days_before(10_000, 1, 1) * DAY else high


def days_before(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to that day, year by year and month by month."""
    years = year - 1
    days = years * 365 + years // 4 - years // 100 + years // 400 - 719_162
    return days + sum(length_of(year, one) for one in range(1, month)) + day - 1


def length_of(year: int, month: int) -> int:
    """The days of a month."""
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def _with_time(low: int, time: str) -> tuple[int, int]:
    clock, offset = time, 0
    for sign in "Z+-":
        if sign in time:
            clock, _, zone = time.partition(sign)
            hours, _, minutes = zone.partition(":")
            offset = {"Z": 0, "+": 1, "-": -1}[sign] * (int(hours or 0) * 60 + int(minutes or 0)) * 60_000
    hour, minute, *rest = clock.split(":")
    whole, _, fraction = (rest or ["0"])[0].partition(".")
    low += (int(hour) * 60 + int(minute)) * 60_000 + int(whole) * 1000 + int((fraction + "000")[:3]) - offset
    width = 60_000 if not rest else max(1000 // 10 ** len(fraction), 1)
    return low, low + width
