"""FHIR dates as half-open ranges of milliseconds since 1970 UTC, and to and from aware datetimes.

https://hl7.org/fhir/R4/datatypes.html#dateTime
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final

from fhir_tracker.errors import Incorrect

OPEN_START: Final = -(1 << 62)
"""Stands for minus infinity: before every instant."""
OPEN_END: Final = 1 << 62
"""Stands for plus infinity: after every instant."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE = re.compile(
    r"(?P<year>[0-9]{4})(?:-(?P<month>0[1-9]|1[0-2])(?:-(?P<day>0[1-9]|[12][0-9]|3[01])"
    r"(?:T(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9])(?::(?P<second>[0-5][0-9]|60)(?:\.(?P<fraction>[0-9]{1,9}))?)?"
    r"(?P<zone>Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00)?)?)?)?"
)


_LOST_PLUS = re.compile(r"(T[0-9:.]+) ([0-9]{2}:[0-9]{2})\Z")


@lru_cache(maxsize=8192)
def date_range(text: str) -> tuple[int, int]:
    """The half-open [low, high) in milliseconds that a date, dateTime, instant or partial one covers.

    `2024` is a year, `2024-03-01` a day, `2024-03-01T10:00Z` a minute, a fraction its last digit down to one
    millisecond. Without a zone it is read as UTC. Raises Incorrect for anything else.
    """
    match = _DATE.fullmatch(text)
    if match is None:
        raise Incorrect("Not a FHIR date: use YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with Z or an offset.")
    start = _start(match)
    low = _milliseconds(start)
    if match["hour"]:
        width = _time_width(match)
        return low, low + width
    try:
        return low, _milliseconds(_next(start, match))
    except OverflowError:
        return low, OPEN_END


def asked_range(text: str) -> tuple[int, int]:
    """The same for a date in a query, where a `+` that nobody escaped has arrived as a blank."""
    return date_range(_LOST_PLUS.sub(r"\1+\2", text))


@lru_cache(maxsize=8192)
def parse_datetime(text: str) -> datetime:
    """The first instant of a FHIR date, dateTime or instant, aware and in UTC; raises Incorrect for anything else."""
    match = _DATE.fullmatch(text)
    if match is None:
        raise Incorrect("Not a FHIR dateTime: use YYYY-MM-DDThh:mm:ss with Z or an offset.")
    return _start(match).astimezone(UTC)


@lru_cache(maxsize=256)
def instant(moment: datetime) -> str:
    """`moment` (aware) as a FHIR instant in UTC with milliseconds, such as `2024-03-01T10:00:00.000Z`."""
    if moment.tzinfo is None:
        raise ValueError("naive datetime: give it a zone")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def milliseconds(moment: datetime) -> int:
    """`moment` (aware) as whole milliseconds since 1970 UTC, rounded down."""
    if moment.tzinfo is None:
        raise ValueError("naive datetime: give it a zone")
    return _milliseconds(moment)


def from_milliseconds(value: int) -> datetime:
    """The aware UTC datetime of milliseconds since 1970."""
    return _EPOCH + timedelta(milliseconds=value)


def period_range(start: str | None, end: str | None) -> tuple[int, int]:
    """The [low, high) of a Period; a missing side is open, and `end` includes all of the unit it names."""
    low = OPEN_START if start is None else date_range(start)[0]
    high = OPEN_END if end is None else date_range(end)[1]
    return low, high


def _start(match: re.Match[str]) -> datetime:
    if match["second"] and match["second"] != "60" and len(match["fraction"] or "") in (0, 3, 6):
        with suppress(ValueError, OverflowError):
            return datetime.fromisoformat(match[0]).astimezone(UTC)
    return _start_of_parts(match)


def _start_of_parts(match: re.Match[str]) -> datetime:
    second = int(match["second"] or 0)
    fraction = int((match["fraction"] or "0").ljust(9, "0")[:6])
    try:
        moment = datetime(
            int(match["year"]),
            int(match["month"] or 1),
            int(match["day"] or 1),
            int(match["hour"] or 0),
            int(match["minute"] or 0),
            min(second, 59),
            fraction,
            tzinfo=_zone(match["zone"]),
        )
        (moment - _EPOCH).total_seconds()
        return (moment + timedelta(seconds=1) if second == 60 else moment).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Incorrect("Not a date of the calendar.") from None


def _zone(text: str | None) -> timezone:
    if not text or text == "Z":
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return timezone(-offset if text[0] == "-" else offset)


def _next(start: datetime, match: re.Match[str]) -> datetime:
    if match["day"]:
        return start + timedelta(days=1)
    if match["month"] and start.month < 12:
        return start.replace(month=start.month + 1)
    if start.year == 9999:
        raise OverflowError
    return start.replace(year=start.year + 1, month=1)


def _time_width(match: re.Match[str]) -> int:
    if not match["second"]:
        return 60_000
    digits = len(match["fraction"] or "")
    return (1000, 100, 10)[digits] if digits < 3 else 1


def _milliseconds(moment: datetime) -> int:
    since = moment - _EPOCH
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
