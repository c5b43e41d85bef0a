"""What a plan can run into, each found by its own test: examples of when it holds, its cases, and when it ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from fhir_tracker.model.facts import Facts
from fhir_tracker.model.staff import Away, Person
from fhir_tracker.model.standing import PatientFacts
from fhir_tracker.model.vocabulary import EXCEPTIONS, FLAG_SYSTEM
from fhir_tracker.model.work import Event
from tests.rules.samples import MONDAY, attempt, event, facts, fired, hours, item, moved, plan, plan_item, visit
from tests.rules.situations import answered

DAY = timedelta(days=1)
NOON = MONDAY + hours(3)


def cases(when: str, known: Facts, days: float, subject: str = "plan") -> list[str]:
    """The cases that hold that many days after Monday; an item without a case is "-"."""
    return [one.occurrence or "-" for one in answered(when, known, MONDAY + days * DAY, subject) if one.holds]


def seen(*events: Event, **changes: Any) -> Facts:
    return facts(plan_item(), events=events, **changes)


def reading(name: str, days: float, value: str = "152 mm[Hg]", **detail: str) -> Event:
    said = {"component |sys value": value, **detail}
    return event(f"Observation/{name}", "final", MONDAY + days * DAY, codes=("|bp",), detail=said)


HIGH = "{observation: {code: bp, component: sys, above: '150 mm[Hg]', times: 2}}"


def test_two_high_readings_running_are_a_case_until_one_is_lower() -> None:
    first, second, low = reading("a", 1), reading("b", 2), reading("c", 3, "140 mm[Hg]")
    assert cases(HIGH, seen(first), 2.5) == []
    assert cases(HIGH, seen(first, second), 1.5) == []
    assert cases(HIGH, seen(first, second), 2.5) == ["Observation/a"]
    assert cases(HIGH, seen(first, second, low), 3.5) == []
    assert cases(HIGH, seen(first, second, low, reading("d", 4), reading("e", 5)), 6) == ["Observation/d"]
    assert cases(HIGH, seen(first, reading("k", 2, "21 kPa")), 3) == ["Observation/a"]
    assert cases(HIGH, seen(first, reading("x", 2, "7 %")), 3) == []


def test_any_two_high_readings_in_a_week_are_a_case_though_others_lie_between() -> None:
    when = "{observation: {code: bp, component: sys, above: '150 mm[Hg]', times: 2, of: any, within: 7 days}}"
    known = seen(reading("a", 1), reading("b", 2, "120 mm[Hg]"), reading("c", 5))
    assert cases(when, known, 6) == ["Observation/a"]
    assert cases(when, known, 8.5) == []


WINDOW = "{monitoring_incomplete: {Observation: {code: bp}, at_least: 3, every: 7 days, by: day, grace: 1 day}}"


def test_home_monitoring_is_incomplete_when_too_few_days_have_a_reading() -> None:
    some = [reading(f"r{number}", day) for number, day in enumerate((0.1, 0.2, 1, 7.5, 8.5, 9.5))]
    assert cases(WINDOW, seen(*some), 7.5) == []
    assert cases(WINDOW, seen(*some), 8.1) == ["window-1"]
    assert cases(WINDOW, seen(*some), 15.1) == []
    assert cases(WINDOW, seen(*some), 22.1) == ["window-3"]
    late = reading("late", 5)
    assert cases(WINDOW, seen(*some, late), 8.1) == []
    stay = event("Encounter/s", "finished", MONDAY + 2 * DAY, end=MONDAY + 3 * DAY, codes=("|IMP",))
    assert cases(WINDOW, seen(*some, stay), 8.1) == []


def test_a_result_that_was_ordered_and_has_not_come_is_missing_labs() -> None:
    when = (
        "{absent: {expect: {Observation: {code: a1c}}, after: {ServiceRequest: {code: a1c, status: active}}, "
        "within: 7 days}}"
    )
    order = event("ServiceRequest/o", "active", MONDAY, codes=("|a1c",))
    again = event("ServiceRequest/p", "active", MONDAY + 3 * DAY, codes=("|a1c",))
    result = event("Observation/r", "final", MONDAY + 9 * DAY, codes=("|a1c",), about=("ServiceRequest/o",))
    assert cases(when, seen(order), 6.9) == []
    assert cases(when, seen(order), 7.1) == ["ServiceRequest/o"]
    assert cases(when, seen(order, again), 10.1) == ["ServiceRequest/o", "ServiceRequest/p"]
    assert cases(when, seen(order, again, result), 10.1) == ["ServiceRequest/p"]


def test_a_chain_of_no_shows_is_one_case_until_a_visit_of_that_service_is_booked() -> None:
    when = "{no_show_chain: {service: visit, times: 2, within: 90 days}}"
    first, second = visit("a", "noshow", MONDAY + DAY), visit("b", "noshow", MONDAY + 8 * DAY)
    third = visit("c", "noshow", MONDAY + 15 * DAY)
    assert cases(when, seen(first), 2) == []
    assert cases(when, seen(first, second), 9) == ["Appointment/a"]
    assert cases(when, seen(first, second, third), 16) == ["Appointment/a"]
    assert cases(when, seen(first, second, visit("d", "booked", MONDAY + 20 * DAY)), 16) == []
    other = visit("d", "booked", MONDAY + 20 * DAY, codes=("urn:x|other",))
    assert cases(when, seen(first, second, other), 16) == ["Appointment/a"]
    between = visit("x", "cancelled", MONDAY + 4 * DAY)
    assert cases(when, seen(first, between, second), 9) == ["Appointment/a"]
    assert cases(when, seen(first, second), 95) == []


def test_an_appointment_ahead_is_a_case_and_a_new_one_when_it_is_moved() -> None:
    when = "{appointment: {state: booked, service: visit, ahead: 2 days}}"
    booked = visit("a", "booked", MONDAY + 5 * DAY)
    assert cases(when, seen(booked), 2.9) == []
    assert cases(when, seen(booked), 3.1) == ["Appointment/a#2026-03-14T13:00:00.000Z"]
    assert cases(when, seen(booked), 5) == []
    assert cases(when, seen(visit("a", "booked", MONDAY + 6 * DAY)), 4.5) == ["Appointment/a#2026-03-15T13:00:00.000Z"]
    assert cases("{appointment: {state: cancelled, within: 1 day}}", seen(visit("a", "cancelled", MONDAY)), 0.5) == [
        "Appointment/a#2026-03-09T13:00:00.000Z"
    ]


def test_what_was_seen_counts_within_its_time_and_each_can_be_a_case() -> None:
    visits = [event(f"Encounter/{day}", "finished", MONDAY + day * DAY, codes=("|EMER",)) for day in (1, 4)]
    twice = "{seen: {Encounter: {class: EMER, within: 5 days}, times: 2}}"
    assert cases(twice, seen(*visits), 4.5) == ["-"]
    assert cases(twice, seen(*visits), 6.5) == []
    each = "{seen: {Encounter: {class: EMER}, after: enrolment, each: true}}"
    assert cases(each, seen(*visits), 5) == ["Encounter/1", "Encounter/4"]
    assert cases(each, seen(*visits, plan=plan(MONDAY + 2 * DAY, discharge=MONDAY)), 5) == ["Encounter/4"]


def test_a_contraindication_is_an_allergy_and_the_drug_together_or_an_issue_that_was_detected() -> None:
    when = (
        "{any: [{all: [{seen: {AllergyIntolerance: {code: penicillin, status: active}}}, "
        "{seen: {MedicationRequest: {code: penicillin, status: active}}}]}, "
        "{seen: {DetectedIssue: {code: [DRG, TPROD], status: [preliminary, final]}}}]}"
    )
    allergy = event("AllergyIntolerance/a", "active", MONDAY, codes=("|penicillin",))
    drug = event("MedicationRequest/m", "active", MONDAY, codes=("|penicillin",))
    assert cases(when, seen(allergy), 1) == []
    assert cases(when, seen(allergy, drug), 1) == ["-"]
    assert cases(when, seen(event("DetectedIssue/i", "final", MONDAY, codes=("|DRG",))), 1) == ["-"]


def payer(name: str, answer: str, days: float, *about: str) -> Event:
    return event(f"ClaimResponse/{name}", "active", MONDAY + days * DAY, detail={"authorization": answer}, about=about)


def test_prior_authorisation_is_what_the_payer_last_said_to_each_request() -> None:
    pending, denied = "{authorization: {is: pending, for: 5 days}}", "{authorization: denied}"
    first = payer("a", "pending", 0, "Claim/1")
    assert cases(pending, seen(first), 4.9) == []
    assert cases(pending, seen(first), 5.1) == ["ClaimResponse/a"]
    both = seen(first, payer("b", "denied", 6, "Claim/1"), payer("c", "approved", 6, "Claim/2"))
    assert cases(pending, both, 7) == []
    assert cases(denied, both, 7) == ["ClaimResponse/a"]
    by_hand = event("Flag/f", "active", MONDAY, codes=(f"{FLAG_SYSTEM}|prior-auth-denied",))
    assert cases(denied, seen(by_hand), 1) == ["Flag/f"]
    by_rule = event("Flag/g", "active", MONDAY, codes=(f"{FLAG_SYSTEM}|prior-auth-denied",), detail={"raised": "rules"})
    assert cases(denied, seen(by_rule), 1) == []
    assert cases(denied, seen(by_rule, by_hand), 1) == ["Flag/f"]
    assert cases("{exception: prior-auth-denied}", seen(by_rule, by_hand), 1) == ["Flag/f", "Flag/g"]


@pytest.mark.parametrize("state", ["deceased", "inactive", "moved", "merged"])
def test_the_record_says_what_became_of_the_patient(state: str) -> None:
    then = MONDAY + DAY
    standing = {
        "deceased": PatientFacts(ref="Patient/synthetic-1", deceased_at=then),
        "inactive": PatientFacts(ref="Patient/synthetic-1", inactive_since=then),
        "moved": PatientFacts(ref="Patient/synthetic-1", moved_at=then),
        "merged": PatientFacts(ref="Patient/synthetic-1", merged_at=then),
    }
    known = seen(patient=standing[state])
    assert cases(f"{{patient: {state}}}", known, 0.5) == []
    assert cases(f"{{patient: {state}}}", known, 1.5) == ["-"]
    assert cases(f"{{patient: {state}}}", seen(), 1.5) == []
    by_hand = event("Flag/f", "active", MONDAY, codes=(f"{FLAG_SYSTEM}|{state}",))
    assert cases(f"{{patient: {state}}}", seen(by_hand), 1.5) == ["-"]


def test_a_move_of_before_the_plan_is_none() -> None:
    known = seen(patient=PatientFacts(ref="Patient/synthetic-1", moved_at=MONDAY - DAY))
    assert cases("{patient: moved}", known, 1) == []


@pytest.mark.parametrize("code", EXCEPTIONS)
def test_every_exception_can_be_marked_by_hand_and_each_mark_is_a_case(code: str) -> None:
    marks = [event(f"Flag/{name}", "active", MONDAY, codes=(f"{FLAG_SYSTEM}|{code}",)) for name in "ab"]
    assert cases(f"{{exception: {code}}}", seen(*marks), 1) == ["Flag/a", "Flag/b"]
    assert cases(f"{{exception: {code}}}", seen(event("Flag/c", "active", MONDAY, codes=(f"urn:x|{code}",))), 1) == []


def test_each_stay_in_hospital_is_a_case() -> None:
    one = event("Encounter/a", "finished", MONDAY, end=MONDAY + 3 * DAY, codes=("|IMP",))
    two = event("Encounter/b", "in-progress", MONDAY + 10 * DAY, codes=("|OBSENC",))
    assert [cases("{in_hospital: true}", seen(one, two), day) for day in (1, 5, 11)] == [
        ["Encounter/a"],
        [],
        ["Encounter/b"],
    ]
    assert [cases("{in_hospital: {for: 2 days}}", seen(one), day) for day in (1, 2.5)] == [[], ["Encounter/a"]]


HELD = item(status="waiting", clock="paused", status_since=MONDAY, hold_event=None)


def test_a_hold_is_known_by_its_length_its_reason_and_its_end() -> None:
    row = moved("to-call", "waiting", MONDAY)
    because = facts(HELD, log=(row,))
    coded = facts(HELD, log=(replace(row, reason_code="waiting-for-payer"),))
    assert cases("{hold: true}", because, 1, "task") == ["-"]
    assert cases("{hold: true}", facts(item()), 1, "task") == []
    assert cases("{hold: {for: 5 days, reason: waiting-for-payer}}", coded, 4, "task") == []
    assert cases("{hold: {for: 5 days, reason: waiting-for-payer}}", coded, 6, "task") == ["-"]
    assert cases("{hold: {reason: waiting-for-payer}}", because, 6, "task") == []
    assert cases("{reason: waiting-for-payer}", coded, 1, "task") == ["-"]
    assert cases("{reason: other}", coded, 1, "task") == []
    ends = facts(HELD.having(hold_until=MONDAY + 4 * DAY))
    assert [cases("{hold: {ends_within: 2 days}}", ends, day, "task") for day in (1, 3)] == [[], ["-"]]


def test_the_attempts_that_touched_the_work_last_are_named() -> None:
    tries = (attempt("a", MONDAY + hours(1)), attempt("b", MONDAY + hours(2)), attempt("c", MONDAY + hours(2)))
    when = "{untouched_for: 2 days}"
    (found,) = answered(when, facts(events=tries), MONDAY + 3 * DAY, "task")
    assert (found.holds, found.facts["by"]) == (True, "Communication/b Communication/c")
    (later,) = answered(when, facts(events=tries, log=(moved("", "Practitioner/a", NOON, "owner"),)), NOON, "task")
    assert (later.holds, "by" in later.facts) == (False, False)


def test_work_is_untouched_until_somebody_does_something_about_it() -> None:
    when = "{untouched_for: 2 days}"
    assert [cases(when, facts(), day, "task") for day in (1.9, 2.1)] == [[], ["-"]]
    by_rule = moved("routine", "urgent", MONDAY + DAY, what="priority")
    by_hand = moved("", "Practitioner/a", MONDAY + DAY, what="owner")
    ruled = replace(by_rule, rule="demo|1#r")
    assert cases(when, facts(log=(ruled,)), 2.1, "task") == ["-"]
    assert cases(when, facts(log=(by_hand,)), 2.1, "task") == []
    assert cases(when, facts(events=(attempt("c", MONDAY + DAY),)), 2.1, "task") == []


def test_handovers_count_from_owner_to_owner() -> None:
    people = ("", "Practitioner/a", "Practitioner/b", "Practitioner/a")
    rows = tuple(
        moved(before, after, MONDAY + n * DAY, what="owner") for n, (before, after) in enumerate(pairwise(people))
    )
    assert cases("{handed_over: {times: 2, within: 7 days}}", facts(log=rows), 3, "task") == ["-"]
    assert cases("{handed_over: {times: 2, within: 7 days}}", facts(log=rows), 8.5, "task") == []
    assert cases("{handed_over: {times: 3}}", facts(log=rows), 3, "task") == []


def test_an_owner_can_be_nobody_away_gone_or_of_another_role() -> None:
    ref = "Practitioner/a"
    away = Person(ref=ref, roles=frozenset({"rn"}), absences=(Away(start=MONDAY + DAY, end=MONDAY + 3 * DAY),))
    owned = facts(item(owner=ref), people={ref: away})
    assert [cases("{owner: away}", owned, day, "task") for day in (0.5, 2, 4)] == [[], ["-"], []]
    assert cases("{owner: wrong-role}", owned, 0.5, "task") == ["-"]
    assert cases(
        "{owner: inactive}", facts(item(owner=ref), people={ref: Person(ref=ref, active=False)}), 1, "task"
    ) == ["-"]
    assert cases("{owner: unknown}", facts(item(owner=ref)), 1, "task") == ["-"]
    assert cases("{owner: [none, away]}", facts(item()), 1, "task") == ["-"]


def test_outreach_that_was_declined_is_known_by_its_outcome_and_its_channel() -> None:
    tries = (attempt("a", MONDAY, "declined"), attempt("b", MONDAY + DAY, "wrong-number", "sms"))
    assert cases("{outreach: {outcome: declined, within: 2 days}}", seen(*tries, tasks=(item(),)), 1.5) == ["-"]
    assert cases("{outreach: {outcome: declined, within: 2 days}}", seen(*tries, tasks=(item(),)), 2.5) == []
    assert cases("{outreach: {channel: sms}}", seen(*tries, tasks=(item(),)), 1.5) == ["-"]
    reached = (*tries, attempt("c", MONDAY + 2 * DAY, "reached"))
    assert cases("{outreach: {outcome: declined}}", seen(*reached, tasks=(item(),)), 3) == []


def test_escalations_that_nobody_answers_are_known() -> None:
    level = fired(2, NOON, rule="earlier")
    assert cases("{escalated: {level: 2}}", facts(fired=(level,)), 1, "task") == ["-"]
    assert cases("{escalated: {level: 3}}", facts(fired=(level,)), 1, "task") == []
    waiting = "{escalated: {unanswered_for: 2 days}}"
    assert [cases(waiting, facts(fired=(level,)), day, "task") for day in (1, 3)] == [[], ["-"]]
    answered_ = fired(2, NOON, rule="earlier", state="acknowledged")
    assert cases(waiting, facts(fired=(answered_,)), 3, "task") == []


def test_a_plan_is_known_by_its_age_and_its_open_work() -> None:
    assert [cases("{plan_for: 30 days}", seen(), day) for day in (29, 31)] == [[], ["-"]]
    later = seen(plan=plan(MONDAY, discharge=MONDAY + 5 * DAY))
    assert [cases("{plan_for: {after: discharge, for: 1 day}}", later, day) for day in (5.5, 6.5)] == [[], ["-"]]
    assert cases("{open_work: {at_most: 0}}", seen(), 1) == ["-"]
    assert cases("{open_work: {task: visit}}", seen(tasks=(item(ref="Task/2", code="visit"),)), 1) == ["-"]
    assert cases("{open_work: {task: first-call}}", seen(tasks=(item(ref="Task/2", code="visit"),)), 1) == []
