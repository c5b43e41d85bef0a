"""Working time: adding a duration to a moment and measuring between two, in a site's zone, hours and holidays.

Seconds, minutes and hours are absolute; calendar days, weeks and months keep the wall clock of the zone (a time that
the clock skips becomes the first one after the gap; a start in an hour that comes twice counts, the second time, as the
end of the first, so that a later start never ends sooner). Working hours count only inside opening hours, so a start
outside them waits for the next opening. Business days count whole days after the local date of the start: 2 business
days after a Friday, at any hour, end at close of business on Tuesday.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import holidays as holiday_calendars

from fhir_tracker.clock import check_aware
from fhir_tracker.errors import Incorrect
from fhir_tracker.model.program import Calendar, Duration

Span = tuple[datetime, datetime]
MAX_DAYS: Final = 366 * 20
_KNOWN: Final = "_days"
_COUNTED: Final = "_counted"
"""Where a Calendar keeps the days it was asked about, and the business days counted from them, beside its fields."""
START: Final = datetime.min.replace(tzinfo=UTC)
END: Final = datetime.max.replace(tzinfo=UTC)
"""The first and last moment there is."""
DEFAULT_SPANS: Final = ((time(8), time(17)),)
_DAY: Final = timedelta(days=1)
_SECONDS: Final = {"seconds": 1, "minutes": 60, "hours": 3600}


def add(calendar: Calendar, start: datetime, duration: Duration) -> datetime:
    """`duration` after `start`, in UTC; a working one as `working_after`. Raises Incorrect past the calendar's end."""
    start = check_aware(start)
    try:
        if duration.working:
            return working_after(calendar, start, duration)
        if duration.unit in _SECONDS:
            return start + timedelta(seconds=duration.amount * _SECONDS[duration.unit])
        return start if duration.amount == 0 else _add_days(calendar, start, duration, 1)
    except (OverflowError, ValueError):
        raise Incorrect(f"{duration} after {start:%Y-%m-%d} is past the end of the calendar.") from None


def before(calendar: Calendar, end: datetime, duration: Duration) -> datetime:
    """From when `end` is within `duration`: for N business days, the opening of the Nth business day before."""
    end = check_aware(end)
    try:
        if duration.working:
            return _working_before(calendar, end, duration)
        if duration.unit in _SECONDS:
            return end - timedelta(seconds=duration.amount * _SECONDS[duration.unit])
        return end if duration.amount == 0 else _add_days(calendar, end, duration, -1)
    except (OverflowError, ValueError):
        raise Incorrect(f"{duration} before {end:%Y-%m-%d} is before the calendar starts.") from None


def later(calendar: Calendar, start: datetime, duration: Duration) -> datetime:
    """As `add`, but END instead of an error: a date past the end of the calendar never comes."""
    try:
        return add(calendar, start, duration)
    except Incorrect:
        return END


def sooner(calendar: Calendar, end: datetime, duration: Duration) -> datetime:
    """As `before`, but START instead of an error: a date before the calendar starts has always been."""
    try:
        return before(calendar, end, duration)
    except Incorrect:
        return START


def working_after(calendar: Calendar, start: datetime, duration: Duration) -> datetime:
    """`duration` of working time after `start`; N business days end at the close of the Nth one after its local date.

    0 business days end at the close of this or the next business day, 0 business hours at `start` or the next opening;
    the very moment of closing still belongs to the day.
    """
    start = check_aware(start)
    if duration.unit == "days":
        return _close_of_business(calendar, start, duration.amount)
    return working_later(calendar, start, timedelta(seconds=duration.amount * _SECONDS[duration.unit]))


def working_later(calendar: Calendar, start: datetime, left: timedelta) -> datetime:
    """The moment at which `left` of working time has passed since `start`; raises Incorrect beyond 20 years."""
    start = check_aware(start)
    wanted = left
    if not left and _closes_at(calendar, start):
        return start
    for opening, closing in _spans_from(calendar, start):
        begin = max(opening, start)
        if begin + left <= closing:
            return begin + left
        left -= closing - begin
    raise _never(str(wanted))


def working_between(calendar: Calendar, a: datetime, b: datetime) -> timedelta:
    """The working time in [a, b); zero when b is not after a. Raises Incorrect beyond 20 years."""
    a, b = check_aware(a), check_aware(b)
    total = timedelta()
    if b <= a:
        return total
    for opening, closing in _spans_from(calendar, a):
        if opening >= b:
            return total
        total += min(closing, b) - max(opening, a)
    if (b - a).days < MAX_DAYS - 2:
        return total
    raise Incorrect("Working time is measured over 20 years at most.")


def local(calendar: Calendar, moment: datetime) -> datetime:
    """`moment` on the site's wall clock; in UTC at either end of the calendar, where a zone's year would not exist."""
    try:
        return moment.astimezone(zone_of(calendar.zone))
    except OverflowError:
        return moment


def day_start(calendar: Calendar, moment: datetime) -> datetime:
    """The first instant of the site's day that holds `moment`, in UTC; `moment` itself on the first day there is."""
    try:
        return _instant(zone_of(calendar.zone), datetime.combine(local(calendar, moment).date(), time(0)))
    except OverflowError:
        return moment


def is_working_day(calendar: Calendar, day: date) -> bool:
    """True when the site is open at any time on that local day."""
    return bool(_spans_on(calendar, day))


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name."""
    return ZoneInfo(name)


@lru_cache(maxsize=4096)
def holidays_of(country: str, year: int) -> frozenset[date]:
    """The days off of `US` or `US-NY` in a year, as observed (a Saturday holiday is kept on the Friday before)."""
    code, _, part = country.partition("-")
    days = holiday_calendars.country_holidays(code, subdiv=part or None, years=(year - 1, year, year + 1))
    return frozenset(day for day in days if day.year == year)


def _spans_from(calendar: Calendar, start: datetime) -> Iterator[Span]:
    day = local(calendar, start).date()
    for _ in range(MAX_DAYS):
        for opening, closing in _spans_on(calendar, day):
            if closing > start:
                yield opening, closing
        if day == date.max:
            return
        day += _DAY


def _closes_at(calendar: Calendar, moment: datetime) -> bool:
    if moment - START < _DAY:
        return False
    day = local(calendar, moment - timedelta(seconds=1)).date()
    return any(closing == moment for _, closing in _spans_on(calendar, day))


def _close_of_business(calendar: Calendar, start: datetime, amount: int) -> datetime:
    day = local(calendar, start).date()
    spans = _spans_on(calendar, day) if amount == 0 else _business_day(calendar, day, amount)
    return spans[-1][1] if spans and spans[-1][1] > start else _business_day(calendar, day, 1)[-1][1]


def _working_before(calendar: Calendar, end: datetime, duration: Duration) -> datetime:
    if duration.amount == 0:
        return end
    if duration.unit == "days":
        return _business_day(calendar, local(calendar, end).date(), -duration.amount)[0][0]
    rest = timedelta(seconds=duration.amount * _SECONDS[duration.unit])
    day = local(calendar, end).date()
    for _ in range(MAX_DAYS):
        for opening, closing in reversed(_spans_on(calendar, day)):
            if opening >= end:
                continue
            until = closing if closing < end else end
            open_for = until - opening
            if open_for >= rest:
                return until - rest
            rest -= open_for
        day -= _DAY
    raise _never(str(duration))


def _business_day(calendar: Calendar, day: date, amount: int) -> tuple[Span, ...]:
    """The hours of the Nth business day after a day, before it when `amount` is negative; known once asked."""
    known: dict[tuple[date, int], tuple[Span, ...]] | None = calendar.__dict__.get(_COUNTED)
    if known is None:
        known = calendar.__dict__[_COUNTED] = {}
    found = known.get((day, amount))
    if found is None:
        if len(known) > MAX_DAYS:
            known.clear()
        found = known[day, amount] = _counted(calendar, day, amount)
    return found


def _counted(calendar: Calendar, day: date, amount: int) -> tuple[Span, ...]:
    left, step = abs(amount), _DAY if amount > 0 else -_DAY
    for _ in range(MAX_DAYS):
        if day == (date.max if amount > 0 else date.min):
            break
        day += step
        left -= bool(_spans_on(calendar, day))
        if left == 0:
            return _spans_on(calendar, day)
    raise _never(f"{abs(amount)} days")


def _add_days(calendar: Calendar, start: datetime, duration: Duration, sign: int) -> datetime:
    zone = zone_of(calendar.zone)
    wall = _wall(zone, start)
    if duration.unit == "months":
        months = wall.year * 12 + wall.month - 1 + sign * duration.amount
        year, month = divmod(months, 12)
        wall = wall.replace(year=year, month=month + 1, day=min(wall.day, monthrange(year, month + 1)[1]))
    else:
        wall += timedelta(days=sign * duration.amount * (7 if duration.unit == "weeks" else 1))
    return _instant(zone, wall)


def _spans_on(calendar: Calendar, day: date) -> tuple[Span, ...]:
    known: dict[date, tuple[Span, ...]] | None = calendar.__dict__.get(_KNOWN)
    if known is None:
        known = calendar.__dict__[_KNOWN] = {}
    spans = known.get(day)
    if spans is None:
        if len(known) > MAX_DAYS * 2:
            known.clear()
        spans = known[day] = _spans_of(calendar, day)
    return spans


def _spans_of(calendar: Calendar, day: date) -> tuple[Span, ...]:
    hours = calendar.hours.get(day.weekday(), ()) if calendar.hours else DEFAULT_SPANS if day.weekday() < 5 else ()
    if not hours or day in calendar.closed:
        return ()
    return _spans(calendar.zone, calendar.holidays, hours, day)


@lru_cache(maxsize=65536)
def _spans(zone_name: str, country: str | None, hours: tuple[tuple[time, time], ...], day: date) -> tuple[Span, ...]:
    if country and day in holidays_of(country, day.year):
        return ()
    zone = zone_of(zone_name)
    spans = []
    for opening, closing in hours:
        end = datetime.combine(day, closing) if closing != time(0) else datetime.combine(day, time(0)) + _DAY
        span = _instant(zone, datetime.combine(day, opening)), _instant(zone, end)
        if span[0] < span[1]:
            spans.append(span)
    return tuple(spans)


def _instant(zone: ZoneInfo, wall: datetime) -> datetime:
    """The UTC instant of a wall-clock time: the first when it comes twice, the end of the gap when it is skipped."""
    moment = wall.replace(tzinfo=zone).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == wall:
        return moment
    return _changed_at(zone, wall.replace(tzinfo=zone, fold=1).astimezone(UTC), moment)


def _wall(zone: ZoneInfo, moment: datetime) -> datetime:
    """The wall clock at `moment`; in an hour that comes a second time, the end of its first."""
    here = moment.astimezone(zone)
    if not here.fold:
        return here.replace(tzinfo=None)
    gained = (here.replace(fold=0).utcoffset() or timedelta()) - (here.utcoffset() or timedelta())
    put_back = _changed_at(zone, moment - gained, moment)
    return put_back.astimezone(zone).replace(tzinfo=None, fold=0) + gained


def _changed_at(zone: ZoneInfo, early: datetime, late: datetime) -> datetime:
    """The first instant of the offset that holds at `late`, not yet at `early`."""
    offset = late.astimezone(zone).utcoffset()
    while late - early > timedelta(seconds=1):
        middle = early + (late - early) // 2
        if middle.astimezone(zone).utcoffset() == offset:
            late = middle
        else:
            early = middle
    return late.replace(microsecond=0)


def _never(wanted: str) -> Incorrect:
    return Incorrect(f"{wanted} of working time is not reached within 20 years: the calendar is hardly ever open.")
