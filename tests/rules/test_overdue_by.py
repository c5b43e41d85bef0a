"""`overdue_by`: late from the very second, on calendar or working time, never while paused or without a due time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fhir_tracker.model.facts import Facts
from fhir_tracker.rules.catalog import PREDICATES
from fhir_tracker.rules.durations import parse_duration
from tests.rules.samples import MONDAY, facts, hours, item, moved, ny, verdict

DUE = ny("2026-03-09 17:00")
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("due", "by", "late_from"),
    [
        ("2026-03-09 17:00", "0 hours", "2026-03-09 17:00"),
        ("2026-03-09 17:00", "0 business hours", "2026-03-09 17:00"),
        ("2026-03-09 17:00", "0 business days", "2026-03-10 17:00"),
        ("2026-03-09 17:00", "0 days", "2026-03-09 17:00"),
        ("2026-03-09 17:00", "1 second", "2026-03-09 17:00:01"),
        ("2026-03-09 17:00", "90 minutes", "2026-03-09 18:30"),
        ("2026-03-09 17:00", "2 hours", "2026-03-09 19:00"),
        ("2026-03-09 17:00", "2 business hours", "2026-03-10 10:00"),
        ("2026-03-09 17:00", "1 business day", "2026-03-10 17:00"),
        ("2026-03-09 16:59", "1 business minute", "2026-03-09 17:00"),
        ("2026-03-09 16:59", "2 business minutes", "2026-03-10 08:01"),
        ("2026-03-07 12:00", "0 business hours", "2026-03-09 08:00"),
        ("2026-03-07 12:00", "1 business hour", "2026-03-09 09:00"),
        ("2026-03-07 12:00", "1 day", "2026-03-08 12:00"),
        ("2026-03-07 12:00", "24 hours", "2026-03-08 13:00"),
        ("2026-07-03 10:00", "0 business hours", "2026-07-06 08:00"),
        ("2026-12-24 16:00", "2 business hours", "2026-12-28 09:00"),
        ("2026-01-31 09:00", "1 month", "2026-02-28 09:00"),
        ("2026-03-06 09:00", "2 weeks", "2026-03-20 09:00"),
    ],
)
def test_work_is_late_from_the_second_on_that_the_allowance_is_used_up(due: str, by: str, late_from: str) -> None:
    known, edge = facts(item(due_at=ny(due))), ny(late_from)
    before = verdict(f"{{overdue_by: {by}}}", known, edge - SECOND)
    assert (before.holds, before.next_change, before.since) == (False, edge, None)
    for now in (edge, edge + SECOND, edge + timedelta(days=400)):
        after = verdict(f"{{overdue_by: {by}}}", known, now)
        assert (after.holds, after.next_change, after.since) == (True, None, edge)


def test_why_names_the_facts_used() -> None:
    found = verdict("{overdue_by: 0 hours}", facts(item(due_at=DUE)), DUE + hours(2))
    assert found.why == "First call is 2 h late: due Mon 9 Mar 2026 17:00, still to call"
    assert found.facts == {"due": "2026-03-09T21:00:00.000Z", "status": "to-call", "allowed": "0 hours"}
    soon = verdict("{overdue_by: 2 hours}", facts(item(due_at=DUE)), DUE)
    assert soon.why == "First call is due Mon 9 Mar 2026 17:00, late from Mon 9 Mar 2026 19:00"


@pytest.mark.parametrize(
    ("known", "why"),
    [
        (facts(), "First call has no due time"),
        (facts(item(title="", code="visit")), "Visit has no due time"),
        (facts(item(title="", code="gone")), "gone has no due time"),
        (facts(item(title="", code="")), "the work has no due time"),
        (facts(item(due_at=DUE, status="waiting", clock="paused")), "the clock is paused while waiting"),
        (facts(item(due_at=DUE, status="mystery", clock="paused")), "the clock is paused while mystery"),
        (facts(item(due_at=DUE, status="failed", clock="running")), "the clock is stopped while failed"),
        (facts(item(due_at=DUE, status="reached", open=False)), "the work is closed"),
    ],
)
def test_what_has_no_running_clock_is_never_late_and_never_will_be(known: Facts, why: str) -> None:
    for now in (DUE - hours(1), DUE, DUE + timedelta(days=3650)):
        found = verdict("{overdue_by: 0 hours}", known, now)
        assert (found.holds, found.why, found.next_change) == (False, why, None)


def test_a_status_the_program_does_not_know_keeps_the_clock_of_the_item() -> None:
    known = facts(item(due_at=DUE, status="mystery", clock="running"))
    assert verdict("{overdue_by: 0 hours}", known, DUE).holds


def test_late_counts_from_the_due_time_as_moved_by_pauses() -> None:
    log = (moved("to-call", "waiting", MONDAY + hours(1)), moved("waiting", "to-call", MONDAY + hours(3)))
    known = facts(item(code="visit", due_at=DUE), log=log)
    assert verdict("{overdue_by: 0 hours}", known, DUE).next_change == DUE + hours(2)
    found = verdict("{overdue_by: 0 hours}", known, DUE + hours(2))
    assert (found.holds, found.facts["due"]) == (True, "2026-03-09T23:00:00.000Z")


def test_reopened_work_is_late_by_its_old_due_time_until_it_gets_a_new_one() -> None:
    log = (moved("to-call", "reached", MONDAY + hours(3)), moved("reached", "to-call", DUE + hours(9)))
    known = facts(item(due_at=DUE, cycle=1), log=log)
    assert verdict("{overdue_by: 0 hours}", known, DUE + hours(9)).since == DUE
    again = facts(item(due_at=DUE + hours(24), cycle=2), log=(*log, moved("x", "y", DUE + hours(10), "due")))
    assert verdict("{overdue_by: 0 hours}", again, DUE + hours(23)).next_change == DUE + hours(24)


@pytest.mark.parametrize("year", [1, 2, 1900, 9998])
def test_a_due_time_at_either_end_of_the_calendar_is_judged(year: int) -> None:
    known = facts(item(due_at=datetime(year, 1, 1, tzinfo=UTC)))
    assert verdict("{overdue_by: 0 hours}", known, MONDAY).holds is (year < 2026)


def test_it_is_said_in_words() -> None:
    describe = PREDICATES["overdue_by"].describe
    assert describe({"by": parse_duration("0 hours")}) == "it is overdue"
    assert describe({"by": parse_duration("4 business hours")}) == "it is overdue by 4 business hours or more"
