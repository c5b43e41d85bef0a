"""Transitional care: what the EHR takes back, changes or adds while a plan runs."""

from __future__ import annotations

import pytest

from fhir_tracker.storage.database import Database
from tests.scenarios import invariants
from tests.scenarios.ehr import flag, local, patient, stay, visit
from tests.scenarios.practice import Practice, due
from tests.support.clinic import NURSE


@pytest.fixture
def practice(database: Database) -> Practice:
    practice = Practice(database, local("2026-03-02 08:00"))
    practice.ehr(local("2026-03-09 11:30"), patient("ana"), stay("stay", "ana", local("2026-03-09 11:00")))
    return practice


def test_a_readmission_opens_a_plan_of_its_own_when_it_ends_and_leaves_the_first_to_people(practice: Practice) -> None:
    again = stay("again", "ana", None) | {"period": {"start": local("2026-03-12 20:00").isoformat()}}
    practice.ehr(local("2026-03-12 20:10"), again)
    assert len(practice.plans("ana")) == 1
    back = stay("again", "ana", local("2026-03-17 10:00"))
    practice.ehr(local("2026-03-17 10:20"), back)
    first, second = practice.plans("ana")
    assert (first.open, second.open) == (True, True)
    assert due(practice.todo("ana", plan=second.ref)["first-call"]) == "Thu 2026-03-19 17:00"

    for one in practice.todo("ana", plan=first.ref).values():
        practice.do(one.ref, "not-needed", local("2026-03-17 11:00"), NURSE, reason="Readmitted")
    assert practice.todo("ana", plan=first.ref) == {}
    assert set(practice.todo("ana", plan=second.ref)) == {"first-call", "visit", "medication-reconciliation"}
    invariants.hold(practice)


def test_one_visit_closes_the_visit_of_both_plans_and_a_call_only_its_own(practice: Practice) -> None:
    practice.ehr(local("2026-03-17 10:20"), stay("again", "ana", local("2026-03-17 10:00")))
    first, second = practice.plans("ana")
    practice.tries(practice.todo("ana", plan=second.ref)["first-call"].ref, local("2026-03-18 09:00"), "reached")
    assert "first-call" in practice.todo("ana", plan=first.ref)
    practice.ehr(local("2026-03-20 10:30"), visit("v", "ana", local("2026-03-20 10:00"), status="fulfilled"))
    assert [one.status for one in practice.work_of("ana", "visit")] == ["done", "done"]
    invariants.hold(practice)


def test_a_visit_before_the_second_stay_says_nothing_about_it(practice: Practice) -> None:
    practice.ehr(local("2026-03-11 10:30"), visit("v", "ana", local("2026-03-11 10:00"), status="fulfilled"))
    practice.ehr(local("2026-03-17 10:20"), stay("again", "ana", local("2026-03-17 10:00")))
    assert [one.status for one in practice.work_of("ana", "visit")] == ["done", "to-do"]
    invariants.hold(practice)


def test_a_discharge_entered_in_error_leaves_its_plan_to_people(practice: Practice) -> None:
    practice.ehr(local("2026-03-10 09:00"), stay("stay", "ana", local("2026-03-09 11:00"), status="entered-in-error"))
    (plan,) = practice.plans("ana")
    assert plan.open
    assert len(practice.todo("ana")) == 3
    for one in practice.todo("ana").values():
        practice.do(one.ref, "not-needed", local("2026-03-10 10:00"), NURSE, reason="Discharge entered in error")
    practice.until(local("2026-03-11 16:59"))
    assert practice.escalations("ehr-ana") == []
    invariants.hold(practice)


def test_a_corrected_discharge_neither_enrols_again_nor_moves_what_is_due(practice: Practice) -> None:
    practice.ehr(local("2026-03-10 09:00"), stay("stay", "ana", local("2026-03-10 08:00")))
    assert len(practice.plans("ana")) == 1
    call = practice.one("ana", "first-call")
    assert due(call) == "Wed 2026-03-11 17:00"
    practice.change_due(call.ref, local("2026-03-12 17:00"), local("2026-03-10 09:30"), NURSE)
    practice.until(local("2026-03-12 16:59"))
    assert practice.climbed(call.ref) == []
    invariants.hold(practice)


def test_a_discharge_the_ehr_deleted_keeps_the_plan_and_its_history(practice: Practice) -> None:
    practice.ehr_deletes("Encounter/stay", local("2026-03-10 09:00"))
    assert practice.plans("ana")[0].open
    assert len(practice.log(practice.one("ana", "first-call").ref)) >= 1
    invariants.hold(practice)


def test_the_plans_of_a_patient_who_died_end_with_the_reason_and_no_new_one_begins(practice: Practice) -> None:
    practice.ehr(local("2026-03-10 09:00"), patient("ana", deceased=local("2026-03-10 02:00")))
    practice.ehr(local("2026-03-10 09:05"), stay("last", "ana", local("2026-03-10 02:00")))
    assert [(one.status, one.open) for one in practice.plans("ana")] == [("withdrawn", False)]
    assert practice.todo("ana") == {}
    call = practice.resource(practice.one("ana", "first-call").ref)
    assert (call["status"], "has died" in call["statusReason"]["text"]) == ("cancelled", True)
    practice.until(local("2026-03-11 16:59"))
    assert practice.escalations("ehr-ana") == []
    invariants.hold(practice)


def test_a_flag_that_ends_keeps_the_visit_it_asked_for(practice: Practice) -> None:
    practice.ehr(local("2026-03-10 08:00"), flag("risk", "ana", local("2026-03-10 08:00")))
    practice.ehr(local("2026-03-11 08:00"), flag("risk", "ana", local("2026-03-10 08:00"), status="inactive"))
    practice.ehr(local("2026-03-12 08:00"), flag("risk", "ana", local("2026-03-10 08:00")))
    assert [one.status for one in practice.work_of("ana", "early-visit")] == ["to-do"]
    invariants.hold(practice)


def test_an_emergency_visit_that_ended_is_followed_up_and_an_office_visit_is_not(practice: Practice) -> None:
    practice.ehr(local("2026-03-12 08:00"), patient("ben"), stay("er", "ben", local("2026-03-12 07:00"), class_="EMER"))
    practice.ehr(local("2026-03-12 09:00"), patient("cal"), stay("amb", "cal", local("2026-03-12 07:00"), class_="AMB"))
    assert (len(practice.plans("ben")), practice.plans("cal")) == (1, [])
    invariants.hold(practice)


def test_an_emergency_visit_that_ends_in_an_admission_is_followed_when_the_stay_ends(practice: Practice) -> None:
    admitted = stay("adm", "fay", None) | {"period": {"start": local("2026-03-12 06:50").isoformat()}}
    practice.ehr(
        local("2026-03-12 07:30"), patient("fay"), stay("er", "fay", local("2026-03-12 07:00"), class_="EMER"), admitted
    )
    assert practice.plans("fay") == []
    practice.ehr(local("2026-03-16 12:00"), stay("adm", "fay", local("2026-03-16 11:00")))
    assert len(practice.plans("fay")) == 1
    assert due(practice.one("fay", "first-call")) == "Wed 2026-03-18 17:00"
    invariants.hold(practice)


def test_a_stay_nobody_closed_in_the_ehr_does_not_keep_a_patient_out_for_ever(practice: Practice) -> None:
    practice.ehr(local("2026-03-12 07:30"), patient("gus"), stay("open", "gus", None))
    practice.ehr(local("2026-03-12 08:00"), stay("new", "gus", local("2026-03-12 07:45")))
    assert len(practice.plans("gus")) == 1
    invariants.hold(practice)


def test_a_discharge_that_comes_before_its_patient_is_kept_and_followed(database: Database) -> None:
    practice = Practice(database, local("2026-03-02 08:00"))
    practice.ehr(local("2026-03-09 11:10"), stay("stay", "dee", local("2026-03-09 11:00")))
    practice.ehr(local("2026-03-09 11:30"), patient("dee"))
    assert len(practice.plans("dee")) == 1
    invariants.hold(practice)
