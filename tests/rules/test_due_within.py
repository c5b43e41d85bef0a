"""`due_within`: from so long before the due time until it passes, on calendar or working time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.model.facts import Facts
from tests.rules.samples import MONDAY, facts, hours, item, moved, ny, verdict, with_rule

DUE = ny("2026-03-09 17:00")
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("due", "within", "soon_from"),
    [
        ("2026-03-09 17:00", "1 second", "2026-03-09 16:59:59"),
        ("2026-03-09 17:00", "4 hours", "2026-03-09 13:00"),
        ("2026-03-09 17:00", "1 day", "2026-03-08 17:00"),
        ("2026-03-09 09:00", "24 hours", "2026-03-08 09:00"),
        ("2026-03-08 12:00", "24 hours", "2026-03-07 11:00"),
        ("2026-03-08 12:00", "1 day", "2026-03-07 12:00"),
        ("2026-03-09 17:00", "1 business day", "2026-03-06 08:00"),
        ("2026-03-09 17:00", "2 business days", "2026-03-05 08:00"),
        ("2026-03-09 10:00", "2 business hours", "2026-03-09 08:00"),
        ("2026-03-09 10:00", "3 business hours", "2026-03-06 16:00"),
        ("2026-03-08 12:00", "1 business hour", "2026-03-06 16:00"),
        ("2026-07-06 09:00", "2 business hours", "2026-07-02 16:00"),
        ("2026-03-31 09:00", "1 month", "2026-02-28 09:00"),
        ("2026-03-09 09:00", "1 week", "2026-03-02 09:00"),
    ],
)
def test_work_is_due_soon_in_a_half_open_span_before_its_due_time(due: str, within: str, soon_from: str) -> None:
    known, start, end = facts(item(due_at=ny(due))), ny(soon_from), ny(due)
    when = f"{{due_within: {within}}}"
    early = verdict(when, known, start - SECOND)
    assert (early.holds, early.next_change) == (False, start)
    for now in (start, end - SECOND):
        inside = verdict(when, known, now)
        assert (inside.holds, inside.next_change, inside.since) == (True, end, start)
    for now in (end, end + timedelta(days=99)):
        over = verdict(when, known, now)
        assert (over.holds, over.next_change) == (False, None)
        assert over.why == "First call is late already"


@pytest.mark.parametrize(
    ("known", "why"),
    [
        (facts(), "First call has no due time"),
        (facts(item(due_at=DUE, status="waiting", clock="paused")), "the clock is paused while waiting"),
        (facts(item(due_at=DUE, status="mystery", clock="stopped")), "the clock is stopped while mystery"),
        (facts(item(due_at=DUE, open=False, status="reached")), "the work is closed"),
    ],
)
def test_what_has_no_running_clock_is_never_due_soon(known: Facts, why: str) -> None:
    found = verdict("{due_within: 9 days}", known, DUE - hours(1))
    assert (found.holds, found.why, found.next_change) == (False, why, None)


def test_why_says_how_soon() -> None:
    found = verdict("{due_within: 1 day}", facts(item(due_at=DUE)), DUE - hours(1.5))
    assert found.why == "First call is due in 1 h 30 min: Mon 9 Mar 2026 17:00, still to call"
    assert found.facts == {"due": "2026-03-09T21:00:00.000Z", "status": "to-call", "within": "1 day"}
    early = verdict("{due_within: 1 hour}", facts(item(due_at=DUE)), MONDAY)
    assert early.why == "First call is due Mon 9 Mar 2026 17:00, not soon"


def test_a_pause_moves_the_span_as_well() -> None:
    log = (moved("to-call", "waiting", MONDAY), moved("waiting", "to-call", MONDAY + hours(2)))
    found = verdict("{due_within: 1 hour}", facts(item(code="visit", due_at=DUE), log=log), DUE)
    assert (found.holds, found.next_change) == (False, DUE + hours(1))


@pytest.mark.parametrize("within", ["0 hours", "0 business days", "0 months"])
def test_within_nothing_is_refused(within: str) -> None:
    with pytest.raises(Incorrect) as caught:
        with_rule(f"{{due_within: {within}}}")
    assert "due_within needs more than nothing" in caught.value.issues[0].message


def test_the_ends_of_the_calendar_are_an_answer_or_an_error_and_no_crash() -> None:
    first, last = (facts(item(due_at=datetime(year, 1, 1, tzinfo=UTC))) for year in (1, 9999))
    assert not verdict("{due_within: 1 business day}", last, MONDAY).holds
    assert verdict("{due_within: 1 business day}", first, MONDAY).holds is False
