"""The versioned store: compare-and-set, history, the text as it was given, deletions and what an EHR sent."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from fhir_tracker.errors import VersionConflict
from fhir_tracker.fhir.body import read_json
from fhir_tracker.fhir.search_values import extract
from fhir_tracker.storage import changes, resources
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.resources import Known
from fhir_tracker.storage.tables import ix, ixd, ixn, ixs
from tests.storage.samples import AUTHOR, NOW, VIEWER, found, locked, new_version, put, put_all, task

TEXT = '{"resourceType":"Task", "id":"a","status":"requested","intent":"order","for":{"reference":"Patient/ann"},"x":1.00,"y":"é\\u00e9"}'


def test_a_body_is_given_back_byte_for_byte(database: Database) -> None:
    with database.begin() as tx:
        resources.save(
            tx, new_version(task("a"), body=TEXT, remote_body=" {raw} "), extract(read_json(TEXT.encode())), AUTHOR
        )
    with database.read() as tx:
        stored = resources.find(tx, VIEWER, "Task", "a")
        assert stored is not None
        assert (stored.body, stored.ref, stored.updated_at) == (TEXT, "Task/a", NOW)
        assert resources.remote_body(tx, VIEWER, "Task", "a") == " {raw} "
        assert resources.find(tx, VIEWER, "Task", "b") is None
        assert resources.remote_body(tx, VIEWER, "Task", "b") is None


def test_every_version_stays_readable(database: Database) -> None:
    later = NOW + timedelta(seconds=1)
    with database.begin() as tx:
        first = put(tx, task("a"))
        second = put(tx, task("a", status="accepted"), 2, updated_at=later)
        gone = put(tx, task("a"), 3, op="delete")
        back = put(tx, task("a", status="ready"), 4, op="update")
    assert first.k == second.k == gone.k == back.k
    assert (gone.deleted, gone.body, gone.patient) == (True, "", "ann")
    with database.read() as tx:
        log = resources.history(tx, VIEWER, "Task", "a", count=10)
        assert [(one.version, one.op, one.body) for one in log] == [
            (4, "update", back.body),
            (3, "delete", None),
            (2, "update", second.body),
            (1, "create", first.body),
        ]
        assert (log[2].updated_at, log[2].origin, log[2].who) == (later, "api", VIEWER.who)
        assert resources.history(tx, VIEWER, "Task", "a", count=1, before=3) == [log[2]]
        assert resources.find_version(tx, VIEWER, "Task", "a", 4) == log[0]
        assert resources.find_version(tx, VIEWER, "Task", "a", 9) is None


@pytest.mark.parametrize("version", [1, 3])
def test_a_version_that_does_not_follow_is_refused_and_leaves_nothing(database: Database, version: int) -> None:
    put_all(database, [task("a")])

    def write() -> None:
        with database.begin() as tx:
            put(tx, task("b"))
            put(tx, task("a", status="accepted"), version)

    with pytest.raises(VersionConflict):
        write()
    with database.read() as tx:
        assert resources.find(tx, VIEWER, "Task", "b") is None
        assert len(resources.history(tx, VIEWER, "Task", "a", count=9)) == 1
        assert len(changes.read_since(tx, VIEWER, "test", 9)) == 1


def test_of_eight_writers_of_one_version_one_wins(database: Database) -> None:
    put_all(database, [task("a")])
    outcomes: list[bool] = []

    def write(number: int) -> None:
        try:
            with database.begin() as tx:
                put(tx, task("a", description=str(number)), 2)
            outcomes.append(True)
        except VersionConflict:
            outcomes.append(False)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(outcomes) == [False] * 7 + [True]


def test_many_are_found_at_once_deleted_ones_marked(database: Database) -> None:
    put_all(database, [task("a"), task("b", "bob"), {"resourceType": "Patient", "id": "ann"}])
    with database.begin() as tx:
        put(tx, task("b", "bob"), 2, op="delete")
    with database.read() as tx:
        many = resources.find_many(
            tx, VIEWER, ["Task/a", "Task/b", "Patient/ann", "Patient/zed", "http://x/Task/a", "odd"]
        )
    assert {ref: one.deleted for ref, one in many.items()} == {"Task/a": False, "Task/b": True, "Patient/ann": False}


def test_what_came_from_an_ehr_is_known_by_its_remote_id(database: Database) -> None:
    remote: dict[str, Any] = {"connection": "hospital", "remote_id": "77", "remote_version": "3", "content_hash": "h1"}
    with database.begin() as tx:
        put(tx, task("hospital-77"), **remote)
        put(tx, task("hospital-77", status="accepted"), 2)
        put(tx, task("other-77"), **remote | {"connection": "other"})
    with database.read() as tx:
        known = resources.known(tx, "hospital", "Task", ["77", "78"])
        assert known == {"77": Known(id="hospital-77", version=2, remote_version="3", content_hash="h1", deleted=False)}
        assert resources.ids_of(tx, "hospital", "Task") == {"77": "hospital-77"}
        assert resources.ids_of(tx, "hospital", "Patient") == {}


def test_a_scan_comes_by_everything_once(database: Database) -> None:
    put_all(database, [task(f"t{number}") for number in range(7)] + [{"resourceType": "Patient", "id": "ann"}])
    seen: list[str] = []
    after = 0
    with database.read() as tx:
        while some := resources.scan(tx, VIEWER, ["Task"], after, 3):
            seen += [one.id for one in some]
            after = some[-1].k
        assert seen == [f"t{number}" for number in range(7)]
        assert len(resources.scan(tx, VIEWER, [])) == 8


def test_the_index_made_anew_is_the_index_kept_up(database: Database) -> None:
    put_all(database, [task("a"), task("b", "bob", code={"coding": [{"system": "http://x", "code": "call"}]})])
    with database.begin() as tx:
        put(tx, task("a", "bob", status="accepted", authoredOn="2026-01-01"), 2)
        put(tx, task("b"), 2, op="delete")

    def rows() -> list[list[tuple[object, ...]]]:
        with database.read() as tx:
            return [sorted(tuple(row) for row in tx.execute(select(table))) for table in (ix, ixd, ixs, ixn)]

    kept = rows()
    with database.begin() as tx:
        resources.clear_index(tx)
    assert found(database, "Task", "status=accepted") == []
    with database.begin() as tx:
        after: int | None = 0
        while after is not None:
            after = resources.reindex(tx, after, 1)
    assert rows() == kept
    assert found(database, "Task", "status=accepted") == ["a"]


def test_a_version_about_another_patient_is_not_shown_to_the_present_one(database: Database) -> None:
    with database.begin() as tx:
        put(tx, task("a", "ann"))
        put(tx, task("a", "bob"), 2)
    with database.read() as tx:
        assert [one.version for one in resources.history(tx, locked("bob"), "Task", "a", count=9)] == [2]
        assert resources.history(tx, locked("ann"), "Task", "a", count=9) == []
