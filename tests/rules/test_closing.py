"""What closes work by itself and what ends a hold: evidence from the work's own time, and from no other."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import permutations

import pytest

from fhir_tracker.model.effects import SetStatus
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.work import Event, Transition, WorkItem
from fhir_tracker.rules.closing import done_by, hold_end
from fhir_tracker.rules.engine import evaluate
from tests.rules.samples import MONDAY, event, facts, hours, item, moved, plan, program, visit, with_rule

DEMO = program()
SECOND = timedelta(seconds=1)
VISIT = item(code="visit", title="Visit")
REBOOK = item(ref="Task/r", code="rebook", focus="Appointment/m", created_at=MONDAY + hours(10))


def closed(
    work: WorkItem, *events: Event, log: tuple[Transition, ...] = (), discharge: datetime = MONDAY
) -> str | None:
    """The reference of the evidence that closes the work, the same for every order of arrival."""
    found = {
        done[0].evidence[0] if (done := done_by(DEMO, facts(work, events=order, log=log, plan=known))) else None
        for known in (plan(work.created_at, discharge=discharge),)
        for order in permutations(events)
    }
    assert len(found) == 1
    return next(iter(found))


def test_closing_says_why_and_by_what() -> None:
    seen = visit("a", "fulfilled", MONDAY + hours(2))
    found = done_by(DEMO, facts(VISIT, events=(seen,)))
    assert found is not None
    effect, finding = found
    assert (effect.status, effect.evidence, effect.reason) == (
        "reached",
        ("Appointment/a",),
        "done: Appointment/a (fulfilled)",
    )
    assert (finding.rule, finding.verdict.holds) == ("done-by", True)
    assert finding.verdict.facts == {"status": "reached", "evidence": "Appointment/a"}


@pytest.mark.parametrize(
    ("events", "evidence"),
    [
        ((), None),
        ((visit("a", "fulfilled", MONDAY + hours(1)),), "a"),
        ((visit("a", "fulfilled", MONDAY),), "a"),
        ((visit("a", "fulfilled", MONDAY - SECOND),), None),
        ((visit("a", "booked", MONDAY + hours(1)),), None),
        ((visit("a", "arrived", MONDAY + hours(1)),), None),
        ((visit("a", "noshow", MONDAY + hours(1)),), None),
        ((visit("a", "entered-in-error", MONDAY + hours(1)),), None),
        ((visit("a", "fulfilled", MONDAY + hours(1), codes=("urn:x|dental",)),), None),
        ((visit("b", "fulfilled", MONDAY + hours(2)), visit("a", "fulfilled", MONDAY + hours(3))), "b"),
        ((visit("b", "noshow", MONDAY + hours(2)), visit("a", "fulfilled", MONDAY + hours(3))), "a"),
        ((event("Encounter/a", "fulfilled", MONDAY + hours(1), codes=("urn:x|visit",)),), None),
    ],
)
def test_a_visit_task_is_closed_by_the_first_visit_of_its_time(events: tuple[Event, ...], evidence: str | None) -> None:
    assert closed(VISIT, *events) == (f"Appointment/{evidence}" if evidence else None)


@pytest.mark.parametrize(
    ("days_before", "closes"), [(0, True), (1, True), (4.9, True), (5, True), (5.1, False), (30, False)]
)
def test_the_time_of_the_work_begins_with_what_its_due_time_counts_from(days_before: float, closes: bool) -> None:
    late = replace(VISIT, created_at=MONDAY + timedelta(days=5))
    seen = visit("a", "fulfilled", late.created_at - timedelta(days=days_before))
    assert (closed(late, seen, discharge=MONDAY) is not None) is closes


MISSED = visit("m", "noshow", MONDAY + hours(8), seen_at=MONDAY + hours(9))
SEEN = MONDAY + hours(11)


@pytest.mark.parametrize(
    ("events", "evidence"),
    [
        ((MISSED,), None),
        ((MISSED, visit("n", "booked", MONDAY + hours(99), seen_at=SEEN)), "n"),
        ((MISSED, visit("n", "fulfilled", MONDAY + hours(20), seen_at=SEEN)), "n"),
        ((MISSED, visit("n", "noshow", MONDAY + hours(20), seen_at=SEEN)), None),
        ((MISSED, visit("n", "proposed", MONDAY + hours(99), seen_at=SEEN)), None),
        ((visit("m", "booked", MONDAY + hours(99), seen_at=SEEN),), "m"),
        ((visit("m", "fulfilled", MONDAY + hours(8), seen_at=SEEN),), "m"),
        ((visit("m", "booked", MONDAY + hours(8), seen_at=SEEN),), None),
        ((visit("m", "booked", MONDAY + hours(99), seen_at=MONDAY + hours(10)),), None),
        ((visit("m", "cancelled", MONDAY + hours(99), seen_at=SEEN),), None),
        ((MISSED, visit("o", "fulfilled", MONDAY + hours(7))), None),
    ],
    ids=["the miss itself", "booked anew", "held anew", "missed anew", "only proposed", "moved to later",
         "held after all", "marked booked again", "as it was when the work was made", "cancelled", "held before it"],
)  # fmt: skip
def test_rebooking_is_closed_by_a_new_visit_or_the_moved_one(events: tuple[Event, ...], evidence: str | None) -> None:
    assert closed(REBOOK, *events) == (f"Appointment/{evidence}" if evidence else None)


REOPENED = (moved("to-call", "reached", MONDAY + hours(3)), moved("reached", "to-call", MONDAY + hours(4)))


@pytest.mark.parametrize(("seen", "closes"), [(2, False), (4, False), (4.001, True), (9, True)])
def test_after_a_reopening_only_what_arrived_since_closes_again(seen: float, closes: bool) -> None:
    found = visit("a", "fulfilled", MONDAY + hours(1), seen_at=MONDAY + hours(seen))
    assert (closed(replace(VISIT, cycle=1), found, log=REOPENED) is not None) is closes


def test_the_same_evidence_may_close_a_second_cycle_under_a_key_of_its_own() -> None:
    again = visit("a", "fulfilled", MONDAY + hours(1), seen_at=MONDAY + hours(9))
    first = done_by(DEMO, facts(VISIT, events=(again,)))
    second = done_by(DEMO, facts(replace(VISIT, cycle=1), events=(again,), log=REOPENED))
    assert first is not None
    assert second is not None
    assert (first[0].key.cycle, second[0].key.cycle) == ("0:Appointment/a", "1:Appointment/a")


@pytest.mark.parametrize("code", ["first-call", "touch", "unknown", ""])
def test_work_without_such_a_rule_is_closed_by_people_only(code: str) -> None:
    assert done_by(DEMO, facts(item(code=code), events=(visit("a", "fulfilled", MONDAY + hours(1)),))) is None


def test_work_that_moves_by_itself_only_moves() -> None:
    demo = with_rule("{unassigned_for: 0 hours}")
    seen = visit("a", "fulfilled", MONDAY + hours(1))
    effects = evaluate(demo, facts(VISIT, events=(seen,)), MONDAY + hours(2)).effects
    assert [type(one) for one in effects] == [SetStatus]
    without = evaluate(demo, facts(VISIT), MONDAY + hours(2)).effects
    assert [one.key.rule for one in without] == ["r"]


def held(**changes: object) -> WorkItem:
    base = {"status": "waiting", "clock": "paused", "status_since": MONDAY + hours(1), "hold_until": MONDAY + hours(9)}
    return item(**{**base, **changes})


def letter(seen: float, status: str = "current", code: str = "urn:l|letter") -> Event:
    return event("DocumentReference/d", status, MONDAY, seen_at=MONDAY + hours(seen), codes=(code,))


@pytest.mark.parametrize(
    ("known", "now", "ends"),
    [
        (facts(held()), 8.999, False),
        (facts(held()), 9, True),
        (facts(held(), events=(letter(2),)), 3, True),
        (facts(held(), events=(letter(1),)), 3, False),
        (facts(held(), events=(letter(0.5),)), 3, False),
        (facts(held(), events=(letter(2, "entered-in-error"),)), 3, False),
        (facts(held(), events=(visit("a", "booked", MONDAY, seen_at=MONDAY + hours(2)),)), 3, False),
        (facts(held(hold_event="document.note"), events=(letter(2),)), 3, False),
        (facts(held(hold_event="document.note"), events=(letter(2, code="urn:l|note"),)), 3, True),
        (facts(held(hold_event="lunch.eaten"), events=(letter(2),)), 3, False),
        (facts(held(hold_until=None)), 99_999, False),
        (facts(held(hold_until=None), events=(letter(2),)), 3, True),
        (facts(held(status="to-call", clock="running")), 99, False),
        (facts(held(status="gone")), 9, True),
        (facts(held(status="gone", clock="running")), 9, False),
    ],
)
def test_a_hold_ends_at_its_time_or_its_event_whichever_is_first(known: Facts, now: float, ends: bool) -> None:
    assert (hold_end(DEMO, known, MONDAY + hours(now)) is not None) is ends


@pytest.mark.parametrize(
    ("log", "back_to"),
    [
        ((), "to-call"),
        ((moved("to-call", "waiting", MONDAY),), "to-call"),
        ((moved("to-call", "calling", MONDAY), moved("calling", "waiting", MONDAY + hours(1))), "calling"),
        ((moved("calling", "waiting", MONDAY), moved("waiting", "waiting", MONDAY + hours(1))), "calling"),
        ((moved("calling", "gone", MONDAY), moved("gone", "waiting", MONDAY + hours(1))), "calling"),
        ((moved("reached", "waiting", MONDAY),), "to-call"),
        ((moved("calling", "x", MONDAY, "owner"), moved("to-call", "waiting", MONDAY)), "to-call"),
    ],
)
def test_a_hold_goes_back_to_the_last_running_status(log: tuple[Transition, ...], back_to: str) -> None:
    found = hold_end(DEMO, facts(held(), log=log), MONDAY + hours(9))
    assert found is not None
    assert found[0].status == back_to


def test_why_a_hold_ended() -> None:
    by_time = hold_end(DEMO, facts(held()), MONDAY + hours(9))
    by_event = hold_end(DEMO, facts(held(), events=(letter(2),)), MONDAY + hours(3))
    assert by_time is not None
    assert by_event is not None
    assert by_time[0].reason == "the hold ended: it was until Mon 9 Mar 2026 18:00"
    assert by_event[0].reason == "the hold ended: DocumentReference/d (current) arrived"
    assert (by_time[0].evidence, by_event[0].evidence) == ((), ("DocumentReference/d",))


def test_each_hold_ends_once_under_a_key_of_its_own() -> None:
    keys = {
        found[0].key
        for since in (1, 2, 3)
        if (found := hold_end(DEMO, facts(held(status_since=MONDAY + hours(since))), MONDAY + hours(9)))
    }
    assert len(keys) == 3
