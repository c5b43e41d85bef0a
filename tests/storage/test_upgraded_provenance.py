"""Provenances that an earlier program wrote without a patient are that patient's, once the database is brought up to date."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from fhir_tracker import provenance, records
from fhir_tracker.model.author import Author
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.storage import resources, schema
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.tables import change, resource, resource_version
from tests.storage.samples import NOW, put
from tests.storage.test_upgraded_index import at_revision

AUTHOR = Author(viewer=worker_viewer("sync"), origin="sync", at=NOW)
TARGETS = {
    "one task": (["Task/a1"], "ann"),
    "two of one patient": (["Task/a1", "Task/a2"], "ann"),
    "the patient": (["Patient/bob"], "bob"),
    "a task that was deleted": (["Task/gone"], "ann"),
    "two patients": (["Task/a1", "Task/b1"], None),
    "one of nobody": (["Organization/o"], None),
    "one of nobody and one of a patient": (["Organization/o", "Task/a1"], None),
    "nothing that is here": (["Task/never"], None),
    "elsewhere": (["http://ehr.example.org/fhir/Task/a1"], None),
    "nothing": ([], None),
}


@pytest.fixture
def older(database: Database) -> tuple[Database, dict[str, str]]:
    """A database of before, whose Provenances are nobody's, and the id of each."""
    with database.begin() as tx:
        for type_, id_, patient in (
            ("Patient", "ann", "ann"), ("Patient", "bob", "bob"), ("Task", "a1", "ann"), ("Task", "a2", "ann"), ("Task", "b1", "bob"),
            ("Task", "gone", "ann"), ("Organization", "o", None),
        ):  # fmt: skip
            put(tx, {"resourceType": type_, "id": id_}, patient=patient)
        ids = {}
        for name, (targets, _) in TARGETS.items():
            told = [{"reference": f"{one}/_history/1" if one != "Task/a2" else one} for one in targets]
            body = {"resourceType": "Provenance", "recorded": "2026-03-09T14:00:00Z", "target": told}
            ids[name] = records.create(tx, body, AUTHOR, patient=None).id
        plain = resources.find(tx, AUTHOR.viewer, "Task", "a1")
        assert plain is not None
        ids["as the tracker writes it"] = provenance.record(tx, [plain], AUTHOR).id
    with database.begin() as tx:
        tx.execute(resource.update().where(resource.c.id == "gone").values(deleted=True))
        for table in (resource, resource_version, change):
            of = resource.c.k if table is resource else select(resource.c.k).where(resource.c.type == "Provenance")
            chosen = resource.c.type == "Provenance" if table is resource else table.c.k.in_(of)
            tx.execute(table.update().where(chosen).values(patient=None))
        at_revision(tx, "0004")
    return database, ids


@pytest.mark.requirement(139)
def test_whose_records_a_provenance_tells_of_is_known_after_the_upgrade(older: tuple[Database, dict[str, str]]) -> None:
    database, ids = older
    assert any(step.startswith("0028 ") for step in schema.migrate(database))
    expected = {name: patient for name, (_, patient) in TARGETS.items()} | {"as the tracker writes it": "ann"}
    with database.read() as tx:
        for name, id_ in ids.items():
            k = tx.value(select(resource.c.k).where(resource.c.type == "Provenance", resource.c.id == id_))
            told = [
                tx.value(select(table.c.patient).where(table.c.k == k))
                for table in (resource, resource_version, change)
            ]
            assert told == [expected[name]] * 3, name


@pytest.mark.security("S42")
def test_who_is_bound_to_a_patient_sees_those_of_this_patient_alone(older: tuple[Database, dict[str, str]]) -> None:
    database, ids = older
    ann = Viewer(who="Patient/ann", patient="ann", sight=EVERYTHING)

    def seen() -> set[str]:
        with database.read() as tx:
            return {name for name, id_ in ids.items() if resources.find(tx, ann, "Provenance", id_) is not None}

    assert seen() == set()
    schema.migrate(database)
    whose = {name for name, (_, patient) in TARGETS.items() if patient == "ann"}
    assert seen() == whose | {"as the tracker writes it"}
