"""What others refer to: who counts, who may know, and how many are named."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fhir_tracker import integrity, writes
from fhir_tracker.errors import Conflict
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.referrers import MOST_COUNTED
from tests.support.clinic import EVERYONE, MONDAY, SYSTEM, Clinic

DAY = timedelta(days=1)
ACTIVITY = "https://fhir-tracker.example/ActivityDefinition/ring.first-call"


@pytest.fixture
def clinic(database: Database) -> Clinic:
    made = Clinic(database)
    for name in ("ann", "bob"):
        made.patient(name)
    return made


def refusal(clinic: Clinic, ref: str, viewer: Viewer = EVERYONE) -> str | None:
    """Why `ref` cannot be deleted."""
    with clinic.database.read() as tx:
        found = integrity.refusals(tx, viewer, [ref]).get(ref)
    return found.message if found else None


def basic(id_: str, patient: str, **members: Any) -> dict[str, Any]:
    subject = {"reference": f"Patient/{patient}"}
    return {"resourceType": "Basic", "id": id_, "code": {"text": "x"}, "subject": subject, **members}


def test_nobody_refers_to_a_new_resource(clinic: Clinic) -> None:
    assert refusal(clinic, "Patient/ann") is None
    assert refusal(clinic, "Patient/nobody") is None


def test_the_escalations_of_a_task_end_with_it(clinic: Clinic) -> None:
    body = {"resourceType": "Task", "status": "requested", "intent": "order", "instantiatesCanonical": ACTIVITY}
    with clinic.acting(MONDAY, EVERYONE) as (tx, by):
        stored = writes.create(tx, body | {"for": {"reference": "Patient/ann"}}, by)
    clinic.sweep(MONDAY + 2 * DAY)
    assert [one.open for one in clinic.escalations("ann")] == [True]
    with clinic.acting(MONDAY + 2 * DAY, EVERYONE) as (tx, by):
        assert writes.delete(tx, "Task", stored.id, by, only_unreferred=True)
    assert [one.open for one in clinic.escalations("ann")] == [False]


def test_other_work_about_a_task_stands_in_its_way(clinic: Clinic) -> None:
    for id_, more in (("one", {}), ("two", {"partOf": [{"reference": "Task/one"}]})):
        clinic.put({"resourceType": "Task", "id": id_, "status": "requested", "intent": "order", **more}, MONDAY)
    with clinic.acting(MONDAY, EVERYONE) as (tx, by), pytest.raises(Conflict, match=r"1 resource refers .*Task/two"):
        writes.delete(tx, "Task", "one", by, only_unreferred=True)


def test_what_an_ehr_deletes_is_deleted(clinic: Clinic) -> None:
    clinic.put(basic("b", "ann"), MONDAY)
    assert clinic.remove("Patient/ann", MONDAY + DAY) is not None


def test_the_tracker_itself_is_not_asked(clinic: Clinic) -> None:
    clinic.put(basic("b", "ann"), MONDAY)
    with clinic.acting(MONDAY + DAY, SYSTEM) as (tx, by):
        assert writes.delete(tx, "Patient", "ann", by)


def test_who_may_not_see_a_referrer_is_not_told_its_name(clinic: Clinic) -> None:
    locked = replace(EVERYONE, patient="ann")
    clinic.put({**basic("secret", "bob"), "author": {"reference": "Patient/ann"}}, MONDAY)
    assert refusal(clinic, "Patient/ann", locked) == "Patient/ann cannot be deleted: other resources refer to it."
    clinic.put(basic("known", "ann"), MONDAY)
    told = refusal(clinic, "Patient/ann", locked)
    assert told is not None
    assert "1 resource refers to it (Basic/known)" in told
    assert "secret" not in told
    assert "2 resources refer to it (Basic/known, Basic/secret)" in (refusal(clinic, "Patient/ann") or "")


def test_a_former_version_and_a_deleted_resource_refer_to_nothing(clinic: Clinic) -> None:
    clinic.put(basic("moved", "ann"), MONDAY)
    clinic.put(basic("moved", "bob"), MONDAY + DAY)
    clinic.put(basic("gone", "ann"), MONDAY)
    clinic.remove("Basic/gone", MONDAY + DAY)
    assert refusal(clinic, "Patient/ann") is None
    assert refusal(clinic, "Patient/bob") is not None


def test_copies_in_a_stored_bundle_and_canonicals_are_no_references(clinic: Clinic) -> None:
    first = {"fullUrl": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", "resource": basic("copy", "ann")}
    clinic.put({"resourceType": "Bundle", "id": "b", "type": "collection", "entry": [first]}, MONDAY)
    clinic.put({**basic("of-nobody", "bob"), "meta": {"profile": ["Patient/ann"]}}, MONDAY)
    assert refusal(clinic, "Patient/ann") is None


def test_of_very_many_not_all_are_counted(clinic: Clinic) -> None:
    with clinic.acting(MONDAY) as (tx, by):
        for index in range(MOST_COUNTED + 300):
            writes.create(tx, basic(f"b{index}", "ann"), by)
    told = refusal(clinic, "Patient/ann")
    assert told is not None
    assert "at least 1" in told
    assert told.count("Basic/") == integrity.MOST_NAMED


def test_many_can_be_asked_about_at_once(clinic: Clinic) -> None:
    """More than there are keys for in one statement."""
    refs = [f"Patient/p{index}" for index in range(300)]
    for index in (7, 290):
        clinic.put(basic(f"b{index}", f"p{index}"), MONDAY)
    with clinic.database.read() as tx:
        assert sorted(integrity.refusals(tx, EVERYONE, refs)) == ["Patient/p290", "Patient/p7"]
