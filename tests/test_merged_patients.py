"""Patients that the EHR merged: one Task says so, and open work moves when a person completes it, and not before."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_tracker import intake, merged_patients, records, transitions
from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.intake import Received
from fhir_tracker.model.author import Author
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.model.viewer import open_viewer, worker_viewer
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import resources, work_items
from fhir_tracker.storage import transitions as log
from fhir_tracker.storage.database import Database
from mappings import Source, mapping_named

NOW = datetime(2031, 1, 1, tzinfo=UTC)
EHR = Author(viewer=worker_viewer("sync"), origin="ehr:clinic", at=NOW)
PERSON = Author(viewer=open_viewer(), origin="staff", at=NOW)
SOURCE = Source(key="clinic", base_url="https://ehr.example/fhir")


class Mirror:
    """A tracker that holds what an EHR sends."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def receive(self, id_: str, version: int, **members: Any) -> None:
        resource: Resource = {
            "resourceType": "Patient",
            "id": id_,
            "meta": {"versionId": str(version)},
            "name": [{"family": f"Synthetic-{id_}"}],
            **members,
        }
        mapping = mapping_named("generic")
        entry = intake.read_entry(write_json(resource).encode(), "Patient", lambda one: mapping.to_tracker(one, SOURCE))
        assert isinstance(entry, Received)
        with self.database.begin() as tx:
            intake.take_page(tx, [entry], "clinic", EHR)

    def work(self, patient: str, **members: Any) -> str:
        """An open Task of a patient."""
        task = {"resourceType": "Task", "status": "requested", "intent": "order", "code": {"text": "Call"}}
        told = {"for": {"reference": f"Patient/clinic-{patient}"}, **members}
        with self.database.begin() as tx:
            return records.create(tx, task | told, PERSON).ref

    def item(self, ref: str) -> WorkItem:
        with self.database.read() as tx:
            found = work_items.find(tx, PERSON.viewer, ref)
        assert found is not None
        return found

    def told(self, code: str = merged_patients.MERGED) -> list[WorkItem]:
        """The Tasks of that code, open or not."""
        with self.database.read() as tx:
            everything = [one for _, one in work_items.scan(tx, PERSON.viewer)]
        return [one for one in everything if one.ref.startswith(f"Task/{code}-")]

    def move(self, ref: str, to: str) -> None:
        with self.database.begin() as tx:
            transitions.move(tx, ref, MoveRequest(to=to, fields={"reason": "checked with the front desk"}), PERSON)

    def body(self, ref: str) -> Resource:
        with self.database.read() as tx:
            found = resources.find(tx, PERSON.viewer, *ref.split("/"))
        assert found is not None
        return records.resource_of(found)


@pytest.fixture
def mirror(database: Database) -> Mirror:
    made = Mirror(database)
    made.receive("old", 1)
    made.receive("new", 1)
    return made


def links(kind: str, other: str) -> list[dict[str, Any]]:
    return [{"other": {"reference": f"Patient/{other}"}, "type": kind}]


@pytest.mark.requirement(78)
@pytest.mark.parametrize(("teller", "kind", "other"), [("old", "replaced-by", "new"), ("new", "replaces", "old")])
def test_a_merge_is_told_once_with_both_patients_and_moves_nothing(
    mirror: Mirror, teller: str, kind: str, other: str
) -> None:
    work = mirror.work("old")
    mirror.receive(teller, 2, link=links(kind, other))
    mirror.receive(teller, 3, link=links(kind, other), active=True)
    (told,) = mirror.told()
    task = mirror.body(told.ref)
    assert task["for"] == {"reference": "Patient/clinic-old"}
    assert task["focus"] == {"reference": "Patient/clinic-new"}
    for name in ("Synthetic-old (Patient/clinic-old)", "Synthetic-new (Patient/clinic-new)", "first: 1."):
        assert name in task["reasonCode"]["text"]
    assert told.role == "clinic-admin"
    assert mirror.item(work).patient == "clinic-old"


RECORDS = [
    ("both sides", [("old", "replaced-by", "new"), ("new", "replaces", "old")], {"new", "old"}),
    ("the old one", [("old", "replaced-by", "new")], {"new", "old"}),
    ("the new one", [("new", "replaces", "old")], {"new", "old"}),
    ("one after the other", [("older", "replaced-by", "old"), ("new", "replaces", "old")], {"new", "old", "older"}),
    ("round and round", [("old", "replaced-by", "new"), ("new", "replaced-by", "old")], {"new", "old"}),
    ("no merge", [("old", "seealso", "new"), ("older", "refer", "new"), ("new", "replaced-by", "other")], {"new"}),
]


@pytest.mark.parametrize(
    ("told", "expected"), [(told, expected) for _, told, expected in RECORDS], ids=[one[0] for one in RECORDS]
)
def test_the_records_of_a_patient_are_those_that_were_merged_into_it(
    mirror: Mirror, told: list[tuple[str, str, str]], expected: set[str]
) -> None:
    mirror.receive("older", 1)
    for version, (teller, kind, other) in enumerate(told, 2):
        mirror.receive(teller, version, link=links(kind, other))
    with mirror.database.read() as tx:
        found = merged_patients.records_of(tx, "clinic-new")
        assert merged_patients.records_of(tx, "nobody") == ("nobody",)
    assert found[0] == "clinic-new"
    assert set(found) == {f"clinic-{one}" for one in expected}


@pytest.mark.parametrize(("to", "count"), [("completed", 2), ("cancelled", 1)])
def test_a_merge_that_an_address_told_counts_until_a_person_says_no(mirror: Mirror, to: str, count: int) -> None:
    with mirror.database.begin() as tx:
        merged_patients.tell(tx, "clinic-old", "clinic-new", EHR)
        assert merged_patients.records_of(tx, "clinic-new") == ("clinic-new", "clinic-old")
    (told,) = mirror.told()
    mirror.move(told.ref, to)
    with mirror.database.read() as tx:
        assert len(merged_patients.records_of(tx, "clinic-new")) == count


def test_completing_the_task_moves_open_work_and_leaves_the_rest(mirror: Mirror) -> None:
    work, closed = mirror.work("old"), mirror.work("old")
    other = mirror.work("new")
    mirror.move(closed, "completed")
    mirror.receive("old", 2, link=links("replaced-by", "new"))
    (told,) = mirror.told()
    mirror.move(told.ref, "completed")
    assert [mirror.item(ref).patient for ref in (work, closed, other)] == ["clinic-new", "clinic-old", "clinic-new"]
    with mirror.database.read() as tx:
        rows = log.of_items(tx, PERSON.viewer, [work])[work]
        proofs = [one for one in resources.scan(tx, PERSON.viewer, ["Provenance"]) if work in one.body]
    moved = next(row for row in rows if row.what == "patient")
    assert (moved.before, moved.after, moved.who) == ("clinic-old", "clinic-new", PERSON.viewer.who)
    assert told.ref in (moved.reason or "")
    assert told.ref in proofs[-1].body
    mirror.work("old")
    late = mirror.work("old")
    with mirror.database.begin() as tx:
        transitions.note(tx, told.ref, "done last week", PERSON)
    assert mirror.item(late).patient == "clinic-old"


def test_cancelling_the_task_leaves_everything_as_it_is(mirror: Mirror) -> None:
    work = mirror.work("old")
    mirror.receive("old", 2, link=links("replaced-by", "new"))
    (told,) = mirror.told()
    mirror.move(told.ref, "cancelled")
    assert mirror.item(work).patient == "clinic-old"


@pytest.mark.parametrize(
    "link",
    [
        [{"type": "replaced-by"}],
        [{"type": "replaced-by", "other": {"display": "somebody"}}],
        [{"type": "seealso", "other": {"reference": "Patient/new"}}],
        [{"type": "replaced-by", "other": {"reference": "Patient/old"}}],
    ],
)
def test_a_link_that_names_nobody_else_is_no_merge(mirror: Mirror, link: list[dict[str, Any]]) -> None:
    mirror.receive("old", 2, link=link)
    assert mirror.told() == []


def test_a_patient_who_is_deleted_at_the_ehr_with_open_work_is_told_of(mirror: Mirror) -> None:
    mirror.work("old")
    for patient in ("old", "new"):
        with mirror.database.begin() as tx:
            intake.take_deletion(tx, "Patient", patient, None, "clinic", EHR)
    (told,) = mirror.told(merged_patients.GONE)
    assert mirror.body(told.ref)["for"] == {"reference": f"Patient/{local_id('clinic', 'old', 'Patient')}"}
