"""Which changes wait for an EHR, and what asking costs those that do not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from fhir_tracker import connections, outgoing, records, writes
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.author import Author
from fhir_tracker.storage import outbox
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.outbox import STATES, Outgoing
from fhir_tracker.storage.resources import Stored
from tests.support.clinic import COORDINATOR, MONDAY, author

BY = author(MONDAY, COORDINATOR)
TASK = {"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": "Patient/north-1"}}
BOOKED: Resource = {
    "resourceType": "Appointment",
    "id": "north-a",
    "status": "booked",
    "start": "2026-03-10T09:00:00Z",
    "end": "2026-03-10T09:20:00Z",
    "participant": [{"actor": {"reference": "Patient/north-1"}, "status": "accepted"}],
}


def add(database: Database, *types: str, key: str = "north") -> None:
    with database.begin() as tx:
        options = {"write_back": list(types)} if types else {}
        connections.add(tx, key, f"https://{key}.example/fhir", now=MONDAY, options=options)


def rows(tx: Tx) -> list[Outgoing]:
    return outbox.listed(tx, BY.viewer, states=STATES)


def mirror(tx: Tx, resource: Resource, origin: str = "ehr:north") -> Stored:
    remote = records.Remote(
        connection="north", id=resource["id"].removeprefix("north-"), version="1", body="{}", content_hash="x"
    )
    return records.save(tx, resource, Author(viewer=BY.viewer, origin=origin, at=MONDAY), remote=remote)


def noted(tx: Tx) -> list[str]:
    """The statements that are run from now on."""
    found: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        found.append(statement)

    event.listen(tx.connection, "before_cursor_execute", note)
    return found


def test_where_nothing_is_written_back_a_second_create_asks_nothing_about_it(database: Database) -> None:
    add(database)
    with database.begin() as tx:
        writes.create(tx, TASK, BY)
        asked = noted(tx)
        writes.create(tx, TASK, BY)
        outgoing.note(tx, mirror(tx, BOOKED), BOOKED, BY)
    with database.begin() as tx:
        asked += noted(tx)
        writes.create(tx, TASK, BY)
    assert [one for one in asked if "outbox" in one or " connection" in one.split("WHERE")[0]] == []


def test_what_is_rolled_back_waits_for_nobody(database: Database) -> None:
    add(database, "Task")
    late = database.begin_late()
    writes.create(late.tx, TASK, BY)
    assert len(rows(late.tx)) == 1
    late.roll_back()
    with database.read() as tx:
        assert rows(tx) == []


def test_changes_join_what_waits_and_begin_anew_after_it_was_done(database: Database) -> None:
    add(database, "Task")
    with database.begin() as tx:
        made = writes.create(tx, TASK, BY)
        writes.update(tx, "Task", made.id, TASK | {"description": "two"}, BY)
        (row,) = rows(tx)
        assert (row.version, row.state, row.made_here, row.agreed_version) == (2, "waiting", True, None)
        assert outbox.change(tx, row, state="done")
        outbox.note(tx, row, agreed_version=2, base="theirs")
        writes.update(tx, "Task", made.id, TASK | {"description": "three"}, BY)
        assert not outbox.change(tx, row, state="done")
        (row,) = rows(tx)
    assert (row.version, row.state, row.agreed_version, row.base) == (3, "waiting", 2, "theirs")


def test_a_mirrored_resource_remembers_what_its_first_change_was_made_upon(database: Database) -> None:
    add(database, "Appointment")
    with database.begin() as tx:
        mirror(tx, BOOKED)
        assert rows(tx) == []
        for status in ("arrived", "noshow"):
            writes.update(tx, "Appointment", "north-a", BOOKED | {"status": status}, BY)
        (row,) = rows(tx)
    assert (row.version, row.agreed_version, row.remote_id, row.remote_version) == (3, 1, "a", "1")


def test_an_echo_waits_for_nobody_but_another_origin_does(database: Database) -> None:
    add(database, "Task")
    with database.begin() as tx:
        for origin in ("ehr:north", "ehr:south", "rules", "staff"):
            records.create(tx, TASK | {"description": origin}, Author(viewer=BY.viewer, origin=origin, at=MONDAY))
        assert len(rows(tx)) == 3


@pytest.mark.parametrize(
    "other",
    [
        {"for": {"reference": "Patient/south-1"}},
        {"for": {"reference": "Patient/northern-1"}},
        {"for": None},
        {"code": {"coding": [{"system": "https://fhir-tracker.example/CodeSystem/work", "code": "escalation"}]}},
    ],
)
def test_what_is_of_others_or_about_the_tracker_itself_waits_for_nobody(
    database: Database, other: dict[str, Any]
) -> None:
    add(database, "Task")
    fresh = {name: one for name, one in (TASK | other).items() if one is not None}
    with database.begin() as tx:
        writes.create(tx, fresh, BY)
        assert rows(tx) == []


def test_a_process_hears_of_a_new_connection_within_a_second(database: Database) -> None:
    with database.begin() as tx:
        assert outgoing.targets(tx, MONDAY) == {}
    add(database, "Task")
    with database.begin() as tx:
        tx.kept["write-back targets"] = (MONDAY, {})
        assert outgoing.targets(tx, MONDAY + timedelta(seconds=1)) == {}
        assert list(outgoing.targets(tx, MONDAY + timedelta(seconds=1.1))) == ["north"]


def test_the_system_of_our_identifiers_stays_the_same(database: Database) -> None:
    with database.begin() as tx:
        assert outgoing.identifier_system(tx) is None
        made = outgoing.identifier_system(tx, "first")
        assert outgoing.identifier_system(tx, "second") == outgoing.identifier_system(tx) == made
