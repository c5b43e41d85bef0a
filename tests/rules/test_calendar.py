"""Working time against a table, against a slow second implementation, and by its laws."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect
from fhir_tracker.model.program import Calendar, Duration
from fhir_tracker.rules.calendar import (
    add,
    before,
    day_start,
    holidays_of,
    is_working_day,
    working_after,
    working_between,
)
from fhir_tracker.rules.durations import parse_duration, parse_hours
from tests.rules.samples import ny

OFFICE = Calendar(hours=parse_hours("Mon-Fri 08:00-17:00"))
LUNCH = Calendar(zone="America/Chicago", hours=parse_hours("Mon-Fri 08:00-12:00 13:00-17:00, Sat 09:00-12:00"))
ALWAYS = Calendar(zone="Europe/Berlin", hours=parse_hours("Mon-Sun 00:00-24:00"), holidays=None)
NIGHT = Calendar(zone="Australia/Lord_Howe", hours=parse_hours("Mon-Sun 00:00-03:30 21:15-24:00"), holidays=None)
CALENDARS = (OFFICE, LUNCH, ALWAYS, NIGHT)


@pytest.mark.parametrize(
    ("start", "duration", "expected"),
    [
        ("2026-03-06 10:00", "2 business days", "2026-03-10 17:00"),
        ("2026-03-06 23:00", "2 business days", "2026-03-10 17:00"),
        ("2026-03-07 12:00", "2 business days", "2026-03-10 17:00"),
        ("2026-03-09 07:00", "1 business day", "2026-03-10 17:00"),
        ("2026-03-09 10:00", "0 business days", "2026-03-09 17:00"),
        ("2026-03-09 17:00", "0 business days", "2026-03-10 17:00"),
        ("2026-03-07 10:00", "0 business days", "2026-03-09 17:00"),
        ("2026-07-01 10:00", "2 business days", "2026-07-06 17:00"),
        ("2025-12-30 10:00", "2 business days", "2026-01-02 17:00"),
        ("2026-11-25 16:00", "4 business hours", "2026-11-27 11:00"),
        ("2026-03-09 16:00", "4 business hours", "2026-03-10 11:00"),
        ("2026-03-06 16:30", "90 business minutes", "2026-03-09 09:00"),
        ("2026-03-07 12:00", "0 business hours", "2026-03-09 08:00"),
        ("2026-03-06 17:00", "0 business hours", "2026-03-06 17:00"),
        ("2026-03-06 17:01", "0 business hours", "2026-03-09 08:00"),
        ("2026-03-09 08:00", "9 business hours", "2026-03-09 17:00"),
        ("2026-03-07 12:00", "1 day", "2026-03-08 12:00"),
        ("2026-03-07 12:00", "24 hours", "2026-03-08 13:00"),
        ("2026-10-31 12:00", "1 day", "2026-11-01 12:00"),
        ("2026-10-31 12:00", "24 hours", "2026-11-01 11:00"),
        ("2026-03-07 02:30", "1 day", "2026-03-08 03:00"),
        ("2026-03-06 01:30", "2 weeks", "2026-03-20 01:30"),
        ("2026-01-31 09:00", "1 month", "2026-02-28 09:00"),
        ("2024-01-31 09:00", "1 month", "2024-02-29 09:00"),
        ("2025-11-30 09:00", "3 months", "2026-02-28 09:00"),
        ("2026-03-09 09:00", "90 seconds", "2026-03-09 09:01:30"),
    ],
)
def test_a_duration_ends_where_a_person_would_say(start: str, duration: str, expected: str) -> None:
    assert add(OFFICE, ny(start), parse_duration(duration)) == ny(expected)


def test_a_start_long_ago_is_counted_from_then() -> None:
    assert add(OFFICE, ny("2019-12-23 18:00"), parse_duration("10 business hours")) == ny("2019-12-26 09:00")


def test_the_first_of_two_equal_wall_times_is_meant() -> None:
    assert add(OFFICE, ny("2026-10-31 01:30"), parse_duration("1 day")) == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("end", "duration", "expected"),
    [
        ("2026-03-10 17:00", "1 business day", "2026-03-09 08:00"),
        ("2026-03-09 12:00", "2 business days", "2026-03-05 08:00"),
        ("2026-03-09 10:00", "4 business hours", "2026-03-06 15:00"),
        ("2026-03-09 12:00", "3 days", "2026-03-06 12:00"),
        ("2026-03-31 12:00", "1 month", "2026-02-28 12:00"),
        ("2026-03-09 12:00", "2 hours", "2026-03-09 10:00"),
        ("2026-03-09 12:00", "0 business hours", "2026-03-09 12:00"),
    ],
)
def test_due_soon_begins_that_long_before(end: str, duration: str, expected: str) -> None:
    assert before(OFFICE, ny(end), parse_duration(duration)) == ny(expected)


def test_holidays_are_kept_as_observed_and_by_region() -> None:
    assert date(2026, 7, 3) in holidays_of("US", 2026)
    assert date(2021, 12, 31) in holidays_of("US", 2021)
    assert date(2026, 4, 20) in holidays_of("US-MA", 2026)
    assert date(2026, 4, 20) not in holidays_of("US", 2026)


def test_days_closed_by_the_practice_do_not_count() -> None:
    closed = Calendar(hours=OFFICE.hours, closed=(date(2026, 3, 10),))
    assert not is_working_day(closed, date(2026, 3, 10))
    assert add(closed, ny("2026-03-09 10:00"), parse_duration("1 business day")) == ny("2026-03-11 17:00")


def test_a_calendar_without_hours_means_office_hours() -> None:
    assert add(Calendar(), ny("2026-03-06 10:00"), parse_duration("2 business days")) == ny("2026-03-10 17:00")


def test_a_calendar_that_is_never_open_is_an_error_and_no_endless_loop() -> None:
    never = Calendar(hours={6: ((time(2), time(2, 0)),)})
    with pytest.raises(Incorrect):
        working_after(never, ny("2026-03-09 09:00"), parse_duration("1 business hour"))


def test_the_end_of_time_is_an_error() -> None:
    with pytest.raises(Incorrect):
        add(OFFICE, datetime(9999, 12, 30, tzinfo=UTC), parse_duration("2 months"))


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        add(OFFICE, datetime(2026, 3, 9, 9), parse_duration("1 day"))  # noqa: DTZ001


def test_the_day_starts_on_the_local_clock() -> None:
    assert day_start(OFFICE, ny("2026-03-09 23:30")) == ny("2026-03-09 00:00")


minutes = st.integers(0, 400 * 24 * 60).map(lambda m: datetime(2025, 11, 15, tzinfo=UTC) + timedelta(minutes=m))
calendars = st.sampled_from(CALENDARS)
working = st.builds(
    Duration,
    amount=st.integers(0, 40),
    unit=st.sampled_from(("minutes", "hours", "days")),
    working=st.just(True),
)
plain = st.builds(
    Duration,
    amount=st.integers(0, 40),
    unit=st.sampled_from(("seconds", "minutes", "hours", "days", "weeks", "months")),
    working=st.just(False),
)


def is_open(calendar: Calendar, moment: datetime) -> bool:
    """The slow way: look at the wall clock of one instant."""
    here = moment.astimezone(ZoneInfo(calendar.zone))
    if calendar.holidays and here.date() in holidays_of(calendar.holidays, here.year):
        return False
    spans = calendar.hours.get(here.weekday(), ())
    return any(start <= here.time() and (here.time() < end or end == time(0)) for start, end in spans)


def slow_between(calendar: Calendar, a: datetime, b: datetime) -> int:
    """Working minutes in [a, b), one minute at a time."""
    count, moment = 0, a
    while moment < b:
        count += is_open(calendar, moment)
        moment += timedelta(minutes=1)
    return count


@given(calendar=calendars, start=minutes, length=st.integers(0, 6 * 24 * 60))
@settings(max_examples=60, deadline=None)
def test_working_between_counts_what_a_minute_by_minute_walk_counts(
    calendar: Calendar, start: datetime, length: int
) -> None:
    end = start + timedelta(minutes=length)
    assert working_between(calendar, start, end) == timedelta(minutes=slow_between(calendar, start, end))


@given(calendar=calendars, start=minutes, amount=st.integers(0, 900))
@settings(max_examples=60, deadline=None)
def test_working_minutes_end_where_a_minute_by_minute_walk_ends(
    calendar: Calendar, start: datetime, amount: int
) -> None:
    moment, left = start, amount
    while left or not is_open(calendar, moment):
        if not left and amount:
            break
        left -= is_open(calendar, moment) and left > 0
        moment += timedelta(minutes=1)
    assert working_after(calendar, start, Duration(amount=amount, unit="minutes", working=True)) == moment


@given(calendar=calendars, start=minutes, amount=st.integers(0, 3000))
@settings(max_examples=100, deadline=None)
def test_between_undoes_after(calendar: Calendar, start: datetime, amount: int) -> None:
    end = working_after(calendar, start, Duration(amount=amount, unit="minutes", working=True))
    assert working_between(calendar, start, end) == timedelta(minutes=amount)


@given(calendar=calendars, a=minutes, b=minutes, duration=st.one_of(working, plain))
@settings(max_examples=200, deadline=None)
def test_a_later_start_never_ends_earlier(calendar: Calendar, a: datetime, b: datetime, duration: Duration) -> None:
    zone = ZoneInfo(calendar.zone)
    assume(a.astimezone(zone).fold == 0 == b.astimezone(zone).fold)
    early, late = sorted((a, b))
    assert add(calendar, early, duration) <= add(calendar, late, duration)
    assert add(calendar, early, duration) >= early


@given(calendar=calendars, start=minutes, duration=working, more=st.integers(0, 10))
@settings(max_examples=100, deadline=None)
def test_more_never_ends_earlier(calendar: Calendar, start: datetime, duration: Duration, more: int) -> None:
    longer = Duration(amount=duration.amount + more, unit=duration.unit, working=True)
    assert working_after(calendar, start, duration) <= working_after(calendar, start, longer)


@given(calendar=calendars, a=minutes, b=minutes, c=minutes)
@settings(max_examples=100, deadline=None)
def test_working_time_adds_up(calendar: Calendar, a: datetime, b: datetime, c: datetime) -> None:
    a, b, c = sorted((a, b, c))
    assert working_between(calendar, a, b) + working_between(calendar, b, c) == working_between(calendar, a, c)


@given(calendar=calendars, end=minutes, amount=st.integers(1, 900))
@settings(max_examples=100, deadline=None)
def test_before_leaves_exactly_that_working_time(calendar: Calendar, end: datetime, amount: int) -> None:
    start = before(calendar, end, Duration(amount=amount, unit="minutes", working=True))
    assert working_between(calendar, start, end) == timedelta(minutes=amount)
