"""Each predicate's three answers: holds, why, next change."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from fhir_tracker.model.facts import Facts, Verdict
from fhir_tracker.rules.catalog import PREDICATES
from fhir_tracker.rules.conditions import judge
from fhir_tracker.rules.sla import sla_due
from tests.rules.samples import (
    MONDAY,
    attempt,
    event,
    facts,
    fired,
    hours,
    item,
    moved,
    ny,
    plan,
    plan_item,
    visit,
    with_rule,
)

DUE = ny("2026-03-09 17:00")


def judged(when: str, known: Facts, now: datetime, subject: str = "task") -> tuple[Verdict, ...]:
    demo = with_rule(when, subject=subject)
    return judge(demo, known, demo.rules[0].when, now)


def one(when: str, known: Facts, now: datetime, subject: str = "task") -> Verdict:
    (verdict,) = judged(when, known, now, subject)
    return verdict


def test_task_is_a_filter_by_kind_of_work() -> None:
    assert one("{task: first-call}", facts(), MONDAY).holds
    assert one("{task: [visit, first-call]}", facts(), MONDAY).holds
    verdict = one("{task: visit}", facts(), MONDAY)
    assert (verdict.holds, verdict.why, verdict.next_change) == (False, "the work is first-call, not visit", None)


@pytest.mark.parametrize(
    ("when", "now", "holds", "next_change"),
    [
        ("{overdue_by: 0 hours}", DUE - timedelta(seconds=1), False, DUE),
        ("{overdue_by: 0 hours}", DUE, True, None),
        ("{overdue_by: 2 hours}", DUE + hours(1), False, DUE + hours(2)),
        ("{overdue_by: 2 hours}", DUE + hours(2), True, None),
        ("{overdue_by: 2 business hours}", DUE + hours(5), False, ny("2026-03-10 10:00")),
        ("{overdue_by: 2 business hours}", ny("2026-03-10 10:00"), True, None),
        ("{due_within: 4 hours}", DUE - hours(5), False, DUE - hours(4)),
        ("{due_within: 4 hours}", DUE - hours(4), True, DUE),
        ("{due_within: 4 hours}", DUE, False, None),
        ("{due_within: 1 business day}", ny("2026-03-06 07:59"), False, ny("2026-03-06 08:00")),
        ("{due_within: 1 business day}", ny("2026-03-06 08:00"), True, DUE),
    ],
)
def test_late_and_soon_change_exactly_at_their_moment(
    when: str, now: datetime, holds: bool, next_change: datetime | None
) -> None:
    verdict = one(when, facts(item(due_at=DUE)), now)
    assert (verdict.holds, verdict.next_change) == (holds, next_change)


def test_why_names_the_facts_used() -> None:
    verdict = one("{overdue_by: 0 hours}", facts(item(due_at=DUE)), DUE + hours(2))
    assert verdict.why == "First call is 2 h late: due Mon 9 Mar 2026 17:00, still to call"
    assert verdict.facts == {"due": "2026-03-09T21:00:00.000Z", "status": "to-call", "allowed": "0 hours"}
    assert verdict.since == DUE


def test_which_work_a_rule_is_about_is_not_repeated_in_why() -> None:
    verdict = one("{all: [{task: first-call}, {overdue_by: 0 hours}]}", facts(item(due_at=DUE)), DUE + hours(2))
    assert verdict.why == "First call is 2 h late: due Mon 9 Mar 2026 17:00, still to call"
    assert verdict.facts["task"] == "first-call"
    assert one("{task: first-call}", facts(), MONDAY).why == "the work is first-call"


def test_work_without_a_due_time_is_never_late() -> None:
    assert not one("{overdue_by: 0 hours}", facts(), DUE).holds
    assert not one("{due_within: 1 day}", facts(), DUE).holds


@pytest.mark.parametrize("when", ["{overdue_by: 0 hours}", "{due_within: 9 days}"])
def test_nothing_is_late_or_soon_while_the_clock_is_paused(when: str) -> None:
    verdict = one(when, facts(item(due_at=DUE, status="waiting", clock="paused")), DUE + hours(1))
    assert (verdict.holds, verdict.next_change) == (False, None)
    assert "paused" in verdict.why


@pytest.mark.parametrize(
    "when", ["{overdue_by: 0 hours}", "{task: first-call}", "{not: {overdue_by: 9 days}}", "{unassigned_for: 0 hours}"]
)
def test_closed_work_never_holds(when: str) -> None:
    closed = facts(item(due_at=DUE, status="reached", open=False))
    assert one(when, closed, DUE + hours(50)) == Verdict(
        holds=False, why="the work is closed", facts={"status": "reached"}
    )


@pytest.mark.parametrize(
    ("pauses", "shift"),
    [
        ([(2, 5)], 3),
        ([(2, 5), (6, 7)], 4),
        ([(7.5, 20), (21, 22)], 12.5),
        ([(9, 12)], 0),
        ([(7, 12), (13, 14)], 5),
        ([], 0),
    ],
)
def test_a_pause_before_the_due_time_moves_it(pauses: list[tuple[float, float]], shift: float) -> None:
    log = [moved(None, "to-call", MONDAY)]
    for start, end in pauses:
        log += [moved("to-call", "waiting", MONDAY + hours(start)), moved("waiting", "to-call", MONDAY + hours(end))]
    known = facts(item(due_at=MONDAY + hours(8)), log=tuple(log))
    assert sla_due(with_rule("{flag: x}"), known) == MONDAY + hours(8 + shift)


def test_a_new_due_time_forgets_the_pauses_before_it() -> None:
    log = (
        moved("to-call", "waiting", MONDAY),
        moved("waiting", "to-call", MONDAY + hours(2)),
        moved("x", "y", MONDAY + hours(3), "due"),
    )
    assert sla_due(with_rule("{flag: x}"), facts(item(due_at=DUE), log=log)) == DUE


def test_late_counts_from_the_moved_due_time() -> None:
    log = (moved("to-call", "waiting", MONDAY + hours(1)), moved("waiting", "to-call", MONDAY + hours(3)))
    known = facts(item(due_at=DUE), log=log)
    assert one("{overdue_by: 0 hours}", known, DUE).next_change == DUE + hours(2)
    assert one("{overdue_by: 0 hours}", known, DUE + hours(2)).holds


def test_unassigned_counts_from_the_last_release() -> None:
    log = (moved(None, "Practitioner/a", MONDAY, "owner"), moved("Practitioner/a", None, MONDAY + hours(2), "owner"))
    known = facts(log=log)
    assert one("{unassigned_for: 4 hours}", known, MONDAY + hours(5)).next_change == MONDAY + hours(6)
    verdict = one("{unassigned_for: 4 hours}", known, MONDAY + hours(6))
    assert verdict.holds
    assert verdict.why == "First call has had no owner for 4 h in the queue of care-coordinator"
    assert not one("{unassigned_for: 0 hours}", facts(item(owner="Practitioner/a")), MONDAY + hours(99)).holds


@pytest.mark.parametrize(
    ("when", "status", "holds"),
    [
        ("{in_status_for: {status: calling, for: 2 hours}}", "calling", True),
        ("{in_status_for: {status: [waiting, calling], for: 2 hours}}", "calling", True),
        ("{in_status_for: {for: 2 hours}}", "calling", True),
        ("{in_status_for: {status: calling, for: 3 hours}}", "calling", False),
        ("{in_status_for: {status: to-call, for: 0 hours}}", "calling", False),
    ],
)
def test_too_long_in_a_status(when: str, status: str, holds: bool) -> None:
    assert one(when, facts(item(status=status)), MONDAY + hours(2)).holds is holds


OUTREACH = "{outreach_failed: {attempts: 2, over: 1 day, channels: 2}}"


def test_outreach_has_failed_when_tries_channels_and_time_are_used_up() -> None:
    tries = (attempt("a", MONDAY), attempt("b", MONDAY + hours(1), "left-message", "sms"))
    early = one(OUTREACH, facts(events=tries), MONDAY + hours(2))
    assert (early.holds, early.next_change) == (False, MONDAY + timedelta(days=1))
    late = one(OUTREACH, facts(events=tries), MONDAY + timedelta(days=1))
    assert late.holds
    assert late.why.startswith("2 failed attempts on 2 channels since the patient was last reached, first on Mon 9 Mar")


@pytest.mark.parametrize(
    "tries",
    [
        (attempt("a", MONDAY),),
        (attempt("a", MONDAY), attempt("b", MONDAY + hours(1))),
        (attempt("a", MONDAY), attempt("b", MONDAY, channel="sms"), attempt("c", MONDAY + hours(1), "reached")),
        (attempt("a", MONDAY), attempt("b", MONDAY, channel="sms", about="Task/other")),
    ],
    ids=["too few", "one channel", "reached since", "about other work"],
)
def test_outreach_has_not_failed(tries: tuple[object, ...]) -> None:
    assert not one(OUTREACH, facts(events=tries), MONDAY + timedelta(days=9)).holds


def test_a_plan_counts_the_attempts_of_all_its_tasks() -> None:
    tries = (attempt("a", MONDAY), attempt("b", MONDAY + hours(1), channel="sms", about="Task/t2"))
    tasks = (item(), item(ref="Task/t2", open=False))
    assert one(OUTREACH, facts(plan_item(), events=tries, tasks=tasks), MONDAY + hours(30), "plan").holds


MISSED = "{appointment_missed: {service: visit, grace: 2 hours}}"


@pytest.mark.parametrize(
    ("visits", "occurrence"),
    [
        ((visit("a", "noshow", MONDAY),), "Appointment/a"),
        ((visit("a", "cancelled", MONDAY),), "Appointment/a"),
        ((visit("a", "noshow", MONDAY), visit("b", "noshow", MONDAY + hours(24))), "Appointment/a"),
        ((visit("a", "noshow", MONDAY), visit("b", "booked", MONDAY + hours(99))), None),
        ((visit("a", "noshow", MONDAY), visit("b", "fulfilled", MONDAY + hours(24))), None),
        ((visit("a", "fulfilled", MONDAY), visit("b", "noshow", MONDAY + hours(24))), "Appointment/b"),
        ((visit("a", "noshow", MONDAY, codes=("urn:x|other",)),), None),
        ((visit("a", "noshow", MONDAY, codes=("urn:other|check",)),), "Appointment/a"),
        ((visit("a", "noshow", MONDAY - timedelta(days=400)),), None),
        ((visit("a", "booked", MONDAY),), "Appointment/a"),
        ((visit("a", "booked", MONDAY + hours(71)),), None),
        (
            (
                visit("a", "cancelled", MONDAY + timedelta(days=14), seen_at=MONDAY),
                visit("b", "booked", MONDAY + timedelta(days=10)),
            ),
            None,
        ),
    ],
)
def test_a_chain_of_missed_visits_is_one_case(visits: tuple[object, ...], occurrence: str | None) -> None:
    verdict = one(MISSED, facts(plan_item(), events=visits), MONDAY + hours(72), "plan")
    assert (verdict.holds, verdict.occurrence or None) == (occurrence is not None, occurrence)


def test_a_booked_visit_without_outcome_is_missed_after_the_grace() -> None:
    known = facts(plan_item(), events=(visit("a", "booked", MONDAY),))
    assert one(MISSED, known, MONDAY + hours(1), "plan").next_change == MONDAY + hours(2)
    assert one(MISSED, known, MONDAY + hours(2), "plan").holds


def test_a_visit_missed_after_the_case_was_closed_is_a_new_case() -> None:
    visits = (visit("a", "noshow", MONDAY), visit("b", "noshow", MONDAY + hours(48), seen_at=MONDAY + hours(49)))
    done = item(ref="Task/rebook", open=False, status_since=MONDAY + hours(20))
    case = fired(0, MONDAY, cycle="0:Appointment/a", item_ref="CarePlan/p1", task="Task/rebook")
    known = facts(plan_item(), events=visits, tasks=(done,), fired=(case,))
    assert one(MISSED, known, MONDAY + hours(72), "plan").occurrence == "Appointment/b"


NOTE = "{document_missing: note}"


def document(name: str, at: datetime, about: tuple[str, ...] = ()) -> object:
    return event(f"DocumentReference/{name}", "current", at, codes=("urn:l|note",), about=about)


def test_a_document_is_missing_when_its_time_is_over() -> None:
    known = facts(plan_item(), events=(visit("a", "fulfilled", MONDAY),))
    early = one(NOTE, known, MONDAY + hours(47), "plan")
    assert (early.holds, early.next_change) == (False, MONDAY + hours(48))
    late = one(NOTE, known, MONDAY + hours(48), "plan")
    assert (late.holds, late.occurrence, late.since) == (True, "Appointment/a", MONDAY + hours(48))
    assert late.facts["after"] == "Appointment/a"


def test_each_visit_is_a_case_of_its_own_and_late_filing_ends_it() -> None:
    second = MONDAY + timedelta(days=7)
    visits = (visit("a", "fulfilled", MONDAY), visit("b", "fulfilled", second))
    now = MONDAY + timedelta(days=20)
    both = judged(NOTE, facts(plan_item(), events=visits), now, "plan")
    assert [verdict.occurrence for verdict in both] == ["Appointment/a", "Appointment/b"]
    filed = (*visits, document("d", now, ("Appointment/a",)))
    assert [v.occurrence for v in judged(NOTE, facts(plan_item(), events=filed), now, "plan")] == ["Appointment/b"]
    unlinked = (*visits, document("d", second + hours(1)))
    assert [v.occurrence for v in judged(NOTE, facts(plan_item(), events=unlinked), now, "plan")] == ["Appointment/a"]


def test_a_document_after_a_moment_of_the_plan_has_one_case() -> None:
    known = facts(plan_item())
    verdict = one("{document_missing: summary}", known, ny("2026-03-11 17:00"), "plan")
    assert (verdict.holds, verdict.occurrence) == (True, "")
    filed = event("DocumentReference/s", "current", ny("2026-03-09 00:00"), codes=("urn:l|summary",))
    assert not one(
        "{document_missing: summary}", facts(plan_item(), events=(filed,)), ny("2026-03-20 17:00"), "plan"
    ).holds


@pytest.mark.parametrize(
    ("status", "codes", "holds"),
    [("active", ("urn:f|risk",), True), ("inactive", ("urn:f|risk",), False), ("active", ("urn:f|fall",), False)],
)
def test_a_flag_counts_while_it_is_active(status: str, codes: tuple[str, ...], holds: bool) -> None:
    flag = event("Flag/f", status, MONDAY, codes=codes, end=MONDAY + hours(10))
    verdict = one("{flag: risk}", facts(events=(flag,)), MONDAY + hours(1))
    assert (verdict.holds, verdict.next_change) == (holds, MONDAY + hours(10) if holds else None)
    assert not one("{flag: risk}", facts(events=(flag,)), MONDAY + hours(10)).holds


def test_stage_and_priority_are_filters() -> None:
    assert one("{stage: enrolled}", facts(), MONDAY).holds
    assert not one("{stage: completed}", facts(), MONDAY).holds
    assert one("{stage: enrolled}", facts(plan_item(), plan=None), MONDAY, "plan").holds
    assert one("{priority: [urgent, stat]}", facts(item(priority="stat")), MONDAY).holds
    assert not one("{priority: urgent}", facts(), MONDAY).holds


def test_all_any_and_not_keep_the_three_answers() -> None:
    known = facts(item(due_at=DUE))
    both = "{all: [{overdue_by: 0 hours}, {unassigned_for: 2 hours}]}"
    assert one(both, known, MONDAY).next_change == MONDAY + hours(2)
    assert one(both, known, DUE).since == DUE
    either = "{any: [{overdue_by: 0 hours}, {unassigned_for: 2 hours}]}"
    assert one(either, known, DUE).since == MONDAY + hours(2)
    assert one("{not: {overdue_by: 0 hours}}", known, MONDAY).next_change == DUE
    assert not one("{not: {overdue_by: 0 hours}}", known, DUE).holds


def test_every_predicate_says_what_it_takes_and_means() -> None:
    assert len(PREDICATES) == 12
    assert all(one.takes and one.says and one.subjects for one in PREDICATES.values())


def test_events_before_the_plan_do_not_concern_it() -> None:
    old = visit("a", "fulfilled", MONDAY - timedelta(days=30))
    known = facts(plan_item(), events=(old,), plan=plan())
    assert not one(NOTE, known, MONDAY + timedelta(days=30), "plan").holds


def test_reached_is_what_the_last_try_did_and_each_is_a_case() -> None:
    when = "{outreach_reached: true}"
    assert one(when, facts(), MONDAY).why == "nobody has tried to reach the patient"
    reached = facts(events=(attempt("a", MONDAY), attempt("b", MONDAY + hours(1), "reached")))
    verdict = one(when, reached, MONDAY + hours(2))
    assert (verdict.holds, verdict.occurrence) == (True, "Communication/b")
    later = facts(events=(*reached.events, attempt("c", MONDAY + hours(3))))
    assert one(when, later, MONDAY + hours(4)).why == "the last try did not reach the patient"


def test_a_policy_can_be_exhausted_again_after_the_patient_was_reached() -> None:
    when = "{outreach_failed: {attempts: 1}}"
    first = (attempt("a", MONDAY),)
    assert one(when, facts(events=first), MONDAY).occurrence == ""
    again = (*first, attempt("b", MONDAY + hours(1), "reached"), attempt("c", MONDAY + hours(2)))
    assert one(when, facts(events=again), MONDAY + hours(2)).occurrence == "Communication/b"


def test_the_same_appointment_missed_again_after_its_case_was_closed_is_a_new_case() -> None:
    closed = replace(item(ref="Task/w", code="rebook", open=False), status_since=MONDAY + hours(2))
    case = replace(fired(0, MONDAY, cycle="0:Appointment/v"), task="Task/w", kind="create-task")
    moved_on = visit("v", "noshow", MONDAY + hours(24), seen_at=MONDAY + hours(25))
    known = facts(plan_item(), events=(moved_on,), fired=(case,), tasks=(closed,))
    verdict = one("{appointment_missed: visit}", known, MONDAY + hours(26), "plan")
    assert (verdict.holds, verdict.occurrence) == (True, "Appointment/v#2")
    touched = replace(moved_on, start=MONDAY, seen_at=MONDAY + hours(25))
    known = facts(plan_item(), events=(touched,), fired=(case,), tasks=(closed,))
    assert one("{appointment_missed: visit}", known, MONDAY + hours(26), "plan").occurrence == "Appointment/v"
