"""A patient whose records a program cannot judge holds nobody else up, and a Task says so until it works again."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from fhir_tracker import enrolment, failed_enrolments
from fhir_tracker.brake import Limit
from fhir_tracker.errors import NotFound
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.storage import work_items
from fhir_tracker.storage.database import Database
from fhir_tracker.sweep import Limits, settle
from tests.support.clinic import COORDINATOR, MONDAY, NURSE, RING, Clinic, encounter

HOUR = timedelta(hours=1)
END_OF_TIME = datetime(9999, 12, 31, 23, 0, tzinfo=UTC)
ALWAYS = RING.replace(", within: 30 days}}]}", "}}]}")
"""The ring program for stays of any age: the due time of its first task is what cannot be told."""


@pytest.fixture(params=["eligibility", "due time"])
def clinic(request: pytest.FixtureRequest, database: Database) -> Clinic:
    """Four patients; the program's own rule, or the due time of its work, runs past the end of the calendar for `bob`."""
    made = Clinic(database, RING if request.param == "eligibility" else ALWAYS)
    for name in ("ann", "bob", "cid", "dee"):
        made.patient(name)
        made.put(encounter(name, MONDAY, id_=f"stay-{name}"), MONDAY)
    made.put(encounter("bob", END_OF_TIME, id_="stay-bob"), MONDAY)
    return made


def told(clinic: Clinic, patient: str = "bob") -> list[Resource]:
    return [
        one
        for one in clinic.stored("Task")
        if one["code"]["coding"][0]["code"] == failed_enrolments.CODE
        and one["for"]["reference"] == f"Patient/{patient}"
    ]


def plans(clinic: Clinic, patient: str) -> int:
    return sum(item.kind == "plan" for item in clinic.items(patient))


def test_the_others_are_enrolled_and_the_log_is_read_on(clinic: Clinic) -> None:
    assert clinic.enrol(MONDAY) == 3
    assert [plans(clinic, name) for name in ("ann", "bob", "cid", "dee")] == [1, 0, 1, 1]
    with clinic.acting(MONDAY) as (tx, _):
        again = enrolment.consume(tx, clinic.program, MONDAY)
        last = enrolment.consume(tx, clinic.program, MONDAY)
    assert (again.enrolled, last.changes) == (0, 0)


def test_a_task_for_the_clinic_admin_says_who_and_why(clinic: Clinic) -> None:
    clinic.enrol(MONDAY)
    (task,) = told(clinic)
    assert [issue for issue in check(task) if issue.severity in ("error", "fatal")] == []
    assert task["performerType"][0]["coding"][0]["code"] == "clinic-admin"
    assert (task["status"], task["priority"]) == ("requested", "urgent")
    assert task["code"]["text"] == "Could not be enrolled in Ring after discharge"
    assert "past the end of the calendar" in task["reasonCode"]["text"]
    assert "tried again" in task["reasonCode"]["text"]
    (written,) = clinic.provenance(f"Task/{task['id']}")
    assert written["reason"][0]["text"] == task["reasonCode"]["text"]
    (item,) = [one for one in clinic.items("bob") if one.kind == "task"]
    assert (item.open, item.role, item.program) == (True, "clinic-admin", None)


def test_failing_again_is_not_told_again(clinic: Clinic) -> None:
    clinic.enrol(MONDAY)
    before = told(clinic)
    for hours in (1, 2, 3):
        clinic.put(encounter("bob", END_OF_TIME, id_="stay-bob"), MONDAY + hours * HOUR)
        clinic.put(encounter("bob", END_OF_TIME - hours * HOUR, id_=f"other-{hours}"), MONDAY + hours * HOUR)
        assert clinic.enrol(MONDAY + hours * HOUR) == 0
    assert told(clinic) == before


def test_a_correction_enrols_and_completes_the_task(clinic: Clinic) -> None:
    clinic.enrol(MONDAY)
    clinic.put(encounter("bob", MONDAY, id_="stay-bob"), MONDAY + HOUR)
    assert clinic.enrol(MONDAY + HOUR) == 1
    assert plans(clinic, "bob") == 1
    (task,) = told(clinic)
    assert task["status"] == "completed"
    ref = f"Task/{task['id']}"
    assert [row.after for row in clinic.log(ref) if row.what == "status"] == ["requested", "completed"]
    assert clinic.log(ref)[-1].reason == "The patient could be judged again."


def test_failing_again_after_a_correction_opens_the_same_task_again(clinic: Clinic) -> None:
    clinic.enrol(MONDAY)
    clinic.put(encounter("bob", MONDAY, id_="stay-bob", status="in-progress"), MONDAY + HOUR)
    clinic.enrol(MONDAY + HOUR)
    clinic.put(encounter("bob", END_OF_TIME, id_="stay-bob"), MONDAY + 2 * HOUR)
    clinic.enrol(MONDAY + 2 * HOUR)
    (task,) = told(clinic)
    assert task["status"] == "requested"
    statuses = [row.after for row in clinic.log(f"Task/{task['id']}") if row.what == "status"]
    assert statuses == ["requested", "completed", "requested"]


def test_the_task_is_told_again_after_a_person_closed_it_without_mending_anything(clinic: Clinic) -> None:
    clinic.enrol(MONDAY)
    (task,) = told(clinic)
    clinic.move(f"Task/{task['id']}", "completed", MONDAY + HOUR)
    clinic.put(encounter("bob", END_OF_TIME, id_="another"), MONDAY + 2 * HOUR)
    clinic.enrol(MONDAY + 2 * HOUR)
    (task,) = told(clinic)
    assert task["status"] == "requested"


def test_meanwhile_a_person_can_enrol_by_hand(clinic: Clinic) -> None:
    clinic.enrol(MONDAY)
    with clinic.acting(MONDAY + HOUR, COORDINATOR) as (tx, by):
        enrolment.by_hand(tx, clinic.program, "bob", by)
    assert plans(clinic, "bob") == 1
    (task,) = told(clinic)
    assert task["status"] == "requested"


def test_a_new_version_that_can_judge_closes_the_task_of_the_old_one(clinic: Clinic) -> None:
    clinic.enrol(MONDAY)
    patient_wide = RING.replace("finished", "planned")
    clinic.program = clinic.publish(patient_wide, MONDAY + HOUR)
    clinic.enrol(MONDAY + HOUR)
    (task,) = told(clinic)
    assert task["status"] == "completed"


def test_the_sweep_leaves_the_task_to_people(clinic: Clinic) -> None:
    clinic.enrol(MONDAY)
    settle(clinic.database, MONDAY + HOUR, Limits(brake=Limit(share=0, floor=0)))
    (task,) = told(clinic)
    assert clinic.item(f"Task/{task['id']}").next_action_at is None
    assert clinic.firings(f"Task/{task['id']}") == ()


def test_two_programs_that_fail_have_a_task_each(clinic: Clinic) -> None:
    other = clinic.publish(RING.replace("program: ring", "program: buzz").replace("title: Ring", "title: Buzz"), MONDAY)
    clinic.enrol(MONDAY)
    with clinic.acting(MONDAY) as (tx, _):
        enrolment.consume(tx, other, MONDAY)
    assert len({one["id"] for one in told(clinic)}) == 2
    assert {one["code"]["text"] for one in told(clinic)} == {
        "Could not be enrolled in Ring after discharge",
        "Could not be enrolled in Buzz after discharge",
    }


def test_only_who_may_see_the_patient_sees_the_task(clinic: Clinic) -> None:
    clinic.enrol(MONDAY)
    (task,) = told(clinic)
    ref = f"Task/{task['id']}"
    with clinic.database.read() as tx:
        own, other = (Viewer(who=f"Patient/{name}", patient=name, sight=EVERYTHING) for name in ("bob", "ann"))
        assert work_items.find(tx, own, ref) is not None
        assert work_items.find(tx, other, ref) is None
        assert work_items.find(tx, NURSE, ref) is not None


def test_a_program_that_looks_at_nobody_closes_nothing(clinic: Clinic) -> None:
    clinic.enrol(MONDAY)
    clinic.put({"resourceType": "Organization", "id": "org"}, MONDAY + HOUR)
    clinic.enrol(MONDAY + HOUR)
    (task,) = told(clinic)
    assert task["status"] == "requested"


def test_the_id_of_the_task_is_legal_for_any_patient_id() -> None:
    ids = {
        failed_enrolments.task_id(read_program(RING), patient)
        for patient in ("a", "A", "a.b", "x" * 64, "y" * 64, "0199b2c4-7a4e-7c3f-9d2a-6f1f0f9c2f11")
    }
    assert len(ids) == 6
    assert all(0 < len(one) <= 64 and re.fullmatch(r"[A-Za-z0-9.-]+", one) for one in ids)


def test_enrolling_by_hand_what_does_not_exist_still_tells_so(clinic: Clinic) -> None:
    with clinic.acting(MONDAY, COORDINATOR) as (tx, by), pytest.raises(NotFound):
        enrolment.by_hand(tx, clinic.program, "eve", by)
    assert clinic.stored("Task") == []
