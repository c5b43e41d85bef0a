"""Each write of the tracker's own types has a Provenance that names the version, who wrote it, when and as what."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fhir_tracker import records, writes
from fhir_tracker.errors import RuleBroken, VersionConflict
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.storage.database import Database
from tests.support.clinic import COORDINATOR, MONDAY, Clinic, author

HOUR = timedelta(hours=1)
ANN: Resource = {"reference": "Patient/ann"}
BODIES: dict[str, Resource] = {
    "CarePlan": {"status": "active", "intent": "plan", "subject": ANN},
    "CareTeam": {"status": "active", "subject": ANN},
    "ChargeItem": {"status": "billable", "code": {"text": "Care coordination"}, "subject": ANN},
    "Communication": {"status": "completed", "subject": ANN},
    "EpisodeOfCare": {"status": "active", "patient": ANN},
    "Flag": {"status": "active", "code": {"text": "Falls"}, "subject": ANN},
    "Goal": {"lifecycleStatus": "active", "description": {"text": "Walk"}, "subject": ANN},
    "QuestionnaireResponse": {"status": "completed", "subject": ANN},
    "Task": {"status": "requested", "intent": "order", "for": ANN},
}


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database)
    made.patient("ann")
    return made


def body(type_: str) -> Resource:
    return {"resourceType": type_, **BODIES[type_]}


def acts(clinic: Clinic, ref: str) -> list[tuple[str, str, str]]:
    """(version, activity, recorded) of each Provenance about `ref`, in the order of the versions."""
    found: list[tuple[str, str, str]] = []
    for one in clinic.provenance(ref):
        (target,) = one["target"]
        found.append(
            (
                target["reference"].removeprefix(f"{ref}/_history/"),
                one["activity"]["coding"][0]["code"],
                one["recorded"],
            )
        )
    return sorted(found)


def test_the_tracker_proves_the_types_it_owns() -> None:
    assert set(BODIES) == writes.PROVEN


@pytest.mark.requirement(123)
@pytest.mark.parametrize("type_", sorted(BODIES))
def test_creating_changing_and_deleting_are_proven_each_with_its_version(clinic: Clinic, type_: str) -> None:
    with clinic.acting(MONDAY, COORDINATOR) as (tx, by):
        made = writes.create(tx, body(type_), by)
    changed = body(type_) | {"id": made.id, "language": "en"}
    with clinic.acting(MONDAY + HOUR, COORDINATOR) as (tx, by):
        stored, is_new = writes.update(tx, type_, made.id, changed, by, if_match=1)
    assert (stored.version, is_new) == (2, False)
    with clinic.acting(MONDAY + 2 * HOUR, COORDINATOR) as (tx, by):
        removed = writes.delete(tx, type_, made.id, by)
    assert removed is not None
    assert acts(clinic, made.ref) == [
        ("1", "CREATE", instant(MONDAY)),
        ("2", "UPDATE", instant(MONDAY + HOUR)),
        ("3", "DELETE", instant(MONDAY + 2 * HOUR)),
    ]
    for one in clinic.provenance(made.ref):
        assert [issue for issue in check(one) if issue.severity in ("error", "fatal")] == []
        assert one["agent"][0]["who"] == {"display": "The coordinator", "reference": "Practitioner/coordinator"}


@pytest.mark.parametrize("type_", sorted(BODIES))
def test_a_put_under_a_new_id_is_proven_as_a_creation(clinic: Clinic, type_: str) -> None:
    with clinic.acting(MONDAY, COORDINATOR) as (tx, by):
        _, is_new = writes.update(tx, type_, "chosen", body(type_) | {"id": "chosen"}, by)
    assert is_new
    assert acts(clinic, f"{type_}/chosen") == [("1", "CREATE", instant(MONDAY))]


def test_a_task_that_is_moved_and_deleted_has_an_act_for_each_version(clinic: Clinic) -> None:
    with clinic.acting(MONDAY, COORDINATOR) as (tx, by):
        made = writes.create(tx, body("Task"), by)
    clinic.move(made.ref, "in-progress", MONDAY + HOUR)
    with clinic.acting(MONDAY + 2 * HOUR, COORDINATOR) as (tx, by):
        writes.delete(tx, "Task", made.id, by)
    assert [(version, activity) for version, activity, _ in acts(clinic, made.ref)] == [
        ("1", "CREATE"),
        ("2", "UPDATE"),
        ("3", "DELETE"),
    ]


@pytest.mark.parametrize("type_", ["Patient", "Organization", "Practitioner", "Basic"])
def test_what_an_ehr_would_own_is_written_without(clinic: Clinic, type_: str) -> None:
    needed: dict[str, dict[str, Any]] = {"Basic": {"code": {"text": "b"}}, "Organization": {"name": "Somewhere"}}
    plain: dict[str, Any] = {"resourceType": type_} | needed.get(type_, {})
    with clinic.acting(MONDAY, COORDINATOR) as (tx, by):
        made = writes.create(tx, plain, by)
    assert clinic.provenance(made.ref) == []


@pytest.mark.parametrize("type_", sorted(BODIES))
def test_a_refused_write_proves_nothing(clinic: Clinic, type_: str) -> None:
    with clinic.acting(MONDAY, COORDINATOR) as (tx, by):
        made = writes.create(tx, body(type_), by)
    before = clinic.stored("Provenance")
    with clinic.acting(MONDAY + HOUR, COORDINATOR) as (tx, by), pytest.raises(VersionConflict):
        writes.update(tx, type_, made.id, body(type_) | {"id": made.id}, by, if_match=7)
    with clinic.acting(MONDAY + HOUR, COORDINATOR) as (tx, by), pytest.raises(VersionConflict):
        writes.delete(tx, type_, made.id, by, if_match=7)
    assert clinic.stored("Provenance") == before


def test_deleting_what_is_gone_or_never_was_proves_nothing(clinic: Clinic) -> None:
    for _ in range(2):
        with clinic.acting(MONDAY, COORDINATOR) as (tx, by):
            assert writes.delete(tx, "Goal", "never", by) is None
    assert clinic.stored("Provenance") == []


def test_a_mirrored_plan_is_not_written_here_and_proves_nothing(clinic: Clinic) -> None:
    remote = records.Remote(connection="north", id="1", version="1", body="{}", content_hash="h")
    with clinic.database.begin() as tx:
        ehr = author(MONDAY, origin="ehr:north")
        records.save(tx, body("CarePlan") | {"id": "north-1"}, ehr, remote=remote)
    for _ in range(2):
        with clinic.acting(MONDAY, COORDINATOR) as (tx, by), pytest.raises(RuleBroken, match="copy of an EHR"):
            writes.update(tx, "CarePlan", "north-1", body("CarePlan") | {"id": "north-1"}, by)
    assert clinic.stored("Provenance") == []


def test_a_plain_task_is_as_old_as_its_first_version(clinic: Clinic) -> None:
    clinic.put(body("Task") | {"id": "a"}, MONDAY)
    assert clinic.item("Task/a").created_at == MONDAY
    for hours in (1, 2):
        clinic.put(body("Task") | {"id": "a", "description": f"{hours}"}, MONDAY + hours * HOUR)
        assert clinic.item("Task/a").created_at == MONDAY
    clinic.put(body("Task") | {"id": "a", "authoredOn": instant(MONDAY - HOUR)}, MONDAY + 3 * HOUR)
    assert clinic.item("Task/a").created_at == MONDAY - HOUR


def test_a_task_that_comes_back_after_its_deletion_is_as_old_as_it_ever_was(clinic: Clinic) -> None:
    clinic.put(body("Task") | {"id": "a"}, MONDAY)
    clinic.remove("Task/a", MONDAY + HOUR)
    clinic.put(body("Task") | {"id": "a"}, MONDAY + 2 * HOUR)
    assert clinic.item("Task/a").created_at == MONDAY


def test_a_plan_written_through_the_api_without_a_date_is_as_old_as_its_first_version(clinic: Clinic) -> None:
    plan = body("CarePlan") | {"id": "p", "instantiatesCanonical": [clinic.program.canonical]}
    clinic.put(plan, MONDAY)
    clinic.put(plan | {"title": "Again"}, MONDAY + HOUR)
    assert clinic.item("CarePlan/p").created_at == MONDAY
