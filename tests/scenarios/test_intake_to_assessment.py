"""Intake to first assessment, and what is filed after it: from the EHR's message to closed work, on either database."""

from __future__ import annotations

import pytest

from fhir_tracker.explain import explain
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.storage.database import Database
from tests.scenarios import invariants
from tests.scenarios.ehr import PROGRESS_NOTE, document, local, patient, stay, visit_encounter
from tests.scenarios.practice import Practice
from tests.support.clinic import COORDINATOR, EVERYONE, SYSTEM

PROGRAM = """
program: calm
title: Calm
calendar: {zone: America/New_York, hours: "Mon-Fri 08:00-17:00", holidays: US}
eligible: {any: [{Encounter: {status: finished, class: IMP}}]}
stages:
  - {code: candidate, is: draft, means: Qualifies and nobody has decided}
  - {code: enrolled, is: active, means: In the program}
  - {code: declined, is: revoked, means: Does not want it}
statuses:
  - {code: to-do, is: requested, means: To do}
  - {code: done, is: completed, means: Done}
  - {code: refused, is: rejected, means: Does not want it}
outreach: {spacing: 1 day, quiet: {from: "20:00", to: "09:00"}}
tasks:
  - {code: decide, role: care-coordinator, on: intake, due: {after: created, within: 2 business days},
     outreach: {attempts: 3, over: 5 business days, channels: [phone, letter], on_channels: 2}}
  - {code: assess, role: rn, due: {after: enrolment, within: 5 business days}, done_by: {document: mood}}
  - {code: support, role: provider, on: rule, due: {after: created, within: 1 business day}}
  - {code: write-note, role: provider, on: rule, due: {after: created, within: 1 business day}, done_by: {document: note}}
forms:
  - code: mood
    same_as: Questionnaire/ehr-mood
    score: {code: "http://loinc.org|55758-7"}
    answers: {Never: 0, Daily: 3}
    items: [{code: one, text: First, links: q1}, {code: two, text: Second, links: q2}]
    flags: [{at_least: 3, raise: low-mood}]
documents:
  - {code: mood, after: enrolment, within: 5 business days, satisfied_by: {form: mood}}
  - {code: note, after: encounter.finished, within: 2 days, satisfied_by: {DocumentReference: {type: "http://loinc.org|11506-3"}}}
intake: {task: decide, stage: candidate, outcomes: {done: enrolled, refused: declined}}
rules:
  - {id: low, when: {flag: low-mood}, do: {create_task: support}}
  - {id: no-note, when: {document_missing: note}, do: {create_task: write-note}}
  - {id: call-again, when: {next_contact: {due: 4 business hours}}, do: {notify: role/rn}}
"""
PHONE = [{"system": "phone", "value": "555-0100"}]


@pytest.fixture
def practice(database: Database) -> Practice:
    """Ana left hospital on Monday morning and is a candidate."""
    practice = Practice(database, local("2026-03-02 08:00"))
    practice.publish(PROGRAM, local("2026-03-02 08:00"))
    practice.ehr(
        local("2026-03-09 11:30"), patient("ana") | {"telecom": PHONE}, stay("stay", "ana", local("2026-03-09 11:00"))
    )
    return practice


def answers(at: str, *said: str, status: str = "completed") -> Resource:
    items = [{"linkId": f"q{n}", "answer": [{"valueCoding": {"display": text}}]} for n, text in enumerate(said, 1)]
    return {
        "resourceType": "QuestionnaireResponse",
        "id": "mood",
        "status": status,
        "questionnaire": "Questionnaire/ehr-mood",
        "subject": {"reference": "Patient/ana"},
        "authored": local(at).isoformat(),
        "item": items,
    }


def calm(practice: Practice, code: str) -> list[str]:
    mine = [one for one in practice.items("ehr-ana") if one.program == "calm" and one.kind == "task"]
    return [one.status for one in mine if one.code == code]


def stages(practice: Practice) -> list[str]:
    mine = [one for one in practice.items("ehr-ana") if one.program == "calm" and one.kind == "plan"]
    return [one.status for one in mine]


def task(practice: Practice, code: str) -> str:
    (found,) = [one.ref for one in practice.items("ehr-ana") if one.program == "calm" and one.code == code]
    return found


def test_a_candidate_is_tried_accepted_assessed_and_helped(practice: Practice) -> None:
    decide = task(practice, "decide")
    assert (stages(practice), calm(practice, "assess")) == (["candidate"], [])
    practice.tries(decide, local("2026-03-09 13:00"))
    practice.until(local("2026-03-10 16:59"))
    told = [one for one in practice.notified(decide) if one.to_role == "rn"]
    assert [one.created_at for one in told] == [], "next contact is at 13:00; four business hours later is 17:00"
    practice.until(local("2026-03-10 17:01"))
    assert [one.created_at for one in practice.notified(decide)] == [local("2026-03-10 17:00")]
    practice.do(decide, "done", local("2026-03-11 09:30"), COORDINATOR, note="Wants it")
    practice.until(local("2026-03-11 10:00"))
    assert (stages(practice), calm(practice, "assess")) == (["enrolled"], ["to-do"])
    practice.ehr(local("2026-03-12 10:00"), answers("2026-03-12 09:50", "Daily", "Never"))
    practice.until(local("2026-03-12 11:00"))
    assert (calm(practice, "assess"), calm(practice, "support")) == (["done"], ["to-do"])
    assert [one["code"]["coding"][0]["code"] for one in practice.stored("Flag") if one["status"] == "active"] == [
        "low-mood"
    ]
    practice.do(task(practice, "support"), "done", local("2026-03-12 14:00"), EVERYONE, note="Helped")
    invariants.hold(practice)


def test_who_declines_gets_no_work_and_stays_visible(practice: Practice) -> None:
    practice.do(task(practice, "decide"), "refused", local("2026-03-10 09:30"), EVERYONE, reason="Has a counsellor")
    practice.until(local("2026-04-20 09:00"))
    assert (stages(practice), calm(practice, "assess"), calm(practice, "decide")) == (["declined"], [], ["refused"])
    practice.ehr(local("2026-04-20 10:00"), stay("second", "ana", local("2026-04-20 09:00")))
    assert stages(practice) == ["declined", "candidate"]


def test_a_note_in_the_wrong_place_is_named_and_the_right_one_closes_the_work_late(practice: Practice) -> None:
    practice.do(task(practice, "decide"), "done", local("2026-03-09 14:00"), COORDINATOR, note="Wants it")
    practice.ehr(local("2026-03-16 10:30"), visit_encounter("office", "ana", local("2026-03-16 10:00")))
    practice.ehr(local("2026-03-16 11:00"), visit_encounter("old", "ana", local("2026-02-02 10:00")))
    wrong = document("wrong", "ana", local("2026-03-16 12:00"), code=PROGRESS_NOTE, encounter="old")
    practice.ehr(local("2026-03-16 12:10"), wrong)
    practice.until(local("2026-03-19 09:00"))
    plan = next(one for one in practice.items("ehr-ana") if one.program == "calm" and one.kind == "plan")
    with practice.database.read() as tx:
        findings = explain(tx, SYSTEM, plan.ref, practice.now).findings
    missing = [one.verdict for one in findings if one.rule == "no-note" and one.verdict.holds]
    assert any("was filed under Encounter/ehr-old, not here" in one.why for one in missing)
    work = [
        one for one in practice.items("ehr-ana") if one.code == "write-note" and one.focus == "Encounter/ehr-office"
    ]
    assert [one.status for one in work if one.program == "calm"] == ["to-do"]
    right = document("right", "ana", local("2026-03-16 12:00"), code=PROGRESS_NOTE, encounter="office")
    practice.ehr(local("2026-03-19 10:00"), right)
    (ref,) = [one.ref for one in work if one.program == "calm"]
    row = [one for one in practice.log(ref) if one.what == "status"][-1]
    assert row.after == "done"
    assert row.reason is not None
    assert "late" in row.reason
    assert practice.resource(ref)["note"][-1]["text"] == row.reason
