"""Transitional care: the visit is booked, missed, cancelled and booked again until it takes place."""

from __future__ import annotations

import pytest

from fhir_tracker.storage.database import Database
from tests.scenarios import invariants
from tests.scenarios.ehr import DISCHARGE_SUMMARY, PROGRESS_NOTE, document, flag, local, patient, stay, visit
from tests.scenarios.practice import Practice, due
from tests.support.clinic import FRONT_DESK


@pytest.fixture
def practice(database: Database) -> Practice:
    practice = Practice(database, local("2026-03-02 08:00"))
    practice.ehr(local("2026-03-09 11:30"), patient("ana"), stay("stay", "ana", local("2026-03-09 11:00")))
    practice.tries(practice.one("ana", "first-call").ref, local("2026-03-09 13:00"), "reached")
    practice.do(practice.one("ana", "medication-reconciliation").ref, "done", local("2026-03-09 14:00"), note="Same")
    practice.ehr(
        local("2026-03-09 15:00"), document("summary", "ana", local("2026-03-09 14:50"), code=DISCHARGE_SUMMARY)
    )
    return practice


def states(practice: Practice, code: str) -> list[str]:
    return [one.status for one in practice.work_of("ana", code)]


def test_a_no_show_is_rebooked_missed_again_cancelled_and_kept_in_the_end(practice: Practice) -> None:
    practice.ehr(local("2026-03-10 09:00"), visit("v1", "ana", local("2026-03-12 10:00")))
    practice.ehr(local("2026-03-12 10:30"), visit("v1", "ana", local("2026-03-12 10:00"), status="noshow"))
    again = practice.one("ana", "reschedule-visit")
    assert (again.role, again.priority, due(again)) == ("front-desk", "urgent", "Fri 2026-03-13 17:00")

    practice.ehr(local("2026-03-12 15:00"), visit("v2", "ana", local("2026-03-16 10:00")))
    assert states(practice, "reschedule-visit") == ["done"]
    assert practice.resource(again.ref)["output"][0]["valueReference"] == {"reference": "Appointment/ehr-v2"}

    practice.ehr(local("2026-03-16 10:30"), visit("v2", "ana", local("2026-03-16 10:00"), status="noshow"))
    assert states(practice, "reschedule-visit") == ["done", "to-do"]
    practice.ehr(local("2026-03-16 14:00"), visit("v3", "ana", local("2026-03-19 10:00")))
    practice.ehr(local("2026-03-17 08:30"), visit("v3", "ana", local("2026-03-19 10:00"), status="cancelled"))
    assert states(practice, "reschedule-visit") == ["done", "done", "to-do"]
    practice.ehr(local("2026-03-17 09:00"), visit("v4", "ana", local("2026-03-18 16:00")))
    practice.ehr(local("2026-03-18 16:40"), visit("v4", "ana", local("2026-03-18 16:00"), status="fulfilled"))

    assert states(practice, "reschedule-visit") == ["done", "done", "done"]
    assert states(practice, "visit") == ["done"]
    practice.ehr(local("2026-03-19 09:00"), document("note", "ana", local("2026-03-18 17:00"), code=PROGRESS_NOTE))
    practice.until(local("2026-04-20 09:00"))
    assert practice.escalations("ehr-ana") == []
    invariants.hold(practice)


def test_a_second_no_show_before_anything_was_booked_is_the_same_case(practice: Practice) -> None:
    practice.ehr(local("2026-03-10 09:00"), visit("v1", "ana", local("2026-03-12 10:00")))
    practice.ehr(local("2026-03-10 09:01"), visit("v2", "ana", local("2026-03-13 10:00")))
    practice.ehr(local("2026-03-13 10:30"), visit("v1", "ana", local("2026-03-12 10:00"), status="noshow"))
    practice.ehr(local("2026-03-13 10:31"), visit("v2", "ana", local("2026-03-13 10:00"), status="noshow"))
    assert states(practice, "reschedule-visit") == ["to-do"]
    invariants.hold(practice)


def test_the_same_appointment_moved_to_a_later_day_closes_the_rebooking(practice: Practice) -> None:
    practice.ehr(local("2026-03-10 09:00"), visit("v1", "ana", local("2026-03-12 10:00")))
    practice.ehr(local("2026-03-11 09:00"), visit("v1", "ana", local("2026-03-12 10:00"), status="cancelled"))
    assert states(practice, "reschedule-visit") == ["to-do"]
    practice.ehr(local("2026-03-11 13:00"), visit("v1", "ana", local("2026-03-17 10:00")))
    assert states(practice, "reschedule-visit") == ["done"]
    practice.ehr(local("2026-03-17 10:30"), visit("v1", "ana", local("2026-03-17 10:00"), status="noshow"))
    assert states(practice, "reschedule-visit") == ["done", "to-do"]
    invariants.hold(practice)


def test_a_visit_without_an_outcome_is_asked_about_and_closed_when_the_desk_marks_it(practice: Practice) -> None:
    practice.ehr(local("2026-03-10 09:00"), visit("v1", "ana", local("2026-03-12 10:00")))
    practice.until(local("2026-03-13 16:59"))
    assert states(practice, "reschedule-visit") == []
    practice.until(local("2026-03-13 17:00"))
    assert states(practice, "reschedule-visit") == ["to-do"]
    practice.ehr(local("2026-03-16 08:30"), visit("v1", "ana", local("2026-03-12 10:00"), status="fulfilled"))
    assert (states(practice, "reschedule-visit"), states(practice, "visit")) == (["done"], ["done"])
    invariants.hold(practice)


def test_a_note_on_a_lapsed_appointment_does_not_count_as_booking_it_again(practice: Practice) -> None:
    practice.ehr(local("2026-03-10 09:00"), visit("v1", "ana", local("2026-03-12 10:00")))
    practice.until(local("2026-03-13 17:00"))
    noted = visit("v1", "ana", local("2026-03-12 10:00")) | {"comment": "Called, no answer"}
    practice.ehr(local("2026-03-16 08:30"), noted)
    assert states(practice, "reschedule-visit") == ["to-do"]
    invariants.hold(practice)


def test_a_rebooking_nobody_makes_climbs(practice: Practice) -> None:
    practice.ehr(local("2026-03-10 09:00"), visit("v1", "ana", local("2026-03-12 10:00")))
    practice.ehr(local("2026-03-12 10:30"), visit("v1", "ana", local("2026-03-12 10:00"), status="noshow"))
    practice.until(local("2026-03-18 17:00"))
    assert practice.climbed(practice.one("ana", "reschedule-visit").ref) == [
        ("rn", "Fri 2026-03-13 17:00"),
        ("provider", "Mon 2026-03-16 17:00"),
        ("clinic-admin", "Wed 2026-03-18 17:00"),
    ]
    invariants.hold(practice)


def test_the_front_desk_can_close_what_it_booked_elsewhere(practice: Practice) -> None:
    ref = practice.one("ana", "visit").ref
    practice.do(
        ref, "waiting", local("2026-03-10 09:00"), FRONT_DESK, hold_until="2026-03-12T09:00:00-04:00", reason="Son"
    )
    practice.do(ref, "working", local("2026-03-10 10:00"), FRONT_DESK)
    practice.do(ref, "done", local("2026-03-10 10:05"), FRONT_DESK, note="Seen by the cardiologist's office")
    assert states(practice, "visit") == ["done"]
    invariants.hold(practice)


def test_high_risk_asks_for_a_visit_within_seven_days_one_visit_closes_both(practice: Practice) -> None:
    practice.ehr(local("2026-03-10 08:00"), flag("risk", "ana", local("2026-03-10 08:00")))
    early = practice.one("ana", "early-visit")
    assert (early.priority, due(early)) == ("urgent", "Mon 2026-03-16 11:00")
    assert due(practice.one("ana", "visit")) == "Mon 2026-03-23 11:00"
    practice.ehr(local("2026-03-10 09:00"), visit("v1", "ana", local("2026-03-13 10:00")))
    practice.ehr(local("2026-03-13 10:40"), visit("v1", "ana", local("2026-03-13 10:00"), status="fulfilled"))
    assert (states(practice, "early-visit"), states(practice, "visit")) == (["done"], ["done"])
    invariants.hold(practice)


def test_a_flag_that_comes_after_the_visit_asks_for_nothing_more(practice: Practice) -> None:
    practice.ehr(local("2026-03-12 10:40"), visit("v1", "ana", local("2026-03-12 10:00"), status="fulfilled"))
    practice.ehr(local("2026-03-12 16:00"), document("note", "ana", local("2026-03-12 15:50"), code=PROGRESS_NOTE))
    practice.ehr(local("2026-03-20 08:00"), flag("risk", "ana", local("2026-03-20 08:00")))
    assert states(practice, "early-visit") == ["done"]
    assert practice.escalations("ehr-ana") == []
    invariants.hold(practice)


def test_a_visit_that_is_due_on_a_weekend_escalates_when_the_practice_opens(database: Database) -> None:
    practice = Practice(database, local("2026-03-02 08:00"))
    practice.ehr(local("2026-03-07 23:55"), patient("ben"), stay("stay", "ben", local("2026-03-07 23:50")))
    practice.until(local("2026-03-23 08:00"))
    ref = practice.one("ben", "visit").ref
    assert due(practice.item(ref)) == "Sat 2026-03-21 23:50"
    assert practice.climbed(ref) == [("rn", "Mon 2026-03-23 08:00")]
    invariants.hold(practice)
