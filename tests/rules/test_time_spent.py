"""Minutes of staff time: none twice, each in its month on the site's clock, and nothing that cannot have been."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.errors import UsageError
from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.work import Event
from fhir_tracker.rules.time_spent import Span, minutes, month_bounds, months_between, spans, union
from tests.rules.samples import MONDAY, event, ny

LATER = MONDAY + timedelta(days=400)
MINUTE = timedelta(minutes=1)


def spent(name: str, start: datetime, length: timedelta, status: str = "completed", outcome: str = "reached") -> Event:
    detail = {"spent-from": instant(start), "spent-until": instant(start + length), "outcome": outcome}
    return event(f"Communication/{name}", status, start + length, detail=detail)


def charge(name: str, start: datetime, length: timedelta, status: str = "billable") -> Event:
    return event(f"ChargeItem/{name}", status, start, end=start + length)


def total(*events: Event, month: str = "2026-03", zone: str = "America/New_York") -> int:
    return minutes(union(spans(events, LATER)[0], *month_bounds(zone, month)))


def test_two_people_at_once_are_counted_once() -> None:
    one, two = spent("a", MONDAY, 20 * MINUTE), charge("b", MONDAY + 10 * MINUTE, 20 * MINUTE)
    assert total(one, two) == 30
    assert total(one, spent("c", MONDAY, 20 * MINUTE)) == 20
    assert total(one, spent("c", MONDAY + 5 * MINUTE, 5 * MINUTE)) == 20


def test_what_passes_midnight_of_a_months_end_belongs_to_both() -> None:
    night = spent("a", ny("2026-03-31 23:50"), 25 * MINUTE)
    assert (total(night), total(night, month="2026-04")) == (10, 15)
    assert total(night, zone="America/Los_Angeles") == 25
    assert months_between("America/New_York", spans([night], LATER)[0]) == ("2026-03", "2026-04")


def test_seconds_are_added_before_they_become_minutes() -> None:
    halves = [spent(str(n), MONDAY + n * timedelta(hours=1), timedelta(seconds=40)) for n in range(3)]
    assert total(*halves) == 2


def test_the_hour_that_comes_twice_is_counted_twice_and_the_one_skipped_not_at_all() -> None:
    back = spent("a", datetime(2026, 11, 1, 5, 30, tzinfo=UTC), 60 * MINUTE)
    assert total(back, month="2026-11") == 60
    ahead = spent("a", ny("2026-03-08 01:30"), 60 * MINUTE)
    assert total(ahead) == 60


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (spent("a", MONDAY, timedelta()), "it has no length"),
        (spent("a", MONDAY, -MINUTE), "it ends before it begins"),
        (spent("a", MONDAY, timedelta(hours=12, seconds=1)), "it is longer than 12 hours"),
        (spent("a", LATER, MINUTE), "it lies in the future"),
    ],
)
def test_what_cannot_have_been_is_told_and_not_counted(told: Event, why: str) -> None:
    found, refused = spans([told], LATER)
    assert (found, [one.why for one in refused]) == ((), [why])


def test_what_was_withdrawn_is_not_counted() -> None:
    assert total(spent("a", MONDAY, MINUTE, status="entered-in-error")) == 0
    assert total(charge("a", MONDAY, MINUTE, status="not-billable")) == 0
    assert total(event("Communication/x", "completed", MONDAY, detail={"spent-from": "soon", "spent-until": "x"})) == 0
    assert total(event("ChargeItem/x", "billable", MONDAY)) == 0


@pytest.mark.parametrize("month", ["", "2026", "2026-13", "2026-00", "26-01", "0000-01", "9999-12", "2026-1"])
def test_what_is_no_month_is_refused(month: str) -> None:
    with pytest.raises(UsageError, match="is not a month"):
        month_bounds("America/New_York", month)


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 90)), max_size=8), st.integers(0, 200), st.integers(0, 200)
)
@settings(max_examples=200, deadline=None)
def test_the_union_is_what_counting_second_by_second_gives(
    pairs: list[tuple[int, int]], start: int, length: int
) -> None:
    second = timedelta(seconds=1)
    told = [
        Span(ref=str(n), start=MONDAY + a * second, end=MONDAY + (a + b) * second) for n, (a, b) in enumerate(pairs)
    ]
    seconds = {moment for a, b in pairs for moment in range(a, a + b) if start <= moment < start + length}
    found = union(told, MONDAY + start * second, MONDAY + (start + length) * second)
    assert found == len(seconds) * second
