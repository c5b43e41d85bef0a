"""Working time against tables: zones, holidays as observed, split days, closed days, short months and the clock changes."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

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
DESERT = Calendar(zone="America/Phoenix", hours=OFFICE.hours, holidays=None)
ISLAND = Calendar(zone="Pacific/Honolulu", hours=OFFICE.hours, holidays=None)
CHATHAM = Calendar(zone="Pacific/Chatham", hours=OFFICE.hours, holidays=None)


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


@pytest.mark.parametrize("length", ["1 day", "3 hours", "2 business days", "2 business hours", "0 business days"])
def test_a_naive_moment_is_refused(length: str) -> None:
    for ask in (add, before):
        with pytest.raises(ValueError, match="naive"):
            ask(OFFICE, datetime(2026, 3, 9, 9), parse_duration(length))  # noqa: DTZ001


@pytest.mark.parametrize("length", ["1 day", "3 hours", "2 business days", "2 business hours", "0 business days"])
def test_a_moment_of_another_zone_is_the_same_moment(length: str) -> None:
    """A zone with the name of UTC, one that keeps the same time and one that does not all mean the instant."""
    moment, duration = ny("2026-03-09 16:30"), parse_duration(length)
    for zone in (ZoneInfo("UTC"), ZoneInfo("Asia/Kathmandu"), timezone(timedelta(hours=-9, minutes=-30))):
        for ask in (add, before):
            found = ask(OFFICE, moment.astimezone(zone), duration)
            assert (found, found.utcoffset()) == (ask(OFFICE, moment, duration), timedelta())


@pytest.mark.parametrize("amount", [1, 2, 9, 7000])
def test_business_days_near_the_ends_of_the_calendar_end_or_say_that_they_never_do(amount: int) -> None:
    """In the last week of the year 9999, a Friday, and the first of the year 1, a Monday, there are at most four."""
    duration = Duration(amount=amount, unit="days", working=True)
    open_days = Calendar(zone="UTC", hours=OFFICE.hours)
    late, early = datetime(9999, 12, 31, 12, tzinfo=UTC), datetime(1, 1, 1, 12, tzinfo=UTC)
    for days in range(6):
        for ask, moment in ((add, late - timedelta(days=days)), (before, early + timedelta(days=days))):
            left = sum(
                is_working_day(open_days, date.fromordinal(one))
                for one in (
                    range(moment.toordinal() + 1, date.max.toordinal() + 1)
                    if ask is add
                    else range(1, moment.toordinal())
                )
            )
            if amount > left:
                with pytest.raises(Incorrect):
                    ask(open_days, moment, duration)
            else:
                assert abs((ask(open_days, moment, duration) - moment).days) <= 6


def test_the_day_starts_on_the_local_clock() -> None:
    assert day_start(OFFICE, ny("2026-03-09 23:30")) == ny("2026-03-09 00:00")


def at(calendar: Calendar, text: str, fold: int = 0) -> datetime:
    """A wall-clock time of the calendar's zone, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(calendar.zone), fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("calendar", "start", "duration", "expected"),
    [
        (DESERT, "2026-03-07 12:00", "1 day", "2026-03-08 12:00"),
        (DESERT, "2026-03-07 12:00", "24 hours", "2026-03-08 12:00"),
        (DESERT, "2026-03-07 02:30", "1 day", "2026-03-08 02:30"),
        (DESERT, "2026-03-06 16:00", "2 business hours", "2026-03-09 09:00"),
        (ISLAND, "2026-10-31 12:00", "24 hours", "2026-11-01 12:00"),
        (ISLAND, "2026-11-27 16:30", "1 business hour", "2026-11-30 08:30"),
        (ALWAYS, "2026-03-28 12:00", "24 hours", "2026-03-29 13:00"),
        (ALWAYS, "2026-03-28 02:30", "1 day", "2026-03-29 03:00"),
        (ALWAYS, "2026-03-28 12:00", "24 business hours", "2026-03-29 13:00"),
        (ALWAYS, "2026-03-28 12:00", "1 business day", "2026-03-30 00:00"),
        (ALWAYS, "2026-12-24 20:00", "5 business hours", "2026-12-25 01:00"),
        (NIGHT, "2026-04-04 21:15", "6 business hours", "2026-04-05 02:45"),
        (NIGHT, "2026-04-04 12:00", "1 day", "2026-04-05 12:00"),
        (NIGHT, "2026-04-04 12:00", "24 hours", "2026-04-05 11:30"),
        (NIGHT, "2026-10-03 02:15", "1 day", "2026-10-04 02:30"),
        (NIGHT, "2026-10-03 12:00", "24 hours", "2026-10-04 12:30"),
        (NIGHT, "2026-03-10 12:00", "2 business hours", "2026-03-10 23:15"),
        (NIGHT, "2026-03-10 12:00", "3 business hours", "2026-03-11 00:15"),
        (NIGHT, "2026-03-10 23:00", "1 business day", "2026-03-12 00:00"),
        (CHATHAM, "2026-04-04 12:00", "24 hours", "2026-04-05 11:00"),
        (CHATHAM, "2026-03-06 16:45", "30 business minutes", "2026-03-09 08:15"),
        (LUNCH, "2026-03-09 11:30", "1 business hour", "2026-03-09 13:30"),
        (LUNCH, "2026-03-09 11:00", "1 business hour", "2026-03-09 12:00"),
        (LUNCH, "2026-03-09 12:15", "0 business hours", "2026-03-09 13:00"),
        (LUNCH, "2026-03-09 12:00", "0 business hours", "2026-03-09 12:00"),
        (LUNCH, "2026-03-09 12:00", "1 business minute", "2026-03-09 13:01"),
        (LUNCH, "2026-03-06 16:00", "2 business hours", "2026-03-07 10:00"),
        (LUNCH, "2026-03-06 12:00", "1 business day", "2026-03-07 12:00"),
        (LUNCH, "2026-03-07 12:30", "0 business days", "2026-03-09 17:00"),
        (LUNCH, "2026-03-07 11:30", "0 business days", "2026-03-07 12:00"),
        (LUNCH, "2026-03-06 16:00", "11 business hours", "2026-03-09 16:00"),
        (OFFICE, "2026-12-31 23:00", "1 month", "2027-01-31 23:00"),
        (OFFICE, "2027-12-31 09:00", "2 months", "2028-02-29 09:00"),
        (OFFICE, "2028-02-29 09:00", "12 months", "2029-02-28 09:00"),
        (OFFICE, "2026-08-31 09:00", "1 month", "2026-09-30 09:00"),
        (OFFICE, "2026-08-31 09:00", "120 months", "2036-08-31 09:00"),
        (OFFICE, "2026-02-08 02:30", "1 month", "2026-03-08 03:00"),
        (OFFICE, "2026-02-28 09:00", "1 month", "2026-03-28 09:00"),
        (OFFICE, "2026-03-01 02:30", "1 week", "2026-03-08 03:00"),
        (OFFICE, "2026-03-09 08:00:30", "10 business seconds", "2026-03-09 08:00:40"),
    ],
)
def test_every_zone_keeps_its_own_wall_clock(calendar: Calendar, start: str, duration: str, expected: str) -> None:
    assert add(calendar, at(calendar, start), parse_duration(duration)) == at(calendar, expected)


@pytest.mark.parametrize(
    ("calendar", "day", "first", "second"),
    [
        (OFFICE, "2026-11-01", "01:30", "02:00"),
        (ALWAYS, "2026-10-25", "02:30", "03:00"),
        (NIGHT, "2026-04-05", "01:45", "02:00"),
    ],
)
def test_an_hour_that_comes_twice_counts_the_second_time_as_the_end_of_the_first(
    calendar: Calendar, day: str, first: str, second: str
) -> None:
    next_day = (date.fromisoformat(day) + timedelta(days=1)).isoformat()
    one_day = parse_duration("1 day")
    assert add(calendar, at(calendar, f"{day} {first}"), one_day) == at(calendar, f"{next_day} {first}")
    again = at(calendar, f"{day} {first}", fold=1)
    assert again > at(calendar, f"{day} {first}")
    assert add(calendar, again, one_day) == at(calendar, f"{next_day} {second}")


@pytest.mark.parametrize(
    ("country", "day", "off"),
    [
        ("US", "2026-01-01", True), ("US", "2026-01-19", True), ("US", "2026-05-25", True), ("US", "2026-06-19", True),
        ("US", "2026-07-03", True), ("US", "2026-07-04", True), ("US", "2026-09-07", True), ("US", "2026-11-26", True),
        ("US", "2026-11-27", False), ("US", "2026-12-24", False), ("US", "2026-12-25", True),
        ("US", "2021-12-31", True), ("US", "2022-01-01", True), ("US", "2027-07-05", True), ("US", "2027-12-24", True),
        ("US-MA", "2026-04-20", True), ("US", "2026-04-20", False), ("US-HI", "2026-03-26", True),
        ("US", "2026-03-26", False), ("US-TX", "2026-03-02", True), ("DE", "2026-10-03", True), ("US", "2026-10-03", False),
    ],
)  # fmt: skip
def test_holidays_are_those_of_the_country_and_region_as_observed(country: str, day: str, off: bool) -> None:
    that = date.fromisoformat(day)
    assert (that in holidays_of(country, that.year)) is off


def test_a_holiday_inside_a_span_of_working_time_is_passed_over() -> None:
    thursday = ny("2026-07-02 12:00")
    assert add(OFFICE, thursday, parse_duration("5 business hours")) == ny("2026-07-02 17:00")
    assert add(OFFICE, thursday, parse_duration("6 business hours")) == ny("2026-07-06 09:00")
    assert add(Calendar(hours=OFFICE.hours, holidays=None), thursday, parse_duration("6 business hours")) == ny(
        "2026-07-03 09:00"
    )
    assert working_between(OFFICE, thursday, ny("2026-07-06 09:00")) == timedelta(hours=6)
    assert before(OFFICE, ny("2026-07-06 09:00"), parse_duration("6 business hours")) == thursday


def test_closed_dates_and_holidays_together_leave_the_days_between() -> None:
    week = Calendar(hours=OFFICE.hours, closed=(date(2026, 12, 24), date(2026, 12, 28), date(2026, 12, 29)))
    assert add(week, ny("2026-12-23 16:00"), parse_duration("2 business hours")) == ny("2026-12-30 09:00")
    assert add(week, ny("2026-12-23 16:00"), parse_duration("2 business days")) == ny("2026-12-31 17:00")
    assert [is_working_day(week, date(2026, 12, day)) for day in range(23, 32)] == [
        True, False, False, False, False, False, False, True, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("2026-03-09 08:00", "2026-03-09 17:00", 9.0),
        ("2026-03-09 07:00", "2026-03-09 18:00", 9.0),
        ("2026-03-09 16:59:59", "2026-03-09 23:00", 1 / 3600),
        ("2026-03-06 12:00", "2026-03-09 12:00", 9.0),
        ("2026-03-07 00:00", "2026-03-08 23:59", 0.0),
        ("2026-03-09 12:00", "2026-03-09 12:00", 0.0),
        ("2026-03-10 12:00", "2026-03-09 12:00", 0.0),
        ("2026-01-01 00:00", "2027-01-01 00:00", 9.0 * 250),
    ],
)
def test_working_time_between_two_moments(a: str, b: str, expected: float) -> None:
    assert working_between(OFFICE, ny(a), ny(b)) == timedelta(hours=expected)


@pytest.mark.parametrize(
    ("first", "last", "fails"),
    [("2000-01-01 00:00", "2019-12-01 00:00", False), ("2000-01-01 00:00", "2021-01-01 00:00", True)],
)
def test_working_time_is_measured_over_twenty_years(first: str, last: str, fails: bool) -> None:
    if fails:
        with pytest.raises(Incorrect, match="20 years"):
            working_between(OFFICE, ny(first), ny(last))
    else:
        assert working_between(OFFICE, ny(first), ny(last)) > timedelta(days=1800)


@pytest.mark.parametrize("unit", ["hours", "days"])
@pytest.mark.parametrize("year", [1, 9999])
def test_working_time_at_either_end_of_the_calendar_is_an_answer_or_an_error(unit: str, year: int) -> None:
    edge = datetime(1, 1, 1, tzinfo=UTC) if year == 1 else datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    outward = before if year == 1 else add
    with pytest.raises(Incorrect):
        outward(OFFICE, edge, parse_duration(f"700 business {unit}"))
    with pytest.raises(Incorrect):
        outward(OFFICE, edge, parse_duration("120 months"))


@pytest.mark.parametrize(
    "text",
    [
        "", "2", "days", "2  ", "two days", "2 dayz", "-1 days", "+1 days", "1.5 days", "1e3 hours", "2days", "2 business",
        "2 business weeks", "1 business month", "2 working years", "3 days 4 hours", "2 business business days",
        "99999999 seconds", "521 weeks", "121 months", "3661 days", "733 business days", "20001 hours", "٢ days", "2\u00a0days",
    ],
)  # fmt: skip
def test_what_is_not_a_duration_says_what_would_be_right(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a duration|not a unit|means nothing|too long"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("2 business days", Duration(amount=2, unit="days", working=True)),
        ("2 working days", Duration(amount=2, unit="days", working=True)),
        ("1 Business Day", Duration(amount=1, unit="days", working=True)),
        (" 48 hours ", Duration(amount=48, unit="hours")),
        ("1 hour", Duration(amount=1, unit="hours")),
        ("0 seconds", Duration(amount=0, unit="seconds")),
        ("007 weeks", Duration(amount=7, unit="weeks")),
        ("3   business   minutes", Duration(amount=3, unit="minutes", working=True)),
        ("120 months", Duration(amount=120, unit="months")),
        ("732 business days", Duration(amount=732, unit="days", working=True)),
    ],
)
def test_a_duration_is_read_and_said_in_the_same_words(text: str, duration: Duration) -> None:
    assert parse_duration(text) == duration
    assert parse_duration(str(duration)) == duration


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("Mon-Fri 08:00-17:00", [0, 1, 2, 3, 4]),
        ("Sat-Mon 10:00-12:00", [0, 5, 6]),
        ("mon 08:00-12:00, WED 08:00-12:00", [0, 2]),
        ("Sun-Sat 00:00-24:00", [0, 1, 2, 3, 4, 5, 6]),
        ("Mon-Mon 08:00-09:00", [0]),
    ],
)
def test_hours_name_days_and_ranges_of_days(text: str, days: list[int]) -> None:
    assert sorted(parse_hours(text)) == days


def test_hours_are_kept_in_order_and_may_touch() -> None:
    hours = parse_hours("Mon 13:00-17:00 08:00-12:00, Mon 12:00-13:00")
    assert hours[0] == ((time(8), time(12)), (time(12), time(13)), (time(13), time(17)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not working hours"),
        ("Mon", "is not working hours"),
        ("08:00-17:00", "is not working hours"),
        ("Mon-Fri 08:00-17:00,", "is not working hours"),
        ("Moo 08:00-17:00", "is not a day"),
        ("Mon-Tue-Wed 08:00-17:00", "is not a day"),
        ("Montag 08:00-17:00", "is not a day"),
        ("Mon 8:00-17:00", "is not a span"),
        ("Mon 08:00", "is not a span"),
        ("Mon 08:60-17:00", "is not a span"),
        ("Mon 25:00-26:00", "not a time of day"),
        ("Mon 08:00-29:00", "not a time of day"),
        ("Mon 17:00-08:00", "ends before it starts"),
        ("Mon 08:00-08:00", "ends before it starts"),
        ("Mon 24:00-24:00", "ends before it starts"),
        ("Mon 08:00-12:00 11:59-13:00", "the hours of Mon overlap"),
        ("Mon-Fri 08:00-12:00, Wed 11:00-15:00", "the hours of Wed overlap"),
        ("Mon 08:00-24:00 09:00-10:00", "the hours of Mon overlap"),
    ],
)
def test_wrong_hours_say_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_hours(text)
