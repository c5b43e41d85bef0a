"""Who comes into a program, by which event, and who does not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fhir_tracker.model.program import Program
from fhir_tracker.model.work import Event
from fhir_tracker.rules.due import due_at
from fhir_tracker.rules.eligibility import enrolments
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.starters import starter_programs
from fhir_tracker.rules.summary import describe, program_summary
from tests.rules.samples import MONDAY, PATIENT, event, ny, program

ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
SNOMED = "http://snomed.info/sct"
NOW = MONDAY + timedelta(days=3)
TCM = read_program(starter_programs()["tcm"])
CCM = read_program(starter_programs()["ccm"])


def stay(name: str, days_ago: float = 1, status: str = "finished", code: str = f"{ACT}|IMP") -> Event:
    end = NOW - timedelta(days=days_ago)
    return event(f"Encounter/{name}", status, end - timedelta(days=3), end=end, codes=(code,))


def condition(name: str, code: str, status: str = "active") -> Event:
    return event(f"Condition/{name}", status, MONDAY - timedelta(days=900), codes=(f"{SNOMED}|{code}",))


def test_a_discharge_opens_a_plan_anchored_at_its_end() -> None:
    (found,) = enrolments(TCM, PATIENT, [stay("a", 2)], NOW)
    assert (found.program, found.trigger, found.anchor) == ("tcm", "Encounter/a", "discharge")
    assert found.anchor_at == NOW - timedelta(days=2)
    assert found.reason == "Eligible for Transitional care management: Encounter/a (finished)"


def test_of_several_discharges_the_latest_counts() -> None:
    found = enrolments(TCM, PATIENT, [stay("a", 9), stay("b", 2), stay("c", 5)], NOW)
    assert [one.trigger for one in found] == ["Encounter/b"]


@pytest.mark.parametrize(
    "events",
    [
        [],
        [stay("a", 31)],
        [stay("a", status="in-progress")],
        [stay("a", code=f"{ACT}|AMB")],
        [stay("a", code="urn:other|IMP")],
    ],
)
def test_no_discharge_no_plan(events: list[Event]) -> None:
    assert enrolments(TCM, PATIENT, events, NOW) == ()


def test_events_of_somebody_else_do_not_count() -> None:
    assert enrolments(TCM, "synthetic-2", [stay("a")], NOW) == ()


@pytest.mark.parametrize(
    ("events", "comes_in"),
    [
        ([condition("a", "38341003"), condition("b", "44054006")], True),
        ([condition("a", "38341003"), condition("b", "38341003")], False),
        ([condition("a", "38341003")], False),
        ([condition("a", "38341003"), condition("b", "44054006", "resolved")], False),
        ([event("CarePlan/c", "active", MONDAY, codes=(f"{SNOMED}|698360004",))], True),
        ([event("CarePlan/c", "completed", MONDAY, codes=(f"{SNOMED}|698360004",))], False),
    ],
)
def test_two_different_chronic_conditions_or_a_chronic_care_plan(events: list[Event], comes_in: bool) -> None:
    found = enrolments(CCM, PATIENT, events, NOW)
    assert [one.trigger for one in found] == ([""] if comes_in else [])


def with_eligible(text: str) -> Program:
    return read_program(starter_programs()["tcm"].split("eligible:")[0] + f"eligible: {text}\n" + _REST)


_REST = """
statuses: [{code: a, is: requested, means: A}, {code: b, is: completed, means: B}]
tasks: [{code: t, role: rn}]
"""


def test_all_and_not_combine() -> None:
    demo = with_eligible(
        "{all: [{Encounter: {status: finished}}, {Flag: high-risk}, {not: {CarePlan: {category: x}}}]}"
    )
    flag = event("Flag/f", "active", MONDAY, codes=("urn:f|high-risk",))
    other = event("CarePlan/p", "active", MONDAY, codes=("urn:c|x",))
    assert [one.trigger for one in enrolments(demo, PATIENT, [stay("a"), flag], NOW)] == ["Encounter/a"]
    assert enrolments(demo, PATIENT, [stay("a")], NOW) == ()
    assert enrolments(demo, PATIENT, [stay("a"), flag, other], NOW) == ()


def test_without_an_anchor_of_its_own_a_plan_counts_from_the_enrolment_and_not_from_an_old_diagnosis() -> None:
    demo = with_eligible("{any: [{Condition: {code: y}}]}")
    (found,) = enrolments(
        demo, PATIENT, [event("Condition/y", "active", MONDAY - timedelta(days=900), codes=("u|y",))], NOW
    )
    assert (found.anchor, found.anchor_at) == ("enrolment", NOW)


def test_each_event_of_the_type_named_first_opens_a_plan_of_its_own_where_the_program_says_so() -> None:
    demo = with_eligible(
        "{anchor: referred, once: each, all: [{any: [{ServiceRequest: {status: active, category: x}}, "
        "{ServiceRequest: {category: x}}]}, {not: {Flag: gone}}, {Condition: {code: y}}]}"
    )
    asked = [event(f"ServiceRequest/{name}", "active", MONDAY, codes=("urn:c|x",)) for name in ("b", "a")]
    ill = event("Condition/y", "active", MONDAY, codes=("urn:c|y",))
    found = enrolments(demo, PATIENT, [*asked, ill], NOW)
    assert [(one.trigger, one.anchor) for one in found] == [
        ("ServiceRequest/a", "referred"),
        ("ServiceRequest/b", "referred"),
    ]
    assert found[0].reason == f"Eligible for {demo.title}: ServiceRequest/a (active)"
    assert enrolments(demo, PATIENT, asked, NOW) == ()
    assert "each anew, from its referred on" in "\n".join(program_summary(demo))


def test_a_program_without_a_rule_takes_nobody_by_itself() -> None:
    demo = read_program("program: p\n" + _REST)
    assert enrolments(demo, PATIENT, [stay("a")], NOW) == ()


@pytest.mark.parametrize(
    ("task", "anchors", "expected"),
    [
        ("first-call", {"discharge": "2026-03-06 15:00"}, "2026-03-10 17:00"),
        ("visit", {"discharge": "2026-03-06 15:00"}, "2026-03-20 15:00"),
        ("first-call", {"enrolment": "2026-03-05 10:00"}, "2026-03-09 17:00"),
        ("rebook", {"discharge": "2026-03-06 15:00"}, "2026-03-10 09:00"),
    ],
)
def test_first_tasks_are_due_from_the_anchor(task: str, anchors: dict[str, str], expected: str) -> None:
    demo = program()
    template = demo.task(task)
    assert template is not None
    assert due_at(demo, template, {name: ny(text) for name, text in anchors.items()}, MONDAY) == ny(expected)


def test_work_without_a_due_rule_has_no_due_time() -> None:
    template = program().task("touch")
    assert template is not None
    assert due_at(program(), template, {}, MONDAY) is None


def test_a_program_is_told_in_plain_words() -> None:
    lines = program_summary(TCM)
    assert lines[0] == "Transitional care management (tcm, version 0)"
    assert "  first-call-late: when the task is first-call and it is overdue: escalate late-call" in lines
    assert any(line.startswith("Comes in: Encounter finished with code IMP") for line in lines)
    assert TCM.eligible is not None
    assert describe(TCM.eligible.condition).endswith("OBSENC within 30 days)")
