from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest

from api.staff import words
from fhir_tracker.model.program import Calendar

NINE_TO_FIVE = {day: ((time(9), time(17)),) for day in range(5)}
CALENDAR = Calendar(zone="America/New_York", hours=NINE_TO_FIVE, holidays="US")
NOW = datetime(2026, 3, 11, 15, 0, tzinfo=UTC)  # a Wednesday, 11:00 in New York


@pytest.mark.parametrize(
    ("moment", "text", "tone"),
    [
        (NOW - timedelta(seconds=30), "30 s late", "late"),
        (NOW - timedelta(minutes=59, seconds=59), "59 min late", "late"),
        (NOW - timedelta(hours=2), "2 h late", "late"),
        (NOW - timedelta(days=1), "1 day late", "late"),
        (NOW - timedelta(days=9), "9 days late", "late"),
        (NOW - timedelta(days=40), "5 weeks late", "late"),
        (NOW, "in 0 s", "today"),
        (NOW + timedelta(minutes=25), "in 25 min", "today"),
        (NOW + timedelta(hours=4, minutes=30), "today 15:30", "today"),
        (NOW + timedelta(hours=22), "tomorrow 9:00", ""),
        (NOW + timedelta(days=2), "Fri 11:00", ""),
        (NOW + timedelta(days=8), "in 6 business days", ""),
        (NOW + timedelta(days=60), "10 May", ""),
        (NOW + timedelta(days=400), "15 Apr 2027", ""),
    ],
)
def test_a_due_time_is_said_as_people_say_it(moment: datetime, text: str, tone: str) -> None:
    said = words.due(moment, NOW, CALENDAR)
    assert (said.words, said.tone) == (text, tone)


def test_an_hour_before_local_midnight_is_still_today() -> None:
    assert words.due(datetime(2026, 3, 12, 3, 0, tzinfo=UTC), NOW, CALENDAR).words == "today 23:00"
    assert words.due(datetime(2026, 3, 12, 4, 30, tzinfo=UTC), NOW, CALENDAR).words == "tomorrow 0:30"


def test_business_days_leave_out_holidays() -> None:
    before_thanksgiving = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)
    assert words.due(before_thanksgiving + timedelta(days=8), before_thanksgiving, CALENDAR).words == (
        "in 5 business days"
    )


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (NOW - timedelta(seconds=4), "just now"),
        (NOW - timedelta(minutes=25), "25 min ago"),
        (NOW - timedelta(minutes=80), "9:40"),
        (NOW - timedelta(hours=22), "yesterday 13:00"),
        (NOW - timedelta(days=2), "Mon 11:00"),
        (NOW - timedelta(days=30), "9 Feb"),
        (NOW - timedelta(days=300), "15 May 2025"),
    ],
)
def test_the_past_is_said_as_people_say_it(moment: datetime, text: str) -> None:
    assert words.ago(moment, NOW, CALENDAR).words == text


def test_the_exact_time_names_the_zone_and_the_machine_reads_utc() -> None:
    said = words.due(NOW, NOW, CALENDAR)
    assert said.exact == "Wed 11 Mar 2026, 11:00 EDT"
    assert said.iso == "2026-03-11T15:00:00Z"


def test_what_is_ahead_turns_into_what_has_been() -> None:
    assert words.ahead(NOW + timedelta(minutes=5), NOW, CALENDAR).words == "in 5 min"
    assert words.ahead(NOW - timedelta(minutes=5), NOW, CALENDAR).words == "5 min ago"


@pytest.mark.parametrize(
    ("birth_date", "text"),
    [
        ("1948-03-12", "77 y"),
        ("1948-03-11", "78 y"),
        ("2025-12-01", "3 months"),
        ("1948", ""),
        (None, ""),
        ("x", ""),
        ("2027-01-01", ""),
    ],
)
def test_age_needs_a_whole_birth_date(birth_date: str | None, text: str) -> None:
    assert words.age(birth_date, date(2026, 3, 11)) == text


@pytest.mark.parametrize(
    ("birth_date", "text"),
    [("1948-03-09", "9 Mar 1948"), ("1948-03", "Mar 1948"), ("1948", "1948"), ("", ""), (None, ""), ("soon", "")],
)
def test_partial_birth_dates_stay_partial(birth_date: str | None, text: str) -> None:
    assert words.born(birth_date) == text


@pytest.mark.parametrize(
    ("name", "letters"),
    [("Rosa Example", "RE"), ("Dr. Ana Maria Example", "AE"), ("Cher", "C"), ("", "?"), ("4711", "?")],
)
def test_initials_leave_titles_out(name: str, letters: str) -> None:
    assert words.initials(name) == letters


def test_reasons_name_no_ids() -> None:
    assert words.without_ids("Eligible: Encounter/north-7.a (finished)") == "Eligible: Encounter (finished)"
    assert words.without_ids("call and/or text, 24/7") == "call and/or text, 24/7"


def test_waiting_is_never_negative() -> None:
    assert words.waiting(NOW + timedelta(hours=1), NOW) == "new today"
    assert words.waiting(NOW - timedelta(days=1), NOW) == "waiting 1 day"
