"""Intake to the first work: candidates wait, are accepted, declined or found not eligible with a reason, and may come again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fhir_tracker import enrolment
from fhir_tracker.errors import Incorrect
from fhir_tracker.model.work import WorkItem
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.summary import program_summary
from fhir_tracker.storage.database import Database
from tests.support.clinic import EVERYONE, MONDAY, Clinic

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TEXT = """
program: ring
title: Ring
calendar: {zone: America/New_York}
eligible: {once: ONCE, any: [{Encounter: {status: finished, class: IMP}}, {Flag: high-risk}]}
stages:
  - {code: candidate, is: draft, means: Qualifies and nobody has decided}
  - {code: enrolled, is: active, means: In the program}
  - {code: declined, is: revoked, means: Does not want it}
  - {code: not-eligible, is: revoked, means: Does not qualify after all}
reasons:
  - {code: no-time, title: No time, means: The patient has no time for it}
statuses:
  - {code: to-do, is: requested, means: To do}
  - {code: accepted, is: completed, means: Wants it}
  - {code: refused, is: rejected, means: Does not want it}
  - {code: unfit, is: cancelled, means: Does not qualify}
tasks:
  - {code: decide, title: Decide on the candidate, role: care-coordinator, on: intake, due: {after: created, within: 2 business days}}
  - {code: assessment, role: rn, due: {after: enrolment, within: 5 days}}
  - {code: touch, role: rn, every: 1 month}
intake:
  task: decide
  stage: candidate
  outcomes: {accepted: enrolled, refused: declined, unfit: not-eligible}
  again: new-event
"""


def clinic_of(database: Database, once: str = "event", again: str = "new-event") -> Clinic:
    made = Clinic(database, TEXT.replace("ONCE", once).replace("again: new-event", f"again: {again}"))
    made.patient("ann")
    made.discharge("ann", MONDAY)
    made.sweep(MONDAY + HOUR)
    return made


def plans(clinic: Clinic) -> list[tuple[str, bool]]:
    return [(one.status, one.open) for one in clinic.items("ann") if one.kind == "plan"]


def codes(clinic: Clinic) -> list[str]:
    return sorted(one.code for one in clinic.items("ann") if one.kind == "task")


def decide(clinic: Clinic, status: str, at: int = 2, reason: str = "Has no time") -> WorkItem:
    task = next(one for one in clinic.items("ann") if one.code == "decide" and one.open)
    fields = {} if status == "accepted" else {"reason": reason}
    clinic.move(task.ref, status, MONDAY + at * HOUR, EVERYONE, fields)
    clinic.sweep(MONDAY + (at + 1) * HOUR)
    return task


def test_a_candidate_waits_with_the_decision_as_the_only_work(database: Database) -> None:
    clinic = clinic_of(database)
    assert (plans(clinic), codes(clinic)) == ([("candidate", True)], ["decide"])
    clinic.sweep(MONDAY + 40 * DAY)
    assert codes(clinic) == ["decide"]


def test_who_is_accepted_gets_the_first_work_counted_from_then(database: Database) -> None:
    clinic = clinic_of(database)
    decide(clinic, "accepted", at=24)
    clinic.sweep(MONDAY + 26 * HOUR)
    clinic.sweep(MONDAY + 27 * HOUR)
    assert (plans(clinic), codes(clinic)) == ([("enrolled", True)], ["assessment", "decide", "touch"])
    due = clinic.task("ann", "assessment").due_at
    assert due is not None
    assert MONDAY + 6 * DAY <= due <= MONDAY + 6 * DAY + 4 * HOUR


@pytest.mark.parametrize(("status", "stage"), [("refused", "declined"), ("unfit", "not-eligible")])
def test_who_is_turned_down_is_kept_with_the_reason_and_not_enrolled_by_the_same_event(
    database: Database, status: str, stage: str
) -> None:
    clinic = clinic_of(database)
    decide(clinic, status)
    assert (plans(clinic), codes(clinic)) == ([(stage, False)], ["decide"])
    (plan,) = [one for one in clinic.items("ann") if one.kind == "plan"]
    (row,) = [one for one in clinic.log(plan.ref) if one.what == "stage" and one.after == stage]
    assert row.reason is not None
    assert row.reason.endswith("Has no time")
    clinic.put(clinic.resource("Encounter/stay-ann"), MONDAY + 5 * HOUR)
    assert clinic.enrol(MONDAY + 5 * HOUR) == 0
    assert len(plans(clinic)) == 1


@pytest.mark.parametrize(
    ("once", "again", "comes"), [("event", "new-event", 1), ("patient", "new-event", 1), ("patient", "never", 0)]
)
def test_who_was_turned_down_may_come_again_by_a_new_event(
    database: Database, once: str, again: str, comes: int
) -> None:
    clinic = clinic_of(database, once, again)
    decide(clinic, "refused")
    clinic.put(clinic.resource("Encounter/stay-ann") | {"id": "second", "period": {
        "start": (MONDAY + 3 * DAY).isoformat(), "end": (MONDAY + 4 * DAY).isoformat()}}, MONDAY + 4 * DAY)  # fmt: skip
    assert clinic.enrol(MONDAY + 4 * DAY) == comes
    assert [one for one in plans(clinic) if one[1]] == [("candidate", True)] * comes
    assert clinic.enrol(MONDAY + 4 * DAY) == 0


def test_what_a_rule_wants_for_a_candidate_waits_for_the_decision(database: Database) -> None:
    more = "  - {code: extra, role: rn, on: rule}\nintake:"
    rule = "\nrules:\n  - {id: risky, when: {flag: high-risk}, do: {create_task: extra}}\n"
    clinic = Clinic(database, TEXT.replace("ONCE", "event").replace("intake:", more, 1) + rule)
    clinic.patient("ann")
    flag = {"status": "active", "code": {"coding": [{"code": "high-risk"}]}, "subject": {"reference": "Patient/ann"}}
    clinic.put({"resourceType": "Flag", "id": "f", **flag}, MONDAY)
    clinic.enrol(MONDAY)
    clinic.sweep(MONDAY + HOUR)
    assert codes(clinic) == ["decide"]
    decide(clinic, "accepted")
    clinic.sweep(MONDAY + 4 * HOUR)
    assert codes(clinic) == ["assessment", "decide", "extra", "touch"]


def test_a_candidate_that_a_client_filed_gets_the_decision(database: Database) -> None:
    clinic = clinic_of(database)
    clinic.patient("bea")
    filed = {
        "resourceType": "CarePlan",
        "id": "filed",
        "status": "draft",
        "intent": "plan",
        "subject": {"reference": "Patient/bea"},
    }
    filed["instantiatesCanonical"] = ["https://fhir-tracker.example/PlanDefinition/ring|1"]
    clinic.put(filed, MONDAY + HOUR)
    clinic.sweep(MONDAY + 2 * HOUR)
    assert [one.code for one in clinic.items("bea") if one.kind == "task"] == ["decide"]


def test_by_hand_a_patient_becomes_a_candidate_too(database: Database) -> None:
    clinic = clinic_of(database)
    clinic.patient("bea")
    with clinic.acting(MONDAY + HOUR) as (tx, by):
        enrolment.by_hand(tx, clinic.program, "bea", by)
    assert sorted((one.kind, one.status) for one in clinic.items("bea")) == [("plan", "candidate"), ("task", "to-do")]


@pytest.mark.parametrize(
    ("before", "after", "says", "where"),
    [
        ("is: draft", "is: active", "must be draft or on-hold", "intake.stage"),
        ("stage: candidate", "stage: enrolled", "must be draft or on-hold", "intake.stage"),
        ("task: decide", "task: assessment", 'must be made with "on: intake"', "intake"),
        ("{accepted: enrolled,", "{to-do: enrolled,", 'a decision closes the work, and "to-do" is open', "intake.outcomes.to-do"),
        ("accepted: enrolled", "acepted: enrolled", 'did you mean "accepted"?', "intake.outcomes.acepted"),
        ("accepted: enrolled", "accepted: declined", "no decision lets the plan begin", "intake.outcomes"),
        ("again: new-event", "again: always", 'unknown "always"', "intake.again"),
        ("intake:\n  task: decide", "intake:\n  tasks: decide", 'did you mean "task"?', "intake.tasks"),
    ],
)  # fmt: skip
def test_a_bad_intake_is_refused_with_its_place(before: str, after: str, says: str, where: str) -> None:
    with pytest.raises(Incorrect) as refused:
        read_program(TEXT.replace("ONCE", "event").replace(before, after, 1))
    found = [issue for issue in refused.value.issues if says in issue.message]
    assert found, refused.value.issues
    assert (found[0].expression, found[0].message.startswith("line ")) == (where, True)


def test_work_on_intake_needs_an_intake() -> None:
    with pytest.raises(Incorrect) as refused:
        read_program(TEXT.replace("ONCE", "event").partition("intake:\n")[0])
    assert any('"decide" is made on intake' in issue.message for issue in refused.value.issues)


def test_the_intake_is_told_to_who_approves_it() -> None:
    lines = program_summary(read_program(TEXT.replace("ONCE", "event")))
    assert (
        "Intake: candidates wait in candidate for decide: accepted leads to enrolled, refused leads to declined and "
        "unfit leads to not-eligible; turned down, again after a new event" in lines
    )
