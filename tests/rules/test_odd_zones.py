"""Working time where clocks do what nobody expects: days left out or had twice, half-hour and two-hour changes, odd hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

import pytest

from fhir_tracker.model.program import Calendar, Duration
from fhir_tracker.rules.calendar import add, before, day_start, working_after, working_between
from fhir_tracker.rules.durations import parse_hours
from tests.rules.slow_time import slow_after, slow_between

MINUTE: Final = timedelta(minutes=1)
CHANGES: Final = {
    "Apia leaves out 30 December 2011": ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    "Lord Howe goes forward by half an hour": ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    "Lord Howe goes back by half an hour": ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    "Troll goes forward by two hours": ("Antarctica/Troll", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    "Troll goes back by two hours": ("Antarctica/Troll", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "Chatham goes forward at a quarter to three": ("Pacific/Chatham", datetime(2026, 9, 26, 14, tzinfo=UTC)),
    "Casablanca goes back for Ramadan": ("Africa/Casablanca", datetime(2026, 2, 15, 2, tzinfo=UTC)),
    "Santiago goes forward at midnight": ("America/Santiago", datetime(2026, 9, 6, 4, tzinfo=UTC)),
    "Beirut goes back to the day before": ("Asia/Beirut", datetime(2026, 10, 24, 21, tzinfo=UTC)),
    "Caracas goes back by half an hour": ("America/Caracas", datetime(2007, 12, 9, 7, tzinfo=UTC)),
    "Pyongyang goes forward by half an hour": ("Asia/Pyongyang", datetime(2018, 5, 4, 15, tzinfo=UTC)),
    "Kathmandu changes nothing": ("Asia/Kathmandu", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    "New York goes forward": ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    "New York goes back": ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
}
HOURS: Final = (
    "Mon-Sun 00:00-24:00",
    "Mon-Sun 01:15-02:15",
    "Mon-Sun 02:00-03:00",
    "Mon-Sun 23:00-24:00, Mon-Sun 00:00-00:30",
    "Mon-Sun 00:00-01:59 02:01-02:59 03:01-24:00",
    "Mon-Fri 08:00-17:00, Sun 02:30-02:31",
)
"""Open all day, only in the hour that changes, across midnight, with a minute's pause, and for one minute of a Sunday."""


def calendars(zone: str, *, once: bool = True) -> list[Calendar]:
    """Those that open and close at moments which come once: an opening that comes twice is its first, a closing too."""
    chosen = HOURS if once else HOURS[:1]
    return [Calendar(zone=zone, hours=parse_hours(hours), holidays=None) for hours in chosen]


def moments(at: datetime) -> list[datetime]:
    """Before, at and after a change, to the minute."""
    found = (-2_000, -1_441, -121, -61, -31, -1, 0, 1, 29, 59, 119, 1_439)
    return [at + timedelta(minutes=minutes) for minutes in found]


@pytest.mark.parametrize("name", CHANGES)
def test_time_around_a_change_is_what_a_minute_by_minute_walk_counts(name: str) -> None:
    zone, at = CHANGES[name]
    for calendar in calendars(zone, once="back" not in name):
        for start, end in pairwise([*moments(at), at + timedelta(days=2)]):
            wanted = timedelta(minutes=slow_between(calendar, start, end))
            assert working_between(calendar, start, end) == wanted, (calendar.hours, start)


@pytest.mark.parametrize("name", CHANGES)
def test_a_deadline_around_a_change_is_where_a_minute_by_minute_walk_ends(name: str) -> None:
    zone, at = CHANGES[name]
    for calendar in calendars(zone, once="back" not in name):
        for start in moments(at)[::2]:
            for amount in (0, 1, 31):
                found = working_after(calendar, start, Duration(amount=amount, unit="minutes", working=True))
                assert found == slow_after(calendar, start, amount), (calendar.hours, start, amount)


@pytest.mark.parametrize("name", CHANGES)
def test_later_starts_never_end_sooner_and_every_end_is_on_the_wall(name: str) -> None:
    """Days, weeks and business days, forward and back (not months, which end on the last day of a shorter one)."""
    zone, at = CHANGES[name]
    here = ZoneInfo(zone)
    steps = [at + timedelta(minutes=15 * quarter) for quarter in range(-200, 200, 7)]
    for calendar in calendars(zone)[:2]:
        for unit, working in (("days", False), ("weeks", False), ("days", True), ("hours", True)):
            for amount in (0, 1, 2):
                length = Duration(amount=amount, unit=unit, working=working)  # type: ignore[arg-type]
                ends = [add(calendar, start, length) for start in steps]
                assert all(one <= other for one, other in pairwise(ends)), (unit, working, amount)
                assert all(start <= end for start, end in zip(steps, ends, strict=True)), (unit, working, amount)
                begins = [before(calendar, end, length) for end in steps]
                assert all(one <= other for one, other in pairwise(begins)), (unit, working, amount)
                assert all(begin <= end for begin, end in zip(begins, steps, strict=True)), (unit, working, amount)
                if unit == "days" and not working and amount:
                    kept = sum(
                        start.astimezone(here).time() == end.astimezone(here).time()
                        for start, end in zip(steps, ends, strict=True)
                    )
                    assert kept >= len(steps) - 20


@pytest.mark.parametrize("name", CHANGES)
def test_each_day_begins_once_and_before_all_of_it(name: str) -> None:
    zone, at = CHANGES[name]
    here, (calendar, *_) = ZoneInfo(zone), calendars(zone)
    starts: dict[object, set[datetime]] = {}
    for quarter in range(-300, 300):
        moment = at + timedelta(minutes=15 * quarter)
        begins = day_start(calendar, moment)
        assert begins <= moment, moment
        starts.setdefault(moment.astimezone(here).date(), set()).add(begins)
    assert all(len(found) == 1 for found in starts.values())
    ordered = [next(iter(found)) for _, found in sorted(starts.items(), key=lambda one: str(one[0]))]
    assert all(one < other for one, other in pairwise(ordered))


def test_a_day_that_never_was_is_no_business_day_and_none_is_lost_for_it() -> None:
    """Apia went from Thursday 29 to Saturday 31 December 2011."""
    apia = ZoneInfo("Pacific/Apia")
    calendar = Calendar(zone="Pacific/Apia", hours=parse_hours("Mon-Fri 08:00-17:00"), holidays=None)
    thursday = datetime(2011, 12, 29, 9, tzinfo=apia).astimezone(UTC)
    monday = datetime(2012, 1, 2, 17, tzinfo=apia).astimezone(UTC)
    assert add(calendar, thursday, Duration(amount=1, unit="days", working=True)) == monday
    assert working_between(calendar, thursday, monday) == timedelta(hours=17)
    next_day = add(calendar, thursday, Duration(amount=1, unit="days", working=False))
    assert next_day.astimezone(apia).date().isoformat() == "2011-12-31"


def test_holidays_on_both_sides_of_a_weekend_are_passed_over_together() -> None:
    """Christmas 2026 is a Friday, kept where it falls; New Year's Day 2028 is a Saturday, kept on the Friday before."""
    calendar = Calendar(zone="America/New_York", hours=parse_hours("Mon-Fri 08:00-17:00"), holidays="US")
    zone = ZoneInfo("America/New_York")
    for start, days, end in (
        ("2026-12-24", 1, "2026-12-28"),
        ("2027-12-23", 1, "2027-12-27"),
        ("2027-12-30", 1, "2028-01-03"),
        ("2026-07-02", 1, "2026-07-06"),
        ("2021-12-23", 1, "2021-12-27"),
        ("2021-12-30", 1, "2022-01-03"),
    ):
        begins = datetime.fromisoformat(f"{start}T16:59").replace(tzinfo=zone).astimezone(UTC)
        ends = add(calendar, begins, Duration(amount=days, unit="days", working=True)).astimezone(zone)
        assert f"{ends:%Y-%m-%d %H:%M}" == f"{end} 17:00", start
