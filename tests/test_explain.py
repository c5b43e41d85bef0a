"""Why is this in my queue: the rule, its version, the facts it used and the next level."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from fhir_tracker import explain
from fhir_tracker.errors import NotFound
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, NURSE, Clinic

LATE = MONDAY + timedelta(days=2)


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database)
    made.patient("ann")
    made.discharge("ann", MONDAY)
    made.sweep(LATE)
    return made


def explained(clinic: Clinic, ref: str, viewer: Viewer = NURSE) -> explain.Explanation:
    with clinic.database.read() as tx:
        return explain.explain(tx, viewer, ref, LATE)


def test_the_json_names_rule_version_facts_and_the_next_level(clinic: Clinic) -> None:
    call = clinic.task("ann", "first-call")
    told = json.loads(json.dumps(explained(clinic, call.ref).as_json()))
    assert (told["item"], told["program"], told["status"]) == (call.ref, "ring|1", "to-call")
    assert (told["due"], told["escalationLevel"]) == (LATE.isoformat(), 1)
    late = next(one for one in told["rules"] if one["rule"] == "late")
    assert late["holds"]
    assert late["why"]
    assert late["facts"]
    assert late["nextLevel"] == {"level": 2, "to": "provider", "at": (LATE + timedelta(hours=4)).isoformat()}
    (fired,) = late["fired"]
    assert (fired["level"], fired["to"], fired["state"]) == (1, "rn", "open")
    assert fired["task"] == clinic.escalations("ann")[0].ref
    assert told["nextLook"] == (LATE + timedelta(hours=4)).isoformat()


def test_the_lines_say_the_same_to_a_person(clinic: Clinic) -> None:
    call = clinic.task("ann", "first-call")
    text = "\n".join(explained(clinic, call.ref).as_lines())
    for part in (
        call.ref,
        "ring version 1",
        "YES late:",
        "level 1 to rn fired",
        "next: level 2 to provider at",
        "clock running",
    ):
        assert part in text


def test_an_escalation_is_explained_by_the_work_it_is_about(clinic: Clinic) -> None:
    (escalation,) = clinic.escalations("ann")
    assert explained(clinic, escalation.ref).item.ref == clinic.task("ann", "first-call").ref


def test_a_plan_is_explained_by_its_own_rules(clinic: Clinic) -> None:
    call = clinic.task("ann", "first-call")
    assert call.plan is not None
    assert explained(clinic, call.plan).item.kind == "plan"


def test_a_task_outside_programs_says_so(clinic: Clinic) -> None:
    clinic.put({"resourceType": "Task", "id": "t", "status": "requested", "intent": "order"}, MONDAY)
    found = explained(clinic, "Task/t")
    assert (found.findings, found.as_json()["program"]) == ((), None)
    assert "no program" in found.as_lines()[0]


def test_closed_work_has_no_next_look(clinic: Clinic) -> None:
    call = clinic.task("ann", "first-call").ref
    clinic.move(call, "unreachable", LATE, NURSE, {"reason": "Moved away"})
    assert explained(clinic, call).next_at is None


def test_an_answered_escalation_says_what_stopped_the_ladder(clinic: Clinic) -> None:
    (escalation,) = clinic.escalations("ann")
    clinic.put(clinic.resource(escalation.ref) | {"status": "accepted"}, LATE)
    text = "\n".join(explained(clinic, escalation.ref).as_lines())
    assert "stopped: level 1 was acknowledged" in text


@pytest.mark.parametrize("ref", ["Task/none", "Patient/ann", "", "x"])
def test_what_is_no_work_is_not_found(clinic: Clinic, ref: str) -> None:
    with pytest.raises(NotFound):
        explained(clinic, ref)


def test_a_viewer_locked_to_another_patient_finds_nothing(clinic: Clinic) -> None:
    with pytest.raises(NotFound):
        explained(
            clinic, clinic.task("ann", "first-call").ref, Viewer(who="Patient/bob", patient="bob", sight=EVERYTHING)
        )
