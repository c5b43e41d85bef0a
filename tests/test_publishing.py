"""Publishing a program version: once a text, with its definitions as FHIR resources, and running plans stay where they are."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_tracker import programs, publishing
from fhir_tracker.errors import Incorrect, NotFound
from fhir_tracker.fhir.checks import check
from fhir_tracker.storage.database import Database
from tests.support.clinic import MONDAY, NURSE, RING, Clinic

SECOND = RING.replace("title: Ring after discharge", "title: Ring soon after discharge")
DEFINITIONS = ("PlanDefinition", "ActivityDefinition", "CodeSystem", "ValueSet")


@pytest.fixture
def clinic(database: Database) -> Clinic:
    return Clinic(database)


def test_the_same_text_again_changes_nothing(clinic: Clinic) -> None:
    before = clinic.stored(*DEFINITIONS)
    assert clinic.publish(RING, MONDAY).version == 1
    assert clinic.stored(*DEFINITIONS) == before


def test_a_new_text_is_the_next_version_and_retires_the_one_before(clinic: Clinic) -> None:
    assert clinic.publish(SECOND, MONDAY).version == 2
    plans = {one["version"]: one["status"] for one in clinic.stored("PlanDefinition")}
    assert plans == {"1": "retired", "2": "active"}
    activities = {(one["version"], one["status"]) for one in clinic.stored("ActivityDefinition")}
    assert activities == {("1", "retired"), ("2", "active")}
    assert [one.version for one in clinic.active()] == [2]


def test_an_old_text_published_again_is_a_new_version(clinic: Clinic) -> None:
    clinic.publish(SECOND, MONDAY)
    assert clinic.publish(RING, MONDAY).version == 3


def test_what_is_published_is_valid_fhir(clinic: Clinic) -> None:
    clinic.publish(SECOND, MONDAY)
    bodies = clinic.stored(*DEFINITIONS)
    assert {one["resourceType"] for one in bodies} == set(DEFINITIONS)
    wrong = [issue for one in bodies for issue in check(one) if issue.severity in ("error", "fatal")]
    assert wrong == []


def test_the_starter_programs_publish_as_valid_fhir_and_once(clinic: Clinic) -> None:
    for _ in range(2):
        with clinic.acting(MONDAY) as (tx, by):
            published = publishing.publish_starters(tx, by)
    assert {"tcm", "ccm"} <= {one.code for one in published}
    assert {one.version for one in published} == {1}
    bodies = clinic.stored(*DEFINITIONS)
    assert [issue for one in bodies for issue in check(one) if issue.severity in ("error", "fatal")] == []
    assert len({one["id"] for one in bodies if one["resourceType"] == "ActivityDefinition"}) == len(
        clinic.program.tasks
    ) + sum(len(one.tasks) for one in published)


def test_the_definitions_say_what_the_file_says(clinic: Clinic) -> None:
    (plan,) = clinic.stored("PlanDefinition")
    assert (plan["url"], plan["version"]) == ("https://fhir-tracker.example/PlanDefinition/ring", "1")
    named = {one["definitionCanonical"] for one in plan["action"]}
    activities = clinic.stored("ActivityDefinition")
    assert named == {f"{one['url']}|{one['version']}" for one in activities}
    statuses = next(one for one in clinic.stored("CodeSystem") if one["id"] == "ring-status")
    means = {one["code"]: one["definition"] for one in statuses["concept"]}
    assert means["to-call"] == "Nobody has tried the patient yet"
    assert statuses["url"] == clinic.program.status_system


def test_running_plans_and_tasks_stay_on_their_version(clinic: Clinic) -> None:
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY)
    clinic.publish(SECOND, MONDAY)
    clinic.move(clinic.task("ann", "first-call").ref, "calling", MONDAY, NURSE)
    clinic.sweep(MONDAY)
    assert {item.program_version for item in clinic.items("ann")} == {1}


def test_a_file_with_mistakes_publishes_nothing(clinic: Clinic) -> None:
    with clinic.acting(MONDAY) as (tx, by), pytest.raises(Incorrect) as refused:
        publishing.publish(tx, RING.replace("is: requested", "is: eaten"), by)
    assert all(issue.message.startswith("line ") for issue in refused.value.issues)
    assert [one.version for one in clinic.active()] == [1]


def test_versions_can_be_had_by_number_and_the_active_one_without(clinic: Clinic) -> None:
    clinic.publish(SECOND, MONDAY)
    with clinic.database.read() as tx:
        assert programs.required(tx, "ring").version == 2
        assert programs.required(tx, "ring", 1).title == "Ring after discharge"
        assert [(one.version, one.status) for one in programs.all_programs(tx)] == [
            (2, "active"),
            (1, "retired"),
        ]
        for code, version in (("ring", 9), ("none", None)):
            with pytest.raises(NotFound):
                programs.required(tx, code, version)


def test_the_program_of_a_resource_is_the_one_it_names(clinic: Clinic) -> None:
    clinic.publish(SECOND, MONDAY)
    base = "https://fhir-tracker.example"
    named = {
        f"{base}/PlanDefinition/ring|1": 1,
        f"{base}/PlanDefinition/ring": 2,
        f"{base}/ActivityDefinition/ring.first-call|1": 1,
        f"{base}/PlanDefinition/other|1": None,
        "x|y|z": None,
        "": None,
    }
    with clinic.database.read() as tx:
        for canonical, version in named.items():
            for value in (canonical, [canonical]):
                found = programs.of_resource(tx, {"resourceType": "Task", "instantiatesCanonical": value})
                assert (found.version if found else None) == version
        odd_values: list[Any] = [None, 1, {}, [None], [1, {}]]
        for odd in odd_values:
            assert programs.of_resource(tx, {"resourceType": "Task", "instantiatesCanonical": odd}) is None
