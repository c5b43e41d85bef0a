"""What the tracker does by itself is in the trail: each change, or of many in one transaction their counts and patients."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from fhir_tracker.fhir.body import read_json
from fhir_tracker.fhir.search_values import extract
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import RULE_WORKER, Viewer, open_viewer, worker_viewer
from fhir_tracker.storage import audit, resources
from fhir_tracker.storage.audit import AuditRow
from fhir_tracker.storage.audit_work import MOST_PATIENTS, MOST_TOLD
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.group import GroupWriter
from tests.storage.samples import NOW, new_version, task

RULES = Author(viewer=RULE_WORKER, origin="rules", at=NOW)
SYNC = Author(viewer=worker_viewer("sync"), origin="ehr:clinic", at=NOW)
PERSON = Author(viewer=Viewer(who="Practitioner/ann"), origin="staff", at=NOW)


def put(tx: Tx, sample: Mapping[str, Any], version: int = 1, *, author: Author) -> None:
    new = new_version(sample, version)
    resources.save(tx, new, extract(read_json(new.body.encode())), author)


def told(database: Database) -> list[AuditRow]:
    with database.read() as tx:
        return list(reversed(audit.list(tx, open_viewer(), limit=1000)))


@pytest.mark.security("B1", "S52")
def test_a_few_changes_of_the_rules_have_a_row_each(database: Database) -> None:
    with database.begin() as tx:
        put(tx, task("a", "ann"), author=RULES)
        put(tx, task("b"), author=RULES)
    first, second = told(database)
    assert (first.action, first.ref, first.patient, first.version) == ("create", "Task/a", "ann", 1)
    assert (first.kind, first.who, first.outcome) == ("worker", "Device/rule-worker", "success")
    assert (second.ref, second.detail) == ("Task/b", {"origin": "rules"})


@pytest.mark.security("B1")
def test_what_people_and_systems_do_is_told_where_they_do_it(database: Database) -> None:
    with database.begin() as tx:
        put(tx, task("a", "ann"), author=PERSON)
    assert told(database) == []


@pytest.mark.security("B1", "S52")
def test_many_changes_of_one_pull_are_one_row_with_their_patients(database: Database) -> None:
    with database.begin() as tx:
        for number in range(MOST_TOLD + 5):
            put(tx, task(f"t{number}", f"p{number % 7}"), author=SYNC)
    (row,) = told(database)
    assert (row.action, row.ref, row.kind, row.who) == ("sync", "connection/clinic", "worker", "Device/sync")
    assert row.patients == tuple(f"p{number}" for number in range(7))
    assert row.detail == {"origin": "ehr:clinic", "changes": 25, "counts": {"create Task": 25}}


def test_no_row_names_more_patients_than_it_can_and_none_is_left_out(database: Database) -> None:
    with database.begin() as tx:
        for number in range(MOST_PATIENTS + 1):
            put(tx, task(f"t{number}", f"p{number}"), author=SYNC)
    rows = told(database)
    assert [len(row.patients) for row in rows] == [MOST_PATIENTS, 1]
    assert len({one for row in rows for one in row.patients}) == MOST_PATIENTS + 1


def test_each_author_of_a_transaction_has_rows_of_their_own(database: Database) -> None:
    with database.begin() as tx:
        for number in range(MOST_TOLD + 1):
            put(tx, task(f"t{number}", "ann"), author=SYNC)
        put(tx, task("t0", "ann"), 2, author=Author(viewer=RULE_WORKER, origin="rules", at=NOW + timedelta(seconds=1)))
    assert [(row.action, row.who) for row in told(database)] == [
        ("sync", "Device/sync"),
        ("update", "Device/rule-worker"),
    ]


@pytest.mark.security("B2")
def test_nothing_is_told_of_what_was_rolled_back(database: Database) -> None:
    def fail(tx: Tx) -> None:
        put(tx, task("a", "ann"), author=RULES)
        raise LookupError

    with pytest.raises(LookupError), database.begin() as tx:
        fail(tx)
    assert told(database) == []


@pytest.mark.security("B2")
def test_rules_that_act_within_a_write_of_others_are_told_and_undone_with_it(database: Database) -> None:
    writer = GroupWriter(database)

    def acts(tx: Tx) -> None:
        put(tx, task("kept", "ann"), author=RULES)

    def fails(tx: Tx) -> None:
        put(tx, task("undone", "ann"), author=RULES)
        raise LookupError

    try:
        writer.run(acts).result(60)
        with pytest.raises(LookupError):
            writer.run(fails).result(60)
    finally:
        writer.close()
    assert [row.ref for row in told(database)] == ["Task/kept"]
