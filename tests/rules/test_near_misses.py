"""Filed in the wrong place, not final yet, or late: each expectation says what it found and why that was not enough."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Program
from fhir_tracker.model.work import Event
from fhir_tracker.rules.closing import done_by
from fhir_tracker.rules.conditions import judge
from fhir_tracker.rules.documents import near_misses, satisfied
from fhir_tracker.rules.program_file import read_program
from tests.rules.samples import BASE, MONDAY, event, facts, hours, item, plan_item, visit
from tests.rules.test_forms import FORMS

RULES = """
rules:
  - {id: no-note, when: {document_missing: note}, do: {create_task: rebook}}
  - {id: no-lab, when: {document_missing: lab}, do: {create_task: rebook}}
"""
LAB = """  - {code: lab, title: The lab, after: enrolment, within: 2 days, satisfied_by: {Observation: {code: "urn:l|lab"}}}
  - {code: form, after: enrolment, within: 2 days, satisfied_by: {form: mood}}
"""
VISIT = visit("v", "fulfilled", MONDAY + hours(2))
LATE = MONDAY + timedelta(days=5)


def demo(more: str = LAB) -> Program:
    base = BASE.replace("{code: rebook, role: front-desk, on: rule, due: {after: created, within: 1 day}, "
                        "done_by: {appointment: booked, service: visit}}",
                        "{code: rebook, role: front-desk, on: rule, done_by: {document: note}}")  # fmt: skip
    return read_program(base + more + FORMS + RULES)


def note(name: str = "n", about: tuple[str, ...] = (), **changes: object) -> Event:
    return event(
        f"DocumentReference/{name}", "current", MONDAY + hours(5), codes=("urn:l|note",), about=about, **changes
    )


def of_plan(*events: Event, strangers: tuple[str, ...] = ()) -> Facts:
    return facts(plan_item(), events=(VISIT, *events), strangers=frozenset(strangers))


def test_a_note_under_another_visit_is_a_near_miss_in_the_words_of_the_rule() -> None:
    other = visit("other", "fulfilled", MONDAY - hours(200))
    found = of_plan(note(about=("Appointment/other",)), other)
    (answer,) = judge(demo(), found, demo().rules[0].when, LATE)
    assert answer.holds
    assert answer.why.endswith("; DocumentReference/n was filed under Appointment/other, not here")
    assert (answer.facts["near misses"], answer.facts["filed elsewhere"]) == ("1", "DocumentReference/n")


def test_a_note_under_another_patients_encounter_satisfies_nothing_and_says_whose_it_is() -> None:
    filed = note(about=("Encounter/theirs",))
    program = demo()
    document = program.documents[0]
    assert satisfied(program, of_plan(filed), document)
    found = of_plan(filed, strangers=("Encounter/theirs",))
    assert not satisfied(program, found, document)
    ((miss,),) = near_misses(program, found, document).values()
    assert str(miss) == "DocumentReference/n was filed under Encounter/theirs, which is another patient's"


@pytest.mark.parametrize(
    "filed",
    [
        note(),
        note(about=("Appointment/v",)),
        replace(note(about=("Appointment/other",)), status="entered-in-error"),
        replace(note(about=("Appointment/other",)), codes=("urn:l|else",)),
        replace(note(about=("Appointment/other",)), start=MONDAY - hours(90)),
    ],
    ids=["names nothing", "this one", "in error", "another kind", "too early"],
)
def test_what_is_no_near_miss(filed: Event) -> None:
    program = demo()
    assert (
        near_misses(program, of_plan(filed, visit("other", "noshow", MONDAY - hours(200))), program.documents[0]) == {}
    )


@pytest.mark.parametrize(
    ("status", "there"),
    [("final", True), ("amended", True), ("preliminary", False), ("registered", False), ("cancelled", False)],
)
def test_a_result_is_there_when_it_is_final(status: str, there: bool) -> None:
    lab = event("Observation/l", status, MONDAY + hours(4), codes=("urn:l|lab",))
    (answer,) = judge(demo(), of_plan(lab), demo().rules[1].when, LATE)
    assert answer.holds is not there


@pytest.mark.parametrize(
    ("form", "status", "there"),
    [
        ("|https://fhir-tracker.example/Questionnaire/demo.mood", "completed", True),
        ("|http://example.org/q/mood", "amended", True),
        ("|http://example.org/q/mood", "in-progress", False),
        ("|http://example.org/q/else", "completed", False),
    ],
)
def test_a_form_is_expected_by_its_code(form: str, status: str, there: bool) -> None:
    program = demo()
    filled = event("QuestionnaireResponse/r", status, MONDAY + hours(4), codes=(form,))
    document = program.document("form")
    assert document is not None
    assert bool(satisfied(program, of_plan(filled), document)) is there


def test_what_arrives_late_closes_the_work_and_says_so_in_the_row_and_in_a_note() -> None:
    work = item(code="rebook", focus="Appointment/v", created_at=LATE, status_since=LATE)
    filed = note(about=("Appointment/v",), seen_at=MONDAY + timedelta(days=6))
    found = done_by(demo(), facts(work, events=(VISIT, filed)))
    assert found is not None
    effect, _ = found
    assert effect.reason == "done: DocumentReference/n (current), which arrived 3 days 22 h late"
    assert effect.note == effect.reason
    early = done_by(demo(), facts(work, events=(VISIT, replace(filed, seen_at=MONDAY + hours(6)))))
    assert early is not None
    assert (early[0].reason, early[0].note) == ("done: DocumentReference/n (current)", "")


def test_a_form_that_is_not_there_is_refused_with_its_place() -> None:
    with pytest.raises(Incorrect) as refused:
        demo(LAB.replace("{form: mood}", "{form: modo}"))
    (issue,) = refused.value.issues
    assert (issue.expression, 'did you mean "mood"?' in issue.message) == ("documents[3].satisfied_by.form", True)
