"""Plan to tasks: a diagnosis in the EHR becomes a plan with a goal, a team and work that starts after other work."""

from __future__ import annotations

import pytest

from fhir_tracker import regeneration, writes
from fhir_tracker.storage.database import Database
from tests.scenarios import invariants
from tests.scenarios.ehr import DIABETES, condition, local, patient, result
from tests.scenarios.practice import Practice, clock, due
from tests.support.care_program import CARE
from tests.support.clinic import COORDINATOR, NURSE, PROVIDER

TEXT = CARE.replace(
    "goals:\n", 'eligible: {once: patient, any: [{Condition: "http://snomed.info/sct|44054006"}]}\ngoals:\n', 1
)
HOME = {"address": [{"use": "home", "state": "CA", "postalCode": "94110", "country": "US"}]}


@pytest.fixture
def practice(database: Database) -> Practice:
    """Eve, who lives in California, is diagnosed on Monday 9 March at 10 in New York."""
    practice = Practice(database, local("2026-03-02 08:00"), (TEXT,))
    practice.ehr(local("2026-03-09 10:00"), patient("eve") | HOME, condition("c", "eve", DIABETES))
    return practice


def plan(practice: Practice) -> str:
    (found,) = practice.plans("eve")
    return found.ref


def finish(practice: Practice, code: str, at: str) -> None:
    practice.do(practice.one("eve", code).ref, "done", local(at), NURSE)


def test_a_diagnosis_becomes_goals_a_team_and_work_with_roles_and_due_times(practice: Practice) -> None:
    care = practice.resource(plan(practice))
    goals = [practice.resource(one["reference"]) for one in care["goal"]]
    assert [one["description"]["text"] for one in goals] == ["HbA1c under control", "Walks every day"]
    assert goals[0]["target"][0]["detailQuantity"]["value"] == 8
    team = practice.resource(care["careTeam"][0]["reference"])
    assert [one["role"][0]["coding"][0]["code"] for one in team["participant"]] == ["rn", "care-coordinator"]
    open_ = {one.code for one in practice.items("ehr-eve") if one.open and one.kind == "task"}
    assert open_ == {"assess", "labs", "weekly"}
    assess, labs = practice.one("eve", "assess"), practice.one("eve", "labs")
    assert (assess.role, due(assess), due(labs)) == ("rn", "Wed 2026-03-11 10:00", "Thu 2026-03-12 10:00")
    assert practice.resource(labs.ref)["partOf"] == [{"reference": assess.ref}]
    invariants.hold(practice)


def test_work_starts_when_all_that_it_waits_for_has_ended_and_goes_to_whom_the_plan_names(practice: Practice) -> None:
    with practice.acting(local("2026-03-09 11:00"), COORDINATOR) as (tx, by):
        owned = practice.resource(plan(practice)) | {"author": {"reference": "Practitioner/coordinator"}}
        writes.update(tx, "CarePlan", plan(practice).split("/")[1], owned, by)
    practice.do(practice.one("eve", "assess").ref, "done", local("2026-03-10 10:00"), NURSE)
    assert practice.work_of("eve", "plan-talk") == []
    practice.do(practice.one("eve", "labs").ref, "done", local("2026-03-10 14:00"), NURSE)
    talk = practice.one("eve", "plan-talk")
    assert (talk.role, due(talk)) == ("provider", "Wed 2026-03-11 17:00")
    practice.do(talk.ref, "done", local("2026-03-11 09:00"), PROVIDER)
    assert practice.one("eve", "letter").owner == "Practitioner/coordinator"
    invariants.hold(practice)


def test_what_recurs_is_made_ahead_on_the_patients_clock_across_the_change_of_clocks(practice: Practice) -> None:
    ahead = [one.starts_at or one.created_at for one in practice.work_of("eve", "weekly")]
    assert [clock(one) for one in ahead] == ["Mon 2026-03-09 10:00", "Mon 2026-03-16 10:00", "Mon 2026-03-23 10:00"]
    practice.until(local("2026-03-31 09:00"))
    assert len(practice.work_of("eve", "weekly")) == 6
    invariants.hold(practice)


def test_making_the_work_anew_doubles_nothing_and_keeps_what_people_did(practice: Practice) -> None:
    finish(practice, "labs", "2026-03-10 10:00")
    before = [(one.ref, one.status, one.due_at) for one in practice.items("ehr-eve")]
    for minute in (1, 2):
        with practice.acting(local(f"2026-03-10 10:0{minute}"), COORDINATOR) as (tx, by):
            assert regeneration.regenerate(tx, plan(practice), by) == ()
    practice.work(local("2026-03-10 10:03"))
    assert [(one.ref, one.status, one.due_at) for one in practice.items("ehr-eve")] == before
    practice.ehr(local("2026-03-10 11:00"), result("o", "eve", local("2026-03-10 09:00")))
    assert [(one.ref, one.status, one.due_at) for one in practice.items("ehr-eve")] == before
    invariants.hold(practice)
