"""Clocks of servers that are set back, stamps that lie far ahead, and answers that are not whole: nothing is passed over."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from fhir_tracker import connections
from fhir_tracker.storage import cursors
from subscriptions.reconcile import is_reconcile_due
from tests.subscriptions.fake_ehr import START, FakeEhr
from tests.subscriptions.tracker import Tracker

HOUR = 3600.0


def settled(tracker: Tracker, ehr: FakeEhr) -> None:
    """A first load, and an hour without changes."""
    ehr.put("Patient", "a", active=True)
    assert tracker.patients().error is None
    ehr.pass_time(HOUR)
    assert tracker.patients().error is None


@pytest.mark.requirement(78)
@pytest.mark.fault("F21")
def test_what_changes_after_the_servers_clock_was_set_back_is_not_taken_for_old(tracker: Tracker, ehr: FakeEhr) -> None:
    settled(tracker, ehr)
    ehr.pass_time(24 * HOUR)
    ehr.put("Patient", "ahead", active=True)
    assert tracker.patients().error is None
    ehr.pass_time(-24 * HOUR)
    ehr.put("Patient", "b", active=True)
    ehr.delete("Patient", "a")
    ehr.pass_time(60)
    done = tracker.patients()
    assert done.notes == ("its clock was set back; everything is read again, and compared",)
    assert tracker.held() == {"ahead", "b"}
    ehr.pass_time(HOUR)
    ehr.put("Patient", "c", active=True)
    ehr.delete("Patient", "b")
    assert tracker.patients().notes == ()
    assert tracker.held() == {"ahead", "c"}
    with tracker.database.read() as tx:
        found = connections.get(tx, "clinic")
        assert is_reconcile_due(tx, found, timedelta(days=1), tracker.now)


@pytest.mark.parametrize("seconds", [1, 100, 125])
def test_a_clock_that_differs_by_less_than_the_overlap_changes_nothing(
    tracker: Tracker, ehr: FakeEhr, seconds: int
) -> None:
    settled(tracker, ehr)
    ehr.put("Patient", "new", active=True)
    assert tracker.patients().error is None
    ehr.pass_time(-seconds)
    ehr.put("Patient", "b", active=True)
    assert tracker.patients().notes == ()
    assert tracker.held() == {"a", "new", "b"}


@pytest.mark.requirement(78)
@pytest.mark.parametrize("dated", [True, False])
def test_a_stamp_far_ahead_says_nothing_about_the_clock_that_stamps_rows(
    tracker: Tracker, ehr: FakeEhr, dated: bool
) -> None:
    """The clock that stamps rows is ten minutes behind; with the odd stamp alone it would seem to be right."""
    ehr.dated = dated
    ehr.skew = timedelta(minutes=-10)
    ehr.put("Patient", "a")
    tracker.sync()
    ehr.put("Patient", "odd", stamp="2099-01-01T00:00:00Z")
    for number in range(4):
        ehr.pass_time(HOUR)
        tracker.sync()
        ehr.put("Patient", f"p{number}")
    tracker.sync()
    assert tracker.held() == {"a", "odd", "p0", "p1", "p2", "p3"}


def outcome(ehr: FakeEhr, issue: str) -> None:
    """Patient searches leave out b, and say so."""
    told = f'{{"resource":{{"resourceType":"OperationOutcome","issue":[{issue}]}},"search":{{"mode":"outcome"}}}}'

    def twist(request: httpx.Request) -> httpx.Response | None:
        return ehr.bundle([told]) if "Patient?" in str(request.url) else None

    ehr.twists.append(twist)


PARTIAL = [
    '{"severity":"warning","code":"incomplete"}',
    '{"severity":"error","code":"processing"}',
    '{"severity":"fatal"}',
    '{"severity":"information","code":"informational","details":{"coding":[{"code":"4119"}]}}',
]


@pytest.mark.requirement(78)
@pytest.mark.parametrize("issue", PARTIAL)
def test_an_answer_that_says_it_is_not_whole_does_not_move_the_watermark(
    tracker: Tracker, ehr: FakeEhr, issue: str
) -> None:
    settled(tracker, ehr)
    ehr.put("Patient", "b", active=True)
    outcome(ehr, issue)
    ehr.pass_time(HOUR)
    done = tracker.patients()
    assert "not the whole story" in done.notes[0]
    assert done.watermark is not None
    assert done.watermark <= START + timedelta(seconds=HOUR)
    ehr.twists.clear()
    ehr.pass_time(HOUR)
    tracker.sync()
    assert tracker.held() == {"a", "b"}


@pytest.mark.parametrize("issue", ['{"severity":"information","code":"informational"}', '{"severity":"warning"}'])
def test_a_word_that_says_nothing_of_what_is_missing_holds_nothing_up(
    tracker: Tracker, ehr: FakeEhr, issue: str
) -> None:
    settled(tracker, ehr)
    outcome(ehr, issue)
    ehr.pass_time(HOUR)
    done = tracker.patients()
    assert done.watermark is not None
    assert done.watermark > START + timedelta(seconds=HOUR)


@pytest.mark.parametrize("status", [400, 405, 422, 501])
def test_whatever_says_no_to_an_order_is_asked_without_one(tracker: Tracker, ehr: FakeEhr, status: int) -> None:
    def refuses(request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(status) if "_sort" in request.url.params else None

    ehr.twists.append(refuses)
    settled(tracker, ehr)
    assert tracker.held() == {"a"}
    with tracker.database.read() as tx:
        kept = cursors.find(tx, "clinic", "Patient")
    assert kept is not None
    assert kept.detail["plainness"] == 1
