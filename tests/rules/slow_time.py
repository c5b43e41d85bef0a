"""Working time the slow way: one minute of the wall clock after the other."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from fhir_tracker.model.program import Calendar
from fhir_tracker.rules.calendar import holidays_of

MINUTE = timedelta(minutes=1)


def is_open(calendar: Calendar, moment: datetime) -> bool:
    """Whether the site is open at one instant."""
    here = moment.astimezone(ZoneInfo(calendar.zone))
    if here.date() in calendar.closed:
        return False
    if calendar.holidays and here.date() in holidays_of(calendar.holidays, here.year):
        return False
    spans = calendar.hours.get(here.weekday(), ())
    return any(start <= here.time() and (here.time() < end or end == time(0)) for start, end in spans)


def slow_between(calendar: Calendar, a: datetime, b: datetime) -> int:
    """Working minutes in [a, b)."""
    count, moment = 0, a
    while moment < b:
        count += is_open(calendar, moment)
        moment += MINUTE
    return count


def slow_after(calendar: Calendar, start: datetime, minutes: int) -> datetime:
    """When `minutes` of working time have passed since `start`; none at all wait for the next opening."""
    moment, left = start, minutes
    if not left and is_open(calendar, start - MINUTE):
        return start
    while left or not is_open(calendar, moment):
        if not left and minutes:
            break
        left -= is_open(calendar, moment) and left > 0
        moment += MINUTE
    return moment


def slow_before(calendar: Calendar, end: datetime, minutes: int) -> datetime:
    """From when there are `minutes` of working time until `end`."""
    moment, left = end, minutes
    while left:
        moment -= MINUTE
        left -= is_open(calendar, moment)
    return moment


def slow_business_days_before(calendar: Calendar, end: datetime, days: int) -> datetime:
    """The first open minute of the `days`th day before the local date of `end` on which the site opens."""
    zone = ZoneInfo(calendar.zone)
    moment, found = end, end
    today, counted = end.astimezone(zone).date(), set[date]()
    while True:
        moment -= MINUTE
        day = moment.astimezone(zone).date()
        if day == today or not is_open(calendar, moment):
            continue
        counted.add(day)
        if len(counted) > days:
            return found
        found = moment


def slow_business_days(calendar: Calendar, start: datetime, days: int) -> datetime:
    """The last open minute's end of the `days`th day after the local date of `start` on which the site opens."""
    zone = ZoneInfo(calendar.zone)
    day, left = start.astimezone(zone).date(), days
    moment, close = start, start
    while left:
        moment += MINUTE
        here = moment.astimezone(zone)
        if here.date() == day or not is_open(calendar, moment):
            continue
        day, left = here.date(), left - 1
        while moment.astimezone(zone).date() == day:
            close = moment + MINUTE if is_open(calendar, moment) else close
            moment += MINUTE
        moment -= MINUTE
    return close


def slow_runs(
    start: datetime, end: datetime, *kinds: list[tuple[datetime, datetime | None]]
) -> list[tuple[datetime, datetime]]:
    """The whole minutes of [start, end) that any pause of any kind covers, as runs; one that goes on at `end` is left out."""
    found: list[tuple[datetime, datetime]] = []
    begun: datetime | None = None
    moment = start
    while moment < end:
        paused = any(one <= moment and (other is None or moment < other) for pauses in kinds for one, other in pauses)
        if paused and begun is None:
            begun = moment
        if not paused and begun is not None:
            found.append((begun, moment))
            begun = None
        moment += MINUTE
    return found


def slow_due(calendar: Calendar, due: datetime, runs: list[tuple[datetime, datetime]], working: bool) -> datetime:
    """The due time moved by each run that begins before it, by the open minutes of the run or by all of them."""
    for start, end in runs:
        if start >= due:
            continue
        if not working:
            due += end - start
        elif lost := slow_between(calendar, start, end):
            due = slow_after(calendar, due, lost)
    return due
