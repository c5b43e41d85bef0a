"""What a measure is asked for: days as people say them, at the edges of months, leap years and summer time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect
from fhir_tracker.measures import asking
from fhir_tracker.storage.database import Database
from tests.support.clinic import RING, SYSTEM, Clinic

ZONES = ("America/New_York", "Pacific/Auckland", "Pacific/Apia", "Asia/Kolkata", "America/St_Johns", "UTC")
TICK = timedelta(microseconds=1)
NOW = datetime(2030, 6, 15, 12, tzinfo=UTC)


@given(day=st.dates(date(2000, 1, 1), date(2029, 12, 30)), zone=st.sampled_from(ZONES))
@example(day=date(2028, 2, 29), zone="America/New_York")
@example(day=date(2024, 2, 28), zone="Pacific/Auckland")
@example(day=date(2026, 3, 8), zone="America/New_York")
@example(day=date(2026, 11, 1), zone="America/New_York")
@example(day=date(2026, 4, 5), zone="Pacific/Auckland")
@example(day=date(2011, 12, 29), zone="Pacific/Apia")
@example(day=date(2027, 12, 31), zone="Asia/Kolkata")
@settings(max_examples=200)
def test_days_follow_each_other_without_a_gap_or_an_overlap(day: date, zone: str) -> None:
    start, end = (asking._moment(day.isoformat(), zone, is_end=is_end) for is_end in (False, True))
    following = asking._moment((day + timedelta(days=1)).isoformat(), zone, is_end=False)
    assert end == following
    assert timedelta(0) <= end - start <= timedelta(hours=25)
    if end > start:
        for moment in (start, end - TICK, start + (end - start) / 2):
            assert moment.astimezone(ZoneInfo(zone)).date() == day


@pytest.mark.parametrize(
    ("first", "last", "hours"),
    [
        ("2028-02-01", "2028-02-29", 29 * 24),
        ("2026-03-08", "2026-03-08", 23),
        ("2026-11-01", "2026-11-01", 25),
        ("2026-03-01", "2026-03-31", 31 * 24 - 1),
        ("2026-12-31", "2027-01-01", 48),
    ],
)
def test_a_period_of_days_is_as_long_as_its_days_are_there(
    database: Database, first: str, last: str, hours: int
) -> None:
    Clinic(database)
    with database.read() as tx:
        asked = asking.asked(tx, SYSTEM, asking.Wanted(start=first, end=last), NOW)
    assert asked.zone == "America/New_York"
    assert asked.end - asked.start == timedelta(hours=hours)


@pytest.mark.parametrize(
    "odd", ["2026-02-29", "2026-13-01", "2026-00-10", "0000-01-01", "tomorrow", "2026-1-1", "", "٢٠٢٦-٠١-٠١", "9" * 400]
)
def test_a_day_that_is_none_is_refused(database: Database, odd: str) -> None:
    Clinic(database, RING)
    with database.read() as tx:
        for wanted in (asking.Wanted(start=odd or "-"), asking.Wanted(end=odd or "-"), asking.Wanted(as_of=odd or "-")):
            with pytest.raises(Incorrect):
                asking.asked(tx, SYSTEM, wanted, NOW)


@pytest.mark.parametrize(
    "edge", ["0001-01-01", "9999-12-31", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+14:00", "9998-12-31"]
)
def test_the_first_and_the_last_days_there_are_give_a_period_or_a_refusal(database: Database, edge: str) -> None:
    Clinic(database, RING.replace("America/New_York", "Pacific/Auckland"))
    with database.read() as tx:
        for wanted in (asking.Wanted(start=edge), asking.Wanted(end=edge), asking.Wanted(as_of=edge)):
            try:
                asked = asking.asked(tx, SYSTEM, wanted, NOW)
            except Incorrect:
                continue
            assert asked.start.tzinfo is not None
