"""A create under a fresh id asks the database nothing, and leaves what any other first version leaves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from sqlalchemy import Table, select
from sqlalchemy import event as event_of_sqlalchemy

from fhir_tracker import provenance, records, writes
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.program import CANONICAL
from fhir_tracker.storage import audit, resources
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.resources import Stored
from fhir_tracker.storage.tables import change, ix, ixd, ixn, ixs, resource, resource_version
from fhir_tracker.storage.work_tables import event, patient_summary, transition, work_item
from tests.support.clinic import COORDINATOR, MONDAY, Clinic, author

PATIENT = {"reference": "Patient/ann"}
BY = author(MONDAY, COORDINATOR)
TASK = {
    "resourceType": "Task",
    "status": "requested",
    "intent": "order",
    "priority": "urgent",
    "code": {"text": "Call", "coding": [{"system": "http://example.org/work", "code": "call"}]},
    "for": PATIENT,
    "owner": {"reference": "Practitioner/coordinator"},
    "authoredOn": "2026-03-09T09:00:00-05:00",
    "restriction": {"period": {"end": "2026-03-11"}},
}
BODIES: dict[str, Resource] = {
    "a task": TASK,
    "a task of a program": TASK
    | {
        "instantiatesCanonical": f"{CANONICAL}/ActivityDefinition/ring.first-call",
        "businessStatus": {"coding": [{"code": "to-call"}]},
    },
    "a closed task": TASK | {"status": "completed"},
    "a task of a plan": TASK | {"basedOn": [{"reference": "CarePlan/none"}]},
    "a patient": {"resourceType": "Patient", "name": [{"family": "Synthetic", "given": ["Ann"]}]},
    "an encounter": {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "subject": PATIENT,
        "period": {"start": "2026-03-01", "end": "2026-03-08T10:00:00Z"},
    },
    "a communication": {
        "resourceType": "Communication",
        "status": "completed",
        "subject": PATIENT,
        "sent": "2026-03-09T10:00:00Z",
        "about": [{"reference": "Task/none"}],
    },
    "a goal": {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "x"}, "subject": PATIENT},
    "an observation": {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "Weight"},
        "subject": PATIENT,
        "valueQuantity": {"value": 71.5, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
    },
}
NAMED_BY = {work_item: "ref", transition: "item", event: "ref", patient_summary: "patient"}
KEYED = (resource, resource_version, change, ix, ixd, ixs, ixn)


def left(tx: Tx, table: Table, stored: Stored) -> list[dict[str, Any]]:
    """The rows of one resource in a table, without what tells its id and key."""
    name = NAMED_BY.get(table, "k")
    wanted = {"k": stored.k, "ref": stored.ref, "item": stored.ref, "patient": stored.id}[name]
    unlike = {"k", "seq", "txid", "id", "ref", "item", "folded", "body"}
    rows = tx.rows(select(table).where(table.c[name] == wanted))
    found = [{column: value for column, value in row.items() if column not in unlike} for row in rows]
    return sorted(found, key=repr)


@pytest.mark.parametrize("what", BODIES)
def test_a_fresh_first_version_leaves_the_rows_of_any_first_version(database: Database, what: str) -> None:
    with Clinic(database).acting(MONDAY, COORDINATOR) as (tx, by):
        body = BODIES[what] | {"id": "looked-for"}
        fresh = records.save(tx, body | {"id": "not-looked-for"}, by, fresh=True)
        general = records.save(tx, body, by)
        for table in (*KEYED[:3], *(one for one in NAMED_BY if one is not patient_summary)):
            rows = left(tx, table, fresh)
            assert rows == [
                row | {"patient": fresh.id} if row.get("patient") == general.id else row
                for row in left(tx, table, general)
            ], table.name
            assert rows or table not in KEYED[:3]
        assert fresh.body == general.body.replace("looked-for", "not-looked-for")
        for table in KEYED[3:]:
            assert len(left(tx, table, fresh)) == len(left(tx, table, general)), table.name


@pytest.mark.parametrize("what", ["a task", "a closed task", "a goal", "a patient"])
def test_a_create_asks_the_database_nothing(database: Database, what: str) -> None:
    with Clinic(database).acting(MONDAY, COORDINATOR) as (tx, _):
        tx.keys.take()

    def refuse() -> None:
        raise AssertionError("a statement was run")

    late = database.begin_late(refuse)
    stored = writes.create(late.tx, BODIES[what], BY)
    provenance.record(late.tx, [stored], BY)
    audit.add(late.tx, at=BY.at, viewer=BY.viewer, action="create", ref=stored.ref)
    assert not late.tx.has_begun
    late.commit()
    with database.read() as tx:
        assert left(tx, resource, stored)
        assert left(tx, ix, stored)


@pytest.mark.parametrize("what", ["a task", "a closed task", "a goal", "a patient"])
def test_a_create_does_not_even_put_a_statement_together(database: Database, what: str) -> None:
    """To make one costs as much as a third of the create, though it is not run."""
    with Clinic(database).acting(MONDAY, COORDINATOR) as (tx, _):
        writes.create(tx, BODIES[what], BY)
        tx.keys.take()
    late = database.begin_late()
    made = statements_made(lambda: writes.create(late.tx, BODIES[what], BY))
    late.roll_back()
    assert made == []


def statements_made(work: Callable[[], object]) -> list[str]:
    """The functions of the library that makes statements which are called by some work."""
    called: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and "/sqlalchemy/sql/" in frame.f_code.co_filename:
            called.append(frame.f_code.co_name)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return called


def test_an_attempt_written_before_its_task_in_one_transaction_counts(database: Database) -> None:
    with Clinic(database).acting(MONDAY, COORDINATOR) as (tx, by):
        task_id = records.fresh_id(MONDAY)
        about = {"about": [{"reference": f"Task/{task_id}"}]}
        records.create(tx, BODIES["a communication"] | about, by)
        stored = writes.create(tx, TASK, by, id_=task_id)
        assert left(tx, work_item, stored)[0]["attempts"] == 1


def test_an_attempt_that_came_before_its_task_counts_whoever_wrote_it_and_when(database: Database) -> None:
    clinic = Clinic(database)
    early = BODIES["a communication"] | {"about": [{"reference": "Task/late"}]}
    with clinic.acting(MONDAY, COORDINATOR) as (tx, by):
        records.create(tx, early, by)
    with clinic.acting(MONDAY, COORDINATOR) as (tx, by):
        other, _ = writes.update(tx, "Task", "other", TASK | {"id": "other"}, by)
        records.create(tx, early, by)
        stored, _ = writes.update(tx, "Task", "late", TASK | {"id": "late"}, by)
        assert left(tx, work_item, stored)[0]["attempts"] == 2
        assert left(tx, work_item, other)[0]["attempts"] == 0


def test_the_first_versions_of_many_tasks_ask_for_attempts_once_a_patient(database: Database) -> None:
    with Clinic(database).acting(MONDAY, COORDINATOR) as (tx, by):
        resources.foresee(tx, by.viewer, [f"Task/t{number}" for number in range(20)])
        asked = calls_of(tx)
        for number in range(20):
            writes.update(tx, "Task", f"t{number}", TASK | {"id": f"t{number}"}, by)
        assert len(asked) == 1


def calls_of(tx: Tx) -> list[str]:
    """The statements that are run from now on, as they are run; rows that are only added are none."""
    texts: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        texts.append(statement)

    tx.keys.take()
    event_of_sqlalchemy.listen(tx.connection, "before_cursor_execute", note)
    return texts
