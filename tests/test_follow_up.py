"""Missed visits, expected documents, failed outreach and recurring work: what rules make, and what closes by itself."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from fhir_tracker.fhir.checks import check
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import patients
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, NURSE, RING, SYSTEM, Clinic, appointment

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

FOLLOW_UP = RING.replace(
    "rules:\n",
    """  - code: letter
    title: Send a letter
    role: front-desk
    on: rule
    due: {after: created, within: 3 days}
  - code: chase-note
    title: Ask for the visit note
    role: rn
    on: rule
    due: {after: created, within: 1 day}
    done_by: {document: visit-note}
  - code: monthly
    title: Monthly call
    role: rn
    on: cadence
    every: 1 month
    due: {after: created, within: 5 days}
documents:
  - code: visit-note
    title: Visit note
    after: appointment.fulfilled
    service: visit
    within: 48 hours
    satisfied_by: {DocumentReference: {type: "http://loinc.org|11506-3"}}
rules:
  - id: no-note
    subject: plan
    when: {document_missing: visit-note}
    do: [{create_task: chase-note}]
  - id: no-contact
    when: {all: [{task: first-call}, {outreach_failed: {attempts: 3, over: 1 day, channels: 2}}]}
    do: [{raise_flag: unreachable}, {create_task: letter}]
""",
)


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database, FOLLOW_UP)
    made.patient("ann")
    made.discharge("ann", MONDAY)
    made.sweep(MONDAY)
    return made


def work(clinic: Clinic, code: str) -> list[WorkItem]:
    return [item for item in clinic.items("ann") if item.code == code and item.kind == "task"]


def visit(clinic: Clinic, id_: str, status: str, start: datetime, at: datetime) -> None:
    clinic.put(appointment("ann", start, id_=id_, status=status), at)
    clinic.sweep(at)


def document(clinic: Clinic, at: datetime, id_: str = "note") -> None:
    clinic.put(
        {
            "resourceType": "DocumentReference",
            "id": id_,
            "status": "current",
            "type": {"coding": [{"system": "http://loinc.org", "code": "11506-3"}]},
            "subject": {"reference": "Patient/ann"},
            "date": at.isoformat(),
            "content": [{"attachment": {"contentType": "text/plain"}}],
        },
        at,
    )
    clinic.sweep(at)


@pytest.mark.parametrize("outcome", ["noshow", "cancelled"])
def test_a_missed_visit_makes_work_that_a_new_booking_closes(clinic: Clinic, outcome: str) -> None:
    visit(clinic, "first", "booked", MONDAY + DAY, MONDAY)
    assert work(clinic, "reschedule") == []
    visit(clinic, "first", outcome, MONDAY + DAY, MONDAY + DAY + HOUR)
    (made,) = work(clinic, "reschedule")
    assert (made.open, made.role, made.focus) == (True, "front-desk", "Appointment/first")
    assert made.due_at == MONDAY + 2 * DAY + HOUR
    visit(clinic, "second", "booked", MONDAY + 5 * DAY, MONDAY + DAY + 2 * HOUR)
    (made,) = work(clinic, "reschedule")
    assert (made.open, made.status) == (False, "reached")
    body = clinic.resource(made.ref)
    assert body["output"][0]["valueReference"] == {"reference": "Appointment/second"}
    assert [issue for issue in check(body) if issue.severity in ("error", "fatal")] == []
    assert clinic.provenance(made.ref)[-1]["policy"] == ["https://fhir-tracker.example/PlanDefinition/ring|1#done-by"]


def test_a_chain_of_misses_is_one_case(clinic: Clinic) -> None:
    visit(clinic, "first", "noshow", MONDAY + DAY, MONDAY + DAY)
    visit(clinic, "second", "noshow", MONDAY + 2 * DAY, MONDAY + 2 * DAY)
    assert len(work(clinic, "reschedule")) == 1


def test_a_miss_after_the_case_was_closed_is_a_new_case(clinic: Clinic) -> None:
    visit(clinic, "first", "noshow", MONDAY + DAY, MONDAY + DAY)
    visit(clinic, "second", "booked", MONDAY + 3 * DAY, MONDAY + DAY + HOUR)
    visit(clinic, "second", "noshow", MONDAY + 3 * DAY, MONDAY + 3 * DAY)
    assert [item.open for item in work(clinic, "reschedule")] == [False, True]


def test_work_made_by_a_rule_belongs_to_the_plan(clinic: Clinic) -> None:
    visit(clinic, "first", "noshow", MONDAY + DAY, MONDAY + DAY)
    (made,) = work(clinic, "reschedule")
    assert made.plan is not None
    named = [one["reference"]["reference"] for one in clinic.resource(made.plan)["activity"]]
    assert made.ref in named
    assert any(
        one.task == made.ref for one in clinic.firings(made.plan) + clinic.firings(clinic.task("ann", "first-call").ref)
    )


def test_a_visit_of_another_service_is_no_case(clinic: Clinic) -> None:
    body = appointment("ann", MONDAY + DAY, id_="other", status="noshow")
    clinic.put(body | {"serviceType": [{"coding": [{"code": "dentist"}]}]}, MONDAY + DAY)
    clinic.sweep(MONDAY + DAY)
    assert work(clinic, "reschedule") == []


def test_a_missing_document_makes_work_that_its_late_arrival_closes(clinic: Clinic) -> None:
    visit(clinic, "first", "fulfilled", MONDAY + DAY, MONDAY + DAY + HOUR)
    clinic.sweep(MONDAY + 3 * DAY)
    assert work(clinic, "chase-note") == []
    clinic.sweep(MONDAY + 3 * DAY + HOUR)
    (made,) = work(clinic, "chase-note")
    assert made.open
    document(clinic, MONDAY + 4 * DAY)
    (made,) = work(clinic, "chase-note")
    assert (made.open, made.status) == (False, "reached")
    assert clinic.resource(made.ref)["output"][0]["valueReference"] == {"reference": "DocumentReference/note"}


def test_a_document_in_time_makes_no_work(clinic: Clinic) -> None:
    visit(clinic, "first", "fulfilled", MONDAY + DAY, MONDAY + DAY + HOUR)
    document(clinic, MONDAY + 2 * DAY)
    clinic.sweep(MONDAY + 10 * DAY)
    assert work(clinic, "chase-note") == []


def test_failed_outreach_raises_a_flag_and_makes_a_letter_once(clinic: Clinic) -> None:
    call = clinic.task("ann", "first-call").ref
    for hours, channel in ((0, "phone"), (1, "sms"), (2, "phone")):
        clinic.attempt(call, MONDAY + hours * HOUR, channel=channel)
        clinic.sweep(MONDAY + hours * HOUR)
    assert work(clinic, "letter") == []
    for _ in range(3):
        clinic.sweep(MONDAY + DAY)
    (letter,) = work(clinic, "letter")
    assert letter.due_at == MONDAY + 4 * DAY
    (flag,) = clinic.stored("Flag")
    assert (flag["status"], flag["code"]["coding"][0]["code"]) == ("active", "unreachable")
    assert [issue for issue in check(flag) if issue.severity in ("error", "fatal")] == []
    assert clinic.provenance(f"Flag/{flag['id']}")[0]["policy"]
    with clinic.database.read() as tx:
        summary = patients.find(tx, SYSTEM, "ann")
    assert summary is not None
    assert summary.flags == ("unreachable",)


def test_reaching_the_patient_starts_the_count_again(clinic: Clinic) -> None:
    call = clinic.task("ann", "first-call").ref
    for hours, channel, outcome in (
        (0, "phone", "no-answer"),
        (1, "sms", "no-answer"),
        (2, "phone", "reached"),
        (3, "phone", "no-answer"),
    ):
        clinic.attempt(call, MONDAY + hours * HOUR, channel=channel, outcome=outcome)
    clinic.sweep(MONDAY + DAY)
    assert work(clinic, "letter") == []


def test_recurring_work_comes_once_a_month_and_never_as_a_backlog(clinic: Clinic) -> None:
    assert len(work(clinic, "monthly")) == 1
    clinic.sweep(MONDAY + 100 * DAY)
    (only,) = work(clinic, "monthly")
    clinic.move(only.ref, "reached", MONDAY + 100 * DAY, NURSE, {"outreach.outcome": "reached", "note": "n"})
    clinic.sweep(MONDAY + 100 * DAY)
    clinic.sweep(MONDAY + 101 * DAY)
    assert [item.open for item in work(clinic, "monthly")] == [False, True]
