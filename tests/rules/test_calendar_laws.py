"""Working time by its laws, and against a walk minute by minute, in zones with every kind of daylight saving."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.model.program import Calendar, Duration
from fhir_tracker.rules.calendar import add, before, day_start, local, working_after, working_between, working_later
from fhir_tracker.rules.durations import parse_hours
from tests.rules.slow_time import (
    slow_after,
    slow_before,
    slow_between,
    slow_business_days,
    slow_business_days_before,
)

OFFICE = Calendar(hours=parse_hours("Mon-Fri 08:00-17:00"))
LUNCH = Calendar(zone="America/Chicago", hours=parse_hours("Mon-Fri 08:00-12:00 13:00-17:00, Sat 09:00-12:00"))
ALWAYS = Calendar(zone="Europe/Berlin", hours=parse_hours("Mon-Sun 00:00-24:00"), holidays=None)
NIGHT = Calendar(zone="Australia/Lord_Howe", hours=parse_hours("Mon-Sun 00:00-03:30 21:15-24:00"), holidays=None)
DESERT = Calendar(zone="America/Phoenix", hours=parse_hours("Mon-Thu 07:00-18:00"), holidays="US-AZ")
ISLAND = Calendar(zone="Pacific/Honolulu", hours=parse_hours("Mon-Fri 07:30-16:30"), holidays="US-HI")
MIDNIGHT = Calendar(zone="America/Santiago", hours=parse_hours("Sat-Sun 00:00-24:00"), holidays=None)
CLOSED = Calendar(hours=OFFICE.hours, closed=tuple(date(2026, 3, day) for day in range(2, 7)))
CALENDARS = (OFFICE, LUNCH, ALWAYS, NIGHT, DESERT, ISLAND, MIDNIGHT, CLOSED)

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
autumn = st.sampled_from(
    (
        (OFFICE, datetime(2026, 11, 1, 5, tzinfo=UTC)),
        (ALWAYS, datetime(2026, 10, 25, 0, tzinfo=UTC)),
        (NIGHT, datetime(2026, 4, 4, 14, tzinfo=UTC)),
        (MIDNIGHT, datetime(2026, 4, 5, 2, tzinfo=UTC)),
    )
)


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
    found = working_after(calendar, start, Duration(amount=amount, unit="minutes", working=True))
    assert found == slow_after(calendar, start, amount)


@given(calendar=calendars, start=minutes, amount=st.integers(0, 3000))
@settings(max_examples=100, deadline=None)
def test_between_undoes_after(calendar: Calendar, start: datetime, amount: int) -> None:
    end = working_after(calendar, start, Duration(amount=amount, unit="minutes", working=True))
    assert working_between(calendar, start, end) == timedelta(minutes=amount)


@given(calendar=calendars, a=minutes, b=minutes, duration=st.one_of(working, plain))
@settings(max_examples=200, deadline=None)
def test_a_later_start_never_ends_earlier(calendar: Calendar, a: datetime, b: datetime, duration: Duration) -> None:
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


@given(place=autumn, a=st.integers(0, 180), b=st.integers(0, 180), duration=plain)
@settings(max_examples=150, deadline=None)
def test_the_hour_that_comes_twice_keeps_the_order(
    place: tuple[Calendar, datetime], a: int, b: int, duration: Duration
) -> None:
    calendar, start = place
    early, late = (start + timedelta(minutes=one) for one in sorted((a, b)))
    assert add(calendar, early, duration) <= add(calendar, late, duration)
    assert before(calendar, early, duration) <= before(calendar, late, duration)


@given(calendar=calendars, start=minutes, amount=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_business_days_end_where_a_minute_by_minute_walk_ends(calendar: Calendar, start: datetime, amount: int) -> None:
    found = working_after(calendar, start, Duration(amount=amount, unit="days", working=True))
    assert found == slow_business_days(calendar, start, amount)


@given(calendar=calendars, end=minutes, amount=st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_business_days_before_begin_where_a_minute_by_minute_walk_back_begins(
    calendar: Calendar, end: datetime, amount: int
) -> None:
    found = before(calendar, end, Duration(amount=amount, unit="days", working=True))
    assert found == slow_business_days_before(calendar, end, amount)


@given(calendar=calendars, end=minutes, amount=st.integers(1, 900))
@settings(max_examples=60, deadline=None)
def test_working_minutes_before_begin_where_a_minute_by_minute_walk_back_begins(
    calendar: Calendar, end: datetime, amount: int
) -> None:
    found = before(calendar, end, Duration(amount=amount, unit="minutes", working=True))
    assert found == slow_before(calendar, end, amount)


@given(calendar=calendars, asked=st.lists(st.tuples(minutes, working, st.booleans()), min_size=2, max_size=12))
@settings(max_examples=60, deadline=None)
def test_what_a_calendar_was_asked_before_changes_no_answer(
    calendar: Calendar, asked: list[tuple[datetime, Duration, bool]]
) -> None:
    used = replace(calendar)
    for moment, duration, forward in [*asked, *reversed(asked)]:
        ask = add if forward else before
        assert ask(used, moment, duration) == ask(replace(calendar), moment, duration)


@given(calendar=calendars, start=minutes, a=st.integers(1, 2000), b=st.integers(1, 2000))
@settings(max_examples=80, deadline=None)
def test_working_time_can_be_added_in_two_steps(calendar: Calendar, start: datetime, a: int, b: int) -> None:
    first, second = timedelta(minutes=a), timedelta(minutes=b)
    steps = working_later(calendar, working_later(calendar, start, first), second)
    assert steps == working_later(calendar, start, first + second)


@given(calendar=calendars, moment=minutes)
@settings(max_examples=80, deadline=None)
def test_a_day_starts_at_or_before_each_of_its_moments_and_on_the_same_date(
    calendar: Calendar, moment: datetime
) -> None:
    start = day_start(calendar, moment)
    assert start <= moment
    assert local(calendar, start).date() == local(calendar, moment).date()
    assert local(calendar, start - timedelta(seconds=1)).date() < local(calendar, moment).date()


@given(calendar=calendars, start=minutes, duration=plain)
@settings(max_examples=100, deadline=None)
def test_before_undoes_add_but_for_clock_changes_and_short_months(
    calendar: Calendar, start: datetime, duration: Duration
) -> None:
    end = add(calendar, start, duration)
    back = before(calendar, end, duration)
    slack = timedelta(days=3, hours=2) if duration.unit == "months" else timedelta(hours=2)
    assert abs(back - start) <= (timedelta() if duration.unit in ("seconds", "minutes", "hours") else slack)
