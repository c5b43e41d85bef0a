"""Chronic care: a year of monthly touchpoints, labs and the yearly review, on the practice's wall clock."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from fhir_tracker import writes
from fhir_tracker.storage.database import Database
from tests.scenarios import invariants
from tests.scenarios.ehr import (
    CONSENT,
    DIABETES,
    HYPERTENSION,
    PROGRESS_NOTE,
    REVIEW,
    condition,
    document,
    local,
    patient,
    result,
    visit,
)
from tests.scenarios.practice import Practice, clock, due
from tests.support.clinic import NURSE


@pytest.fixture
def practice(database: Database) -> Practice:
    """Eve qualifies on Saturday 31 January at 14:30."""
    practice = Practice(database, local("2026-01-05 08:00"))
    start = local("2026-01-31 14:30")
    practice.ehr(start, patient("eve"), condition("c1", "eve", HYPERTENSION), condition("c2", "eve", DIABETES))
    return practice


def open_touch(practice: Practice) -> list[str]:
    return [one.ref for one in practice.work_of("eve", "touchpoint") if one.open]


def settle_the_rest(practice: Practice, at: datetime) -> None:
    """Close all but the touchpoint by hand."""
    for code, one in practice.todo("eve").items():
        if code != "touchpoint":
            practice.do(one.ref, "done", at, NURSE, note="Done in the story")


def test_fourteen_months_of_touchpoints_begin_on_the_last_days_of_short_months(practice: Practice) -> None:
    settle_the_rest(practice, local("2026-02-02 09:00"))
    for _ in range(14):
        (ref,) = open_touch(practice)
        practice.tries(ref, practice.now + timedelta(days=3), "reached")
        assert open_touch(practice) == []
        upcoming = practice.plans("eve")[0].next_action_at
        assert upcoming is not None
        practice.until(upcoming)
        settle_the_rest(practice, practice.now)
    begun = [clock(one.created_at) for one in practice.work_of("eve", "touchpoint")]
    assert begun == [
        "Sat 2026-01-31 14:30",
        "Sat 2026-02-28 14:30",
        "Tue 2026-03-31 14:30",
        "Thu 2026-04-30 14:30",
        "Sun 2026-05-31 14:30",
        "Tue 2026-06-30 14:30",
        "Fri 2026-07-31 14:30",
        "Mon 2026-08-31 14:30",
        "Wed 2026-09-30 14:30",
        "Sat 2026-10-31 14:30",
        "Mon 2026-11-30 14:30",
        "Thu 2026-12-31 14:30",
        "Sun 2027-01-31 14:30",
        "Sun 2027-02-28 14:30",
        "Wed 2027-03-31 14:30",
    ]
    labs = [clock(one.created_at) for one in practice.work_of("eve", "labs")]
    assert labs == ["Sat 2026-01-31 14:30", "Fri 2026-07-31 14:30", "Sun 2027-01-31 14:30"]
    assert len(practice.work_of("eve", "care-plan-review")) == 2
    invariants.hold(practice)


def test_a_missed_month_is_escalated_and_not_made_up_by_two_tasks(practice: Practice) -> None:
    settle_the_rest(practice, local("2026-02-02 09:00"))
    (first,) = open_touch(practice)
    assert due(practice.item(first)) == "Sat 2026-02-14 14:30"
    practice.until(local("2026-04-10 12:00"))
    assert open_touch(practice) == [first]
    assert practice.climbed(first) == [
        ("rn", "Tue 2026-02-17 08:00"),
        ("provider", "Thu 2026-02-19 17:00"),
        ("clinic-admin", "Tue 2026-02-24 17:00"),
    ]
    practice.tries(first, local("2026-04-10 12:05"), "reached")
    (now_open,) = open_touch(practice)
    assert due(practice.item(now_open)) == "Tue 2026-04-14 14:30"
    assert len(practice.work_of("eve", "touchpoint")) == 2
    practice.tries(now_open, local("2026-04-13 09:00"), "reached")
    practice.until(local("2026-04-30 14:30"))
    assert len(practice.work_of("eve", "touchpoint")) == 3
    invariants.hold(practice)


def test_labs_close_by_their_result_and_missing_ones_climb(practice: Practice) -> None:
    labs = practice.one("eve", "labs")
    assert (labs.role, due(labs)) == ("rn", "Mon 2026-03-02 14:30")
    practice.ehr(local("2026-02-10 09:00"), result("ldl", "eve", local("2026-02-10 08:00"), code="18262-6"))
    assert practice.item(labs.ref).open
    practice.until(local("2026-03-03 17:00"))
    assert practice.climbed(labs.ref) == [("rn", "Tue 2026-03-03 17:00")]
    practice.ehr(local("2026-03-04 09:00"), result("a1c", "eve", local("2026-03-04 07:30")))
    assert practice.item(labs.ref).status == "done"
    assert [one.open for one in practice.escalations("ehr-eve") if one.focus == labs.ref] == [False]
    invariants.hold(practice)


def test_a_hold_for_a_result_ends_when_it_arrives(practice: Practice) -> None:
    plan = practice.one("eve", "care-plan").ref
    until = local("2026-02-20 09:00").isoformat()
    practice.do(plan, "waiting", local("2026-02-03 09:00"), NURSE, hold_until=until, reason="Waiting for the HbA1c")
    practice.ehr(local("2026-02-06 09:00"), result("a1c", "eve", local("2026-02-06 07:30")))
    assert practice.item(plan).status == "to-do"
    invariants.hold(practice)


def test_consent_closes_by_its_document(practice: Practice) -> None:
    consent = practice.one("eve", "consent")
    assert due(consent) == "Fri 2026-02-13 17:00"
    practice.ehr(local("2026-02-04 11:00"), document("d", "eve", local("2026-02-04 10:50"), code=CONSENT))
    assert practice.item(consent.ref).status == "done"
    invariants.hold(practice)


def test_the_yearly_review_closes_by_its_visit_and_its_note_is_expected(practice: Practice) -> None:
    practice.ehr(local("2026-11-10 09:00"), visit("r1", "eve", local("2026-11-24 09:00"), service=REVIEW))
    practice.ehr(
        local("2026-11-24 10:00"), visit("r1", "eve", local("2026-11-24 09:00"), status="noshow", service=REVIEW)
    )
    again = practice.one("eve", "reschedule-review")
    assert due(again) == "Fri 2026-11-27 17:00"
    practice.ehr(local("2026-11-25 09:00"), visit("r2", "eve", local("2026-12-03 09:00"), service=REVIEW))
    assert practice.item(again.ref).status == "done"
    done = visit("r2", "eve", local("2026-12-03 09:00"), status="fulfilled", service=REVIEW)
    practice.ehr(local("2026-12-03 09:40"), done)
    assert practice.one("eve", "care-plan-review").status == "done"
    practice.until(local("2026-12-05 09:20"))
    assert practice.one("eve", "write-note").open
    practice.ehr(local("2026-12-07 09:00"), document("n", "eve", local("2026-12-07 08:50"), code=PROGRESS_NOTE))
    assert practice.one("eve", "write-note").status == "done"
    practice.until(local("2027-01-31 14:30"))
    assert [one.open for one in practice.work_of("eve", "care-plan-review")] == [False, True]
    assert due(practice.work_of("eve", "care-plan-review")[1]) == "Mon 2028-01-31 14:30"
    invariants.hold(practice)


def test_nobody_is_asked_to_call_a_patient_who_has_died_and_a_mistake_is_mended_by_hand(practice: Practice) -> None:
    practice.ehr(local("2026-02-10 09:00"), patient("eve", deceased=local("2026-02-09 22:00")))
    assert practice.todo("eve") == {}
    practice.until(local("2026-08-15 09:00"))
    assert practice.todo("eve") == {}
    practice.ehr(local("2026-08-15 09:00"), patient("eve"))
    assert practice.todo("eve") == {}
    practice.by_hand("ccm", "eve", local("2026-08-17 09:00"))
    assert set(practice.todo("eve")) == {"consent", "care-plan", "touchpoint", "care-plan-review", "labs"}
    invariants.hold(practice)


@pytest.mark.requirement(134)
def test_a_plan_revoked_through_the_api_cancels_its_open_work_with_the_reason(practice: Practice) -> None:
    plan, touch = practice.plans("eve")[0].ref, practice.one("eve", "touchpoint").ref
    note = {"note": [{"text": "Moved to another state"}]}
    with practice.acting(local("2026-02-02 09:00"), NURSE) as (tx, by):
        writes.update(tx, "CarePlan", plan.split("/")[1], practice.resource(plan) | {"status": "revoked"} | note, by)
    assert (practice.item(plan).open, practice.item(plan).status) == (False, "withdrawn")
    assert (practice.item(touch).open, practice.item(touch).fhir_status) == (False, "cancelled")
    row = practice.log(touch)[-1]
    assert (row.who, row.reason) == (NURSE.who, "The plan ended (withdrawn): Moved to another state")
    practice.until(local("2026-03-02 09:00"))
    assert practice.climbed(touch) == []
    assert len(practice.work_of("eve", "touchpoint")) == 1
    invariants.hold(practice)


def test_a_plan_completed_through_the_api_makes_no_new_work_and_its_open_work_stays_with_people(
    practice: Practice,
) -> None:
    status, stage = "completed", "completed"
    plan = practice.plans("eve")[0].ref
    with practice.acting(local("2026-02-02 09:00"), NURSE) as (tx, by):
        writes.update(tx, "CarePlan", plan.split("/")[1], practice.resource(plan) | {"status": status}, by)
    practice.work(local("2026-02-02 09:01"))
    closed = practice.item(plan)
    assert (closed.open, closed.status, closed.fhir_status) == (False, stage, status)
    practice.until(local("2026-04-02 09:00"))
    assert len(practice.work_of("eve", "touchpoint")) == 1
    assert practice.climbed(practice.one("eve", "touchpoint").ref) != []
    assert practice.by_hand("ccm", "eve", local("2026-04-02 09:10")) != plan
    invariants.hold(practice)


def test_a_patient_lost_twice_in_a_year_gets_two_letters(practice: Practice) -> None:
    settle_the_rest(practice, local("2026-02-02 09:00"))
    (first,) = open_touch(practice)
    lose(practice, first, "2026-02-03")
    assert len(practice.work_of("eve", "letter")) == 1
    practice.do(practice.one("eve", "letter").ref, "done", local("2026-02-12 09:00"), NURSE, note="Sent")
    practice.tries(first, local("2026-02-20 09:00"), "reached")
    practice.until(local("2026-03-01 09:00"))
    (second,) = open_touch(practice)
    lose(practice, second, "2026-03-03")
    assert [one.status for one in practice.work_of("eve", "letter")] == ["done", "to-do"]
    assert [one["status"] for one in practice.stored("Flag")] == ["inactive", "active"]
    invariants.hold(practice)


def lose(practice: Practice, ref: str, day: str) -> None:
    """Three tries on two channels on one day; the policy gives five business days."""
    for hour, channel in ((9, "phone"), (12, "sms"), (16, "phone")):
        practice.tries(ref, local(f"{day} {hour:02}:00"), channel=channel)
    practice.until(local(f"{day} 17:00") + timedelta(days=7))
