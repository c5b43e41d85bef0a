"""A Binary is whose its security context is, also when that goes to another patient later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fhir_tracker import records
from fhir_tracker.fhir.body import read_stored
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.author import Author
from fhir_tracker.model.grants import grants_of
from fhir_tracker.model.sight import sight_of
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.records import Remote
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.resources import Stored

NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
AUTHOR = Author(viewer=open_viewer(), origin="api", at=NOW)
SCAN = "U2NhbiBvZiBhIGxldHRlcg=="


def locked(patient: str) -> Viewer:
    """Somebody whose launch is of one patient."""
    return open_viewer().having(patient=patient)


def task(tx: Tx, patient: str, id_: str = "letter", **more: object) -> Stored:
    body: Resource = {"resourceType": "Task", "id": id_, "status": "requested", "intent": "order"}
    for_ = {"for": {"reference": f"Patient/{patient}"}} if patient else {}
    return records.save(tx, {**body, **for_, **more}, AUTHOR)


def binary(tx: Tx, id_: str, context: str, data: str = SCAN) -> Stored:
    body: Resource = {"resourceType": "Binary", "id": id_, "contentType": "text/plain", "data": data}
    return records.save(tx, {**body, "securityContext": {"reference": context}}, AUTHOR)


def whose(database: Database, id_: str) -> tuple[str | None, int]:
    with database.read() as tx:
        found = resources.find(tx, open_viewer(), "Binary", id_)
    assert found is not None
    return found.patient, found.version


@pytest.fixture
def store(database: Database) -> Database:
    """Two patients, and a Task of rosa."""
    with database.begin() as tx:
        for name in ("rosa", "ivo"):
            records.save(tx, {"resourceType": "Patient", "id": name}, AUTHOR)
        task(tx, "rosa")
    return database


@pytest.mark.security("S45", "A4")
@pytest.mark.parametrize("context", ["Task/letter", "Task/letter/_history/1"])
def test_it_goes_where_its_context_goes_and_who_sees_it_changes_with_that(store: Database, context: str) -> None:
    with store.begin() as tx:
        binary(tx, "scan", context)
    assert whose(store, "scan") == ("rosa", 1)
    with store.begin() as tx:
        task(tx, "ivo")
    assert whose(store, "scan") == ("ivo", 2)
    with store.read() as tx:
        assert resources.find(tx, locked("rosa"), "Binary", "scan") is None
        seen = resources.find(tx, locked("ivo"), "Binary", "scan")
        assert seen is not None
        body = read_stored(seen.body)
        assert (body["data"], body["securityContext"]) == (SCAN, {"reference": context})
        assert [one.version for one in resources.history(tx, locked("ivo"), "Binary", "scan", count=9)] == [2]
        assert list(resources.history(tx, locked("rosa"), "Binary", "scan", count=9)) == []
    with store.begin() as tx:
        task(tx, "rosa")
    assert whose(store, "scan") == ("rosa", 3)


class Undone(Exception):
    """What ends a transaction before it is kept."""


def undone(tx: Tx) -> None:
    task(tx, "rosa")
    raise Undone


def test_it_follows_within_the_transaction_that_made_it_and_not_when_that_is_undone(store: Database) -> None:
    with store.begin() as tx:
        binary(tx, "scan", "Task/letter")
        task(tx, "ivo")
    assert whose(store, "scan") == ("ivo", 2)
    with pytest.raises(Undone), store.begin() as tx:
        undone(tx)
    assert whose(store, "scan") == ("ivo", 2)


def test_what_is_not_of_that_context_stays_and_nothing_is_written_when_nobody_moves(store: Database) -> None:
    with store.begin() as tx:
        task(tx, "rosa", "letter-2")
        binary(tx, "other", "Task/letter-2")
        binary(tx, "named", "Patient/rosa")
        binary(tx, "quoting", "Task/letter-2", data="VGFzay9sZXR0ZXI=")
        binary(tx, "gone", "Task/letter")
        records.remove(tx, "Binary", "gone", AUTHOR)
        binary(tx, "scan", "Task/letter")
        task(tx, "rosa", description="Ring her")
    assert whose(store, "scan") == ("rosa", 1)
    with store.begin() as tx:
        task(tx, "ivo")
    assert {one: whose(store, one) for one in ("other", "named", "quoting", "scan")} == {
        "other": ("rosa", 1),
        "named": ("rosa", 1),
        "quoting": ("rosa", 1),
        "scan": ("ivo", 2),
    }
    with store.read() as tx:
        gone = resources.find(tx, open_viewer(), "Binary", "gone")
        assert gone is not None
        assert (gone.deleted, gone.version) == (True, 2)


def test_one_that_came_from_an_ehr_is_left_to_what_that_sends(store: Database) -> None:
    body: Resource = {"resourceType": "Binary", "id": "theirs", "contentType": "text/plain", "data": SCAN}
    remote = Remote(connection="north", id="theirs", version="1", body="{}", content_hash="h")
    with store.begin() as tx:
        records.save(tx, {**body, "securityContext": {"reference": "Task/letter"}}, AUTHOR, remote=remote)
        task(tx, "ivo")
    assert whose(store, "theirs") == ("rosa", 1)


def test_it_follows_a_binary_that_follows(store: Database) -> None:
    with store.begin() as tx:
        binary(tx, "scan", "Task/letter")
        binary(tx, "thumbnail", "Binary/scan")
        binary(tx, "itself", "Binary/itself")
        task(tx, "ivo")
    assert (whose(store, "scan"), whose(store, "thumbnail")) == (("ivo", 2), ("ivo", 2))
    assert whose(store, "itself")[1] == 1


def test_who_moves_the_context_need_not_see_the_binary_and_the_version_is_theirs(store: Database) -> None:
    with store.begin() as tx:
        binary(tx, "scan", "Task/letter")
    mover = Viewer(who="Device/mover", sight=sight_of(grants_of(frozenset({"system/Task.cruds"})), None, None))
    author = Author(viewer=mover, origin="api", at=NOW + timedelta(hours=1))
    with store.begin() as tx:
        body: Resource = {"resourceType": "Task", "id": "letter", "status": "requested", "intent": "order"}
        records.save(tx, {**body, "for": {"reference": "Patient/ivo"}}, author)
    assert whose(store, "scan") == ("ivo", 2)
    with store.read() as tx:
        (last, _) = resources.history(tx, open_viewer(), "Binary", "scan", count=9)
    assert (last.who, last.version) == ("Device/mover", 2)


def test_where_the_context_tells_of_nobody_any_more_neither_does_it(store: Database) -> None:
    with store.begin() as tx:
        binary(tx, "scan", "Task/letter")
        task(tx, "")
    assert whose(store, "scan") == (None, 2)
