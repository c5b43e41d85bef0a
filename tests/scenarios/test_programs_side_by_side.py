"""Who comes into which program, by the EHR's data or by hand, and what a new version of a program changes."""

from __future__ import annotations

import pytest

from fhir_tracker.errors import RuleBroken
from fhir_tracker.rules.starters import starter_programs
from fhir_tracker.storage.database import Database
from tests.scenarios import invariants
from tests.scenarios.ehr import ASTHMA, DIABETES, HYPERTENSION, SNOMED, condition, local, patient, stay, visit
from tests.scenarios.practice import Practice, due


@pytest.fixture
def practice(database: Database) -> Practice:
    practice = Practice(database, local("2026-03-02 08:00"))
    practice.ehr(local("2026-03-02 08:30"), patient("ana"))
    return practice


def programs(practice: Practice, who: str = "ana") -> list[tuple[str | None, int | None]]:
    return [(one.program, one.program_version) for one in practice.plans(who)]


def test_one_chronic_condition_is_not_enough_and_the_same_twice_is_still_one(practice: Practice) -> None:
    practice.ehr(local("2026-03-03 08:30"), condition("c1", "ana", HYPERTENSION), condition("c2", "ana", HYPERTENSION))
    assert programs(practice) == []
    practice.ehr(local("2026-03-04 08:30"), condition("c3", "ana", ASTHMA))
    practice.ehr(local("2026-03-05 08:30"), condition("c4", "ana", DIABETES))
    assert programs(practice) == [("ccm", 1)]
    invariants.hold(practice)


def test_a_refuted_condition_does_not_count_and_later_refuting_ends_nothing(practice: Practice) -> None:
    practice.ehr(
        local("2026-03-03 08:30"),
        condition("c1", "ana", HYPERTENSION),
        condition("c2", "ana", DIABETES, verification="refuted"),
    )
    assert programs(practice) == []
    practice.ehr(local("2026-03-04 08:30"), condition("c2", "ana", DIABETES))
    practice.ehr(local("2026-03-05 08:30"), condition("c2", "ana", DIABETES, verification="refuted"))
    assert [one.open for one in practice.plans("ana")] == [True]
    invariants.hold(practice)


def test_a_chronic_care_plan_of_the_ehr_brings_the_patient_in(practice: Practice) -> None:
    plan = {
        "resourceType": "CarePlan",
        "id": "dm",
        "status": "active",
        "intent": "plan",
        "category": [{"coding": [{"system": SNOMED, "code": "698360004"}]}],
        "subject": {"reference": "Patient/ana"},
        "period": {"start": "2025-06-01"},
    }
    practice.ehr(local("2026-03-03 08:30"), plan | {"status": "completed"})
    assert programs(practice) == []
    practice.ehr(local("2026-03-03 09:30"), plan)
    assert programs(practice) == [("ccm", 1)]
    invariants.hold(practice)


def test_two_programs_of_one_patient_keep_to_their_own_work(practice: Practice) -> None:
    practice.ehr(local("2026-03-03 08:30"), condition("c1", "ana", HYPERTENSION), condition("c2", "ana", DIABETES))
    practice.ehr(local("2026-03-09 11:30"), stay("stay", "ana", local("2026-03-09 11:00")))
    assert [one.program for one in practice.plans("ana")] == ["ccm", "tcm"]
    chronic, transition = practice.plans("ana")
    practice.tries(practice.todo("ana", plan=transition.ref)["first-call"].ref, local("2026-03-10 09:00"), "reached")
    assert "touchpoint" in practice.todo("ana", plan=chronic.ref)
    practice.ehr(local("2026-03-12 10:30"), visit("v", "ana", local("2026-03-12 10:00"), status="noshow"))
    made = practice.one("ana", "reschedule-visit")
    assert (made.plan, made.program) == (transition.ref, "tcm")
    assert practice.work_of("ana", "reschedule-review") == []
    practice.until(local("2026-03-20 09:00"))
    invariants.hold(practice)


def test_a_new_version_takes_who_comes_next_and_leaves_running_plans(practice: Practice) -> None:
    practice.ehr(local("2026-03-09 11:30"), stay("stay", "ana", local("2026-03-09 11:00")))
    practice.publish(quicker(starter_programs()["tcm"]), local("2026-03-09 12:00"))
    practice.work(local("2026-03-09 12:01"))
    assert programs(practice) == [("tcm", 1)]

    practice.ehr(local("2026-03-09 12:30"), patient("ben"), stay("stay-b", "ben", local("2026-03-09 12:10")))
    assert programs(practice, "ben") == [("tcm", 2)]
    assert due(practice.one("ana", "first-call")) == "Wed 2026-03-11 17:00"
    assert due(practice.one("ben", "first-call")) == "Tue 2026-03-10 17:00"

    practice.ehr(local("2026-03-10 09:00"), visit("v", "ana", local("2026-03-10 08:30"), status="noshow"))
    assert practice.one("ana", "reschedule-visit").program_version == 1
    practice.until(local("2026-03-11 17:00"))
    (fired,) = [one for one in practice.firings(practice.one("ana", "first-call").ref) if one.kind == "escalate"]
    assert fired.program_version == 1
    invariants.hold(practice)


def quicker(text: str) -> str:
    return text.replace(
        "due: {after: discharge, within: 2 business days}", "due: {after: discharge, within: 1 business day}"
    )


def test_a_version_that_drops_a_rule_does_not_drop_it_from_running_plans(practice: Practice) -> None:
    practice.ehr(local("2026-03-09 11:30"), stay("stay", "ana", local("2026-03-09 11:00")))
    text = starter_programs()["tcm"]
    start, end = text.index("  - id: first-call-late"), text.index("  - id: work-late")
    practice.publish(text[:start] + text[end:], local("2026-03-09 12:00"))
    practice.until(local("2026-03-11 17:00"))
    assert [role for role, _ in practice.climbed(practice.one("ana", "first-call").ref)] == ["rn"]
    invariants.hold(practice)


def test_a_plan_opened_by_hand_counts_from_then_and_only_once_while_open(practice: Practice) -> None:
    plan = practice.by_hand("tcm", "ana", local("2026-03-06 15:00"))
    todo = practice.todo("ana", plan=plan)
    assert due(todo["first-call"]) == "Tue 2026-03-10 17:00"
    with pytest.raises(RuleBroken, match="open plan of Transitional care management already"):
        practice.by_hand("tcm", "ana", local("2026-03-06 15:05"))
    assert practice.by_hand("ccm", "ana", local("2026-03-06 15:10"))
    practice.until(local("2026-03-10 17:00"))
    assert practice.climbed(todo["first-call"].ref) == [("rn", "Tue 2026-03-10 17:00")]
    invariants.hold(practice)


def test_a_chronic_patient_comes_in_once_whatever_is_found_later(practice: Practice) -> None:
    practice.ehr(local("2026-03-03 08:30"), condition("c1", "ana", HYPERTENSION), condition("c2", "ana", DIABETES))
    practice.ehr(local("2026-03-20 08:30"), condition("c3", "ana", ASTHMA))
    assert len(practice.plans("ana")) == 1
    invariants.hold(practice)
